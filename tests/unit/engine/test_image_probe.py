"""engine/image_probe.py: when a place is asked what it has, what is remembered, and what becomes of a run's spec."""

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
from uv_argo_magic.engine import image_probe
from uv_argo_magic.errors import BackendUnavailable, SpecError
from uv_argo_magic.testing import FakeBackend, write

SAID = {
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
        line = json.dumps(SAID | changed) + "\n"
        super().__init__(records or [write(("phase", {"phase": "running"}), line, ("exit", {"reason": "ok"}))])

    def image(self, spec):
        return spec.settings.image or IMAGE


def spec(python="", **settings):
    return RunSpec(cell="secret()", python=python, settings=Settings(variables=(("TOKEN", "x"),), **settings))


def busy_threads():
    names = {thread.name for thread in threading.enumerate() if thread.name.startswith("uv-argo-")}
    return names - {threads.IDLE}


def look(wanted, backend, tmp_path, notes=None):
    notify = (notes if notes is not None else []).append
    others = busy_threads()  # of tests that ran before in this process
    try:
        return image_probe.inspect_image(wanted, backend, tmp_path, notify=notify)
    finally:
        deadline = time.monotonic() + 60
        while busy_threads() - others:
            assert time.monotonic() < deadline  # the probe's run is released
            time.sleep(0.002)


def test_nobody_is_asked_where_nothing_must_be_known(tmp_path):
    backend = Cluster()
    for wanted in (spec(), spec("3.12"), spec("3.12.1", image=IMAGE)):
        assert look(wanted, backend, tmp_path) == (wanted, None)
    assert backend.submitted == []


def test_an_image_of_ones_own_says_its_python(tmp_path):
    backend, notes = Cluster(), []
    wanted = spec("3.12", image=IMAGE, platform="x86_64-manylinux_2_28")
    known, base = look(wanted, backend, tmp_path, notes)
    assert base is None
    assert (known.python, known.settings.platform) == ("3.12.1", "x86_64-manylinux_2_36")
    assert notes == [f"Inspecting {IMAGE} (Python and installed packages); the result is cached."]
    program, probe, _ = backend.submitted[0]
    assert (probe.settings.variables, probe.settings.base, probe.settings.image) == ((), "own", IMAGE)
    assert "secret" not in probe.cell
    assert program.nonce
    assert backend.deleted == ["fake-1"]
    # Once: the answer is remembered, for the packages as well.
    known, base = look(replace(wanted, settings=replace(wanted.settings, base="own")), backend, tmp_path, notes)
    assert base == read_probe(json.dumps(SAID))
    assert len(backend.submitted) == len(notes) == 1
    # What came of it is no other question.
    assert image_probe.cached_base(known, IMAGE, tmp_path) == base
    assert image_probe.cached_base(spec(image=IMAGE, platform="aarch64-manylinux_2_28"), IMAGE, tmp_path) is None
    # In another cluster the same name may be another image.
    look(spec(image=IMAGE, context="other"), backend, tmp_path, notes)
    assert len(backend.submitted) == 2


def test_a_tag_is_asked_again_after_a_day_and_a_digest_never(tmp_path, monkeypatch):
    backend = Cluster()
    for image, times in ((IMAGE, 2), (PINNED, 3)):
        look(spec(image=image), backend, tmp_path)
        later = image_probe.time.time() + 2 * image_probe.MAX_AGE
        with monkeypatch.context() as patch:
            patch.setattr(image_probe.time, "time", lambda later=later: later)
            look(spec(image=image), backend, tmp_path)
        assert len(backend.submitted) == times


def test_what_lies_on_the_disk_and_cannot_be_read_is_no_answer(tmp_path):
    backend = Cluster()
    look(spec(image=IMAGE), backend, tmp_path)
    (kept,) = tmp_path.iterdir()
    for text in ("", "{}", '{"made": "x", "base": ""}', '{"made": 1, "base": "{}"}', '{"made": 1, "base": 3}'):
        kept.write_text(text, encoding="utf-8")
        assert image_probe.cached_base(spec(image=IMAGE), IMAGE, tmp_path) is None


def test_the_base_is_the_image_of_the_backend_where_none_is_named(tmp_path):
    known, base = look(spec(base="own"), Cluster(), tmp_path)
    assert (known.settings.image, known.python) == (IMAGE, "3.12.1")
    assert [one.name for one in base.distributions] == ["numpy"]


def test_this_machine_is_asked_each_time(tmp_path):
    backend = Cluster()
    backend.image = lambda _: ""
    notes = []
    for _ in range(2):
        known, base = look(spec("3.12", base="own"), backend, tmp_path, notes)
        assert (known, bool(base)) == (spec("3.12", base="own"), True)
    assert len(backend.submitted) == 2
    assert backend.submitted[0][1].python == "3.12"
    assert notes == []
    assert list(tmp_path.iterdir()) == []
    assert image_probe.inspect_image(spec("3.12", base="own"), backend, tmp_path, may_run=False)[1] == base


def test_no_probe_runs_that_may_not(tmp_path):
    backend = Cluster()
    with pytest.raises(SpecError, match=f"the packages in {IMAGE} are not known yet"):
        image_probe.inspect_image(spec(image=IMAGE), backend, tmp_path, may_run=False)
    assert backend.submitted == []
    look(spec(image=IMAGE), backend, tmp_path)
    assert image_probe.inspect_image(spec(image=IMAGE), backend, tmp_path, may_run=False)[0].python == "3.12.1"


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
def test_an_image_that_does_not_fit(tmp_path, python, changed, message):
    with pytest.raises(SpecError, match=message):
        look(spec(python, image=IMAGE), Cluster(**changed), tmp_path)


@pytest.mark.parametrize(
    ("records", "message"),
    [
        ([write(("exit", {"reason": "signal", "code": -9}))], "could not list the packages installed in \\S+$"),
        ([ev.NodePhase(phase="Failed", message="no such image", t=1.0)], "installed in \\S+: no such image$"),
    ],
)
def test_a_place_that_does_not_say(tmp_path, records, message):
    with pytest.raises(SpecError, match=message):
        look(spec(image=IMAGE), Cluster(*records), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_is_lost_is_left_clean(tmp_path):
    backend = Cluster()

    def broken(_name):
        raise BackendUnavailable("gone")
        yield

    backend.watch = broken
    with pytest.raises(SpecError, match=r"could not list the packages installed in \S+: gone"):
        look(spec(image=IMAGE), backend, tmp_path)
    assert backend.deleted == ["fake-1"]
