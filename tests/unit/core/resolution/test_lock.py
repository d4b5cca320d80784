from __future__ import annotations

from dataclasses import replace

import pytest
from support.cases import each

from uv_argo_magic.core.resolution.lock import Lock, Package, Target

TARGET = Target(python="3.12.1", abi="cp312")
ALPHA = Package(name="alpha", version="1.0", sha256="a" * 64, size=10, file="alpha-1.0-py3-none-any.whl")
BETA = Package(name="beta", version="2", sha256="b" * 64, url="https://files.example.com/beta-2-py3-none-any.whl")
LOCK = Lock(packages=(ALPHA, BETA), target=TARGET)


def test_lines_are_valid_for_uv():
    assert LOCK.lines == (
        f"alpha==1.0 --hash=sha256:{'a' * 64}",
        f"beta @ https://files.example.com/beta-2-py3-none-any.whl --hash=sha256:{'b' * 64}",
    )
    assert Package(name="bare", version="1").line() == "bare==1"


def test_key_depends_on_packages_and_target_only():
    same = Lock(packages=(ALPHA, BETA), target=replace(TARGET, python="3.12.9"), warnings=("The package has none.",))
    assert LOCK.key == same.key
    assert len(LOCK.key) == 32
    others = [
        replace(LOCK, packages=(ALPHA,)),
        replace(LOCK, packages=(replace(ALPHA, sha256="c" * 64), BETA)),
        replace(LOCK, target=replace(TARGET, python="3.13.0")),
        replace(LOCK, target=replace(TARGET, abi="cp312t")),
        replace(LOCK, target=replace(TARGET, implementation="pypy")),
        replace(LOCK, target=replace(TARGET, platform="aarch64-manylinux_2_28")),
    ]
    assert len({LOCK.key, *(lock.key for lock in others)}) == len(others) + 1


def test_annotations_do_not_change_the_key():
    annotated_lock = replace(
        LOCK, packages=(replace(ALPHA, requested=True), replace(BETA, via=("alpha",), index="corp")), uv="1"
    )
    assert annotated_lock.key == LOCK.key
    assert annotated_lock.lines == LOCK.lines
    assert annotated_lock.is_annotated
    assert not LOCK.is_annotated
    assert LOCK.size == 10
    assert Lock.from_json(replace(annotated_lock, created_at=5.5).to_json()) == replace(annotated_lock, created_at=5.5)


def test_lock_survives_a_round_trip_through_json():
    lock = replace(LOCK, warnings=("Say this.",))
    assert Lock.from_json(lock.to_json()) == lock
    assert Lock.from_json(lock.to_json()).key == lock.key


def test_lock_of_the_guest_is_normalized():
    text = (
        '{"packages": [{"name": "b", "version": "1"}, {"name": "a", "version": "1"}], "target": {"python": "3.12.1"}}'
    )
    lock = Lock.from_json(text)
    assert [package.name for package in lock.packages] == ["a", "b"]
    assert lock.warnings == ()


@each(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"packages": []}',
        '{"packages": [{"name": "a"}], "target": {"python": "3"}}',
        '{"packages": [{"name": "a", "version": "1", "odd": 1}], "target": {"python": "3"}}',
        '{"packages": 3, "target": {"python": "3"}}',
    ],
)
def test_invalid_lock_is_a_value_error(text):
    with pytest.raises(ValueError, match=r"."):
        Lock.from_json(text)


def test_empty_lock_has_target_and_base():
    target = Target(python="3.12.1")
    lock = Lock.empty(target, "sha256:ab")
    assert (lock.lines, lock.target, lock.base_digest) == ((), target, "sha256:ab")
