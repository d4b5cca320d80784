"""_os/process_attributes.py: what a new process inherits."""

from __future__ import annotations

import os
import sys

import pytest

from uv_argo_magic._os.process_attributes import inherited

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="other systems lack a way to read the umask")


def test_changed_umask_is_noticed():
    previous = os.umask(0o22)
    try:
        first = inherited()
        assert inherited() == first
        os.umask(0o27)
        assert inherited() != first
    finally:
        os.umask(previous)


def test_changed_limit_is_noticed():
    import resource

    first, limits = inherited(), resource.getrlimit(resource.RLIMIT_CORE)
    changed = 0 if limits[0] else min(limits[1], 1) if limits[1] >= 0 else 1
    resource.setrlimit(resource.RLIMIT_CORE, (changed, limits[1]))
    try:
        assert (inherited() != first) == (changed != limits[0])
    finally:
        resource.setrlimit(resource.RLIMIT_CORE, limits)


@pytest.mark.skipif(sys.platform != "linux" or len(os.sched_getaffinity(0)) == 1, reason="there is only one CPU")
def test_changed_cpus_are_noticed():
    first, cpus = inherited(), os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cpus)})
    try:
        assert inherited() != first
    finally:
        os.sched_setaffinity(0, cpus)
