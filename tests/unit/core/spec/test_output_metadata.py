"""core/spec/output_metadata.py: what an output's metadata keeps of a run, there and back."""

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


def packed(text):
    return base64.b64encode(zlib.compress(text.encode())).decode()


def test_there_and_back():
    about = output_metadata.metadata(RUN, "c" * 64, LOCK, image="python@sha256:ab")
    known = output_metadata.extract(json.loads(json.dumps(about)))
    assert known["image"] == "python@sha256:ab"
    assert "seconds" not in known
    found = output_metadata.read(known)
    assert (found.run, found.cell, found.lock.key) == ("r1", "c" * 64, LOCK.key)
    assert found.lock.lines == LOCK.lines
    assert found.lock.target == LOCK.target
    assert found.lock.uv == "0.13.9"


def test_an_image_with_packages_of_its_own_is_part_of_it():
    based = replace(LOCK, base_digest="d" * 64)
    found = output_metadata.read(output_metadata.extract(output_metadata.metadata(RUN, "c", based)))
    assert (found.lock.base_digest, found.lock.key) == (based.base_digest, based.key)


def test_an_ended_run_says_how_long_each_stage_took():
    ended = replace(RUN, phase="ended", phases=(("queued", 1.0), ("running", 2.0), ("ended", 4.5)), ended_at=4.5)
    assert output_metadata.metadata(ended, "c", LOCK)["uv_argo"]["seconds"] == {"queued": 1.0, "running": 2.5}


def test_it_stays_small():
    many = replace(
        LOCK, packages=tuple(replace(LOCK.packages[0], name=f"p{n:03}", sha256=f"{n:064x}") for n in range(184))
    )
    assert len(json.dumps(output_metadata.metadata(RUN, "c" * 64, many))) < 184 * 75


def test_what_was_chosen_over_there_has_no_lock():
    known = output_metadata.extract(output_metadata.metadata(RUN, "c", Unresolved(lines=("numpy",), reason="No.")))
    assert known == {"schema": 1, "run": "r1", "cell": "c", "lock": ""}
    assert output_metadata.read(known).lock is None


@each("about", [None, [], {}, {"uv_argo": 3}, {"other": {}}])
def test_metadata_of_others(about):
    assert output_metadata.extract(about) is None


def test_what_is_ours_and_no_run():
    assert output_metadata.read({"schema": 1}) is None
    with pytest.raises(SpecError, match="newer uv-argo-magic"):
        output_metadata.read({"schema": 2, "run": "r"})


CHANGED = [
    "",
    "!",
    "abc",
    base64.b64encode(b"abc").decode(),
    base64.b64encode(zlib.compress(b"a\xff")).decode(),
    packed("alpha==1"),
    packed("-r x"),
    packed("\n".join(LOCK.lines) + "x"),
]


@each("packages", CHANGED)
def test_what_somebody_changed_is_refused(packages):
    known = output_metadata.extract(output_metadata.metadata(RUN, "c", LOCK)) | {"packages": packages}
    with pytest.raises(SpecError, match="they were changed"):
        output_metadata.read(known)
