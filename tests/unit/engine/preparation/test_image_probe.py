"""engine/preparation/image_probe.py: when an image is inspected, the cached results, and the resulting spec."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import replace

import pytest

from uv_argo_magic._os import threads
from uv_argo_magic.core.protocol import events as ev
from uv_argo_magic.core.resolution.base_packages import read_probe
from uv_argo_magic.core.spec.run_spec import RunSpec, Settings
from uv_argo_magic.engine.preparation import image_probe
from uv_argo_magic.errors import BackendUnavailable, SpecError
from uv_argo_magic.testing import FakeBackend, write

PROBE_RESULT = {
    "python": "3.12.1",
    "implementation": "cpython",
    "free": False,
    "machine": "x86_64",
    "libc": "glibc 2.36",
    "distributions": [["numpy", "1.26.4", [], []]],
}
IMAGE = "registry.example.com/torch:2"
PINNED = f"registry.example.com/torch@sha256:{'a' * 64}"


class Cluster(FakeBackend):
    def __init__(self, *records, **changed):
        line = json.dumps(PROBE_RESULT | changed) + "\n"
        super().__init__(records or [write(("phase", {"phase": "running"}), line, ("exit", {"reason": "ok"}))])

    def image(self, spec):
        return spec.settings.image or IMAGE


def build_spec(python="", **settings):
    return RunSpec(cell="secret()", python=python, settings=Settings(variables=(("TOKEN", "x"),), **settings))


def busy_threads():
    names = {thread.name for thread in threading.enumerate() if thread.name.startswith("uv-argo-")}
    return names - {threads.IDLE}


def inspect(spec, backend, tmp_path, notes=None):
    notify = (notes if notes is not None else []).append
    other_threads = busy_threads()  # of tests that ran before in this process
    try:
        return image_probe.inspect_image(spec, backend, tmp_path, notify=notify)
    finally:
        deadline = time.monotonic() + 60
        while busy_threads() - other_threads:
            assert time.monotonic() < deadline  # the run of the probe has ended
            time.sleep(0.002)


def test_image_is_not_inspected_without_need(tmp_path):
    backend = Cluster()
    for spec in (build_spec(), build_spec("3.12"), build_spec("3.12.1", image=IMAGE)):
        assert inspect(spec, backend, tmp_path) == (spec, None)
    assert backend.submitted == []


def test_custom_image_is_inspected_once(tmp_path):
    backend, notes = Cluster(), []
    spec = build_spec("3.12", image=IMAGE, platform="x86_64-manylinux_2_28", retries=2, log_budget=9)
    resolved, base = inspect(spec, backend, tmp_path, notes)
    assert base is None
    assert (resolved.python, resolved.settings.platform) == ("3.12.1", "x86_64-manylinux_2_36")
    assert notes == [f"Inspecting {IMAGE} (Python and installed packages); the result is cached."]
    program, probe, _ = backend.submitted[0]
    assert (probe.settings.variables, probe.settings.base, probe.settings.image) == ((), "own", IMAGE)
    assert (probe.settings.retries, probe.settings.log_budget) == (0, 0)
    assert "secret" not in probe.cell
    assert program.nonce
    assert backend.deleted == ["fake-1"]
    # The result is cached, including the packages.
    resolved, base = inspect(replace(spec, settings=replace(spec.settings, base="own")), backend, tmp_path, notes)
    assert base == read_probe(json.dumps(PROBE_RESULT))
    assert len(backend.submitted) == len(notes) == 1
    # The resulting spec uses the same cache entry.
    assert image_probe.cached_base(resolved, IMAGE, tmp_path) == base
    assert image_probe.cached_base(build_spec(image=IMAGE, platform="aarch64-manylinux_2_28"), IMAGE, tmp_path) is None
    # On another cluster, the same name can be another image.
    inspect(build_spec(image=IMAGE, context="other"), backend, tmp_path, notes)
    assert len(backend.submitted) == 2


def test_tags_are_inspected_daily_and_digests_once(tmp_path, monkeypatch):
    backend = Cluster()
    for image, times in ((IMAGE, 2), (PINNED, 3)):
        inspect(build_spec(image=image), backend, tmp_path)
        later = image_probe.time.time() + 2 * image_probe.MAX_AGE
        with monkeypatch.context() as patch:
            patch.setattr(image_probe.time, "time", lambda later=later: later)
            inspect(build_spec(image=image), backend, tmp_path)
        assert len(backend.submitted) == times


def test_invalid_cache_files_are_ignored(tmp_path):
    backend = Cluster()
    inspect(build_spec(image=IMAGE), backend, tmp_path)
    (cache_file,) = tmp_path.iterdir()
    for text in ("", "{}", '{"made": "x", "base": ""}', '{"made": 1, "base": "{}"}', '{"made": 1, "base": 3}'):
        cache_file.write_text(text, encoding="utf-8")
        assert image_probe.cached_base(build_spec(image=IMAGE), IMAGE, tmp_path) is None


def test_default_base_is_the_image_of_the_backend(tmp_path):
    resolved, base = inspect(build_spec(base="own"), Cluster(), tmp_path)
    assert (resolved.settings.image, resolved.python) == (IMAGE, "3.12.1")
    assert [distribution.name for distribution in base.distributions] == ["numpy"]


def test_local_python_is_inspected_each_time(tmp_path):
    backend = Cluster()
    backend.image = lambda _: ""
    notes = []
    for _ in range(2):
        resolved, base = inspect(build_spec("3.12", base="own"), backend, tmp_path, notes)
        assert (resolved, bool(base)) == (build_spec("3.12", base="own"), True)
    assert len(backend.submitted) == 2
    assert backend.submitted[0][1].python == "3.12"
    assert notes == []
    assert list(tmp_path.iterdir()) == []
    assert image_probe.inspect_image(build_spec("3.12", base="own"), backend, tmp_path, may_run=False)[1] == base


def test_probe_does_not_run_without_permission(tmp_path):
    backend = Cluster()
    with pytest.raises(SpecError, match=f"the packages in {IMAGE} are not known yet"):
        image_probe.inspect_image(build_spec(image=IMAGE), backend, tmp_path, may_run=False)
    assert backend.submitted == []
    inspect(build_spec(image=IMAGE), backend, tmp_path)
    assert image_probe.inspect_image(build_spec(image=IMAGE), backend, tmp_path, may_run=False)[0].python == "3.12.1"


@pytest.mark.parametrize(
    ("python", "changed", "message"),
    [
        ("3.11", {}, "has Python 3.12.1, but 3.11 is requested"),
        (">=3.13", {}, "has Python 3.12.1, but >=3.13 is requested"),
        ("3.12t", {}, "has Python 3.12.1, but 3.12t is requested"),
        ("", {"free": True}, "has Python 3.12.1, but its implementation is cpythont"),
        ("", {"implementation": "pypy"}, "has Python 3.12.1, but its implementation is pypy"),
        ("", {"libc": ""}, "has Python 3.12.1, but its C library is not glibc"),
    ],
)
def test_image_with_another_python_is_rejected(tmp_path, python, changed, message):
    with pytest.raises(SpecError, match=message):
        inspect(build_spec(python, image=IMAGE), Cluster(**changed), tmp_path)


@pytest.mark.parametrize(
    ("records", "message"),
    [
        ([write(("exit", {"reason": "signal", "code": -9}))], "could not list the packages installed in \\S+$"),
        (["Cannot write to the store: full.\n", ev.NodePhase(phase="Failed", t=1.0)], "to the store: full.$"),
        ([ev.NodePhase(phase="Failed", message="no such image", t=1.0)], "installed in \\S+: no such image$"),
    ],
)
def test_failed_probe_is_an_error(tmp_path, records, message):
    with pytest.raises(SpecError, match=message):
        inspect(build_spec(image=IMAGE), Cluster(*records), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_lost_probe_is_deleted(tmp_path):
    backend = Cluster()

    def broken(_name):
        raise BackendUnavailable("gone")
        yield

    backend.watch = broken
    with pytest.raises(SpecError, match=r"could not list the packages installed in \S+: gone"):
        inspect(build_spec(image=IMAGE), backend, tmp_path)
    assert backend.deleted == ["fake-1"]
