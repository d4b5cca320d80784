"""core/spec/output_metadata.py: the metadata of a run in its output, written and read."""

from __future__ import annotations

import base64
import json
import zlib
from dataclasses import replace

import pytest
from support.cases import each

from uv_argo_magic.core.protocol.state import RunState
from uv_argo_magic.core.resolution.lock import Lock, Package, Target, Unresolved
from uv_argo_magic.core.spec import output_metadata
from uv_argo_magic.errors import SpecError

LOCK = Lock(
    packages=(
        Package(name="alpha", version="1.0+local", sha256="a" * 64, size=5, file="alpha.whl", via=("beta",)),
        Package(name="beta", version="", sha256="b" * 64, url="https://files.example.com/b.whl"),
        Package(name="zope.x", version="1!2"),
    ),
    target=Target(python="3.12.1", abi="cp312", platform="x86_64-manylinux_2_28"),
    uv="0.13.9",
    created_at=5.0,
)
RUN = RunState(run="r1")


def pack(text):
    return base64.b64encode(zlib.compress(text.encode())).decode()


def test_metadata_survives_a_round_trip():
    metadata = output_metadata.metadata(RUN, "c" * 64, LOCK, image="python@sha256:ab")
    extracted = output_metadata.extract(json.loads(json.dumps(metadata)))
    assert extracted["image"] == "python@sha256:ab"
    assert "seconds" not in extracted
    recorded = output_metadata.read(extracted)
    assert (recorded.run, recorded.cell, recorded.lock.key) == ("r1", "c" * 64, LOCK.key)
    assert recorded.lock.lines == LOCK.lines
    assert recorded.lock.target == LOCK.target
    assert recorded.lock.uv == "0.13.9"


def test_metadata_includes_the_base_image():
    lock_with_base = replace(LOCK, base_digest="d" * 64)
    recorded = output_metadata.read(output_metadata.extract(output_metadata.metadata(RUN, "c", lock_with_base)))
    assert (recorded.lock.base_digest, recorded.lock.key) == (lock_with_base.base_digest, lock_with_base.key)


def test_metadata_of_an_ended_run_has_durations():
    ended = replace(RUN, phase="ended", phases=(("queued", 1.0), ("running", 2.0), ("ended", 4.5)), ended_at=4.5)
    assert output_metadata.metadata(ended, "c", LOCK)["uv_argo"]["seconds"] == {"queued": 1.0, "running": 2.5}


def test_metadata_is_small():
    many = replace(
        LOCK, packages=tuple(replace(LOCK.packages[0], name=f"p{n:03}", sha256=f"{n:064x}") for n in range(184))
    )
    assert len(json.dumps(output_metadata.metadata(RUN, "c" * 64, many))) < 184 * 75


def test_run_resolved_in_the_pod_has_no_lock():
    extracted = output_metadata.extract(output_metadata.metadata(RUN, "c", Unresolved(lines=("numpy",), reason="No.")))
    assert extracted == {"schema": 1, "run": "r1", "cell": "c", "lock": ""}
    assert output_metadata.read(extracted).lock is None


@each("metadata", [None, [], {}, {"uv_argo": 3}, {"other": {}}])
def test_other_metadata_is_ignored(metadata):
    assert output_metadata.extract(metadata) is None


def test_incomplete_metadata_is_ignored():
    assert output_metadata.read({"schema": 1}) is None
    with pytest.raises(SpecError, match="newer uv-argo-magic"):
        output_metadata.read({"schema": 2, "run": "r"})


INVALID_PACKAGES = [
    "",
    "!",
    "abc",
    base64.b64encode(b"abc").decode(),
    base64.b64encode(zlib.compress(b"a\xff")).decode(),
    pack("alpha==1"),
    pack("-r x"),
    pack("\n".join(LOCK.lines) + "x"),
]


@each("packages", INVALID_PACKAGES)
def test_modified_packages_are_rejected(packages):
    extracted = output_metadata.extract(output_metadata.metadata(RUN, "c", LOCK)) | {"packages": packages}
    with pytest.raises(SpecError, match="they were changed"):
        output_metadata.read(extracted)
