"""uv/store.py: listing and removing the environments of a store."""

from __future__ import annotations

import ast
import errno
import fcntl
import inspect
import json
import os
import shutil
import time

import pytest

from uv_argo_magic.uv import store
from uv_argo_magic.uv.store import Limits

KEYS = [letter * 32 for letter in "abcd"]
NOW = 2_000_000_000.0


@pytest.fixture
def root(tmp_path):
    """A store with four environments of at least 8 kB, last used one to four days ago."""
    for number, key in enumerate(KEYS):
        home = tmp_path / "trees" / key
        (home / "site").mkdir(parents=True)
        (home / "site" / "module.py").write_text("x" * 5000)
        (home / ".ok").write_text(json.dumps({"packages": [["alpha", f"{number}.0"]], "python": "3.11"}))
        (home / ".used").write_text(f"pod-{number}\nuser-{number}\n")
        os.utime(home / ".used", (NOW, NOW - (number + 1) * store.DAY))
    (tmp_path / "trees" / ("e" * 32)).mkdir()  # a build that was never finished
    (tmp_path / "trees" / "notes").mkdir()
    return tmp_path


def keys(environments):
    return [environment.key[0] for environment in environments]


def test_environments_are_listed_with_details(root):
    environments = store.environments(str(root))
    assert keys(environments) == list("abcd")
    first = environments[0]
    assert first.packages == (("alpha", "0.0"),)
    assert (first.python, first.used_by, first.files, first.in_use) == ("3.11", "user-0", 3, False)
    assert first.used == NOW - store.DAY
    assert first.bytes >= 5000
    assert store.environments(str(root / "none")) == []


def test_environment_of_an_older_version_has_its_build_time(root):
    home = root / "trees" / KEYS[0]
    (home / ".used").write_text("pod-0")  # without the user
    assert {environment.used_by for environment in store.environments(str(root))} == {"", "user-1", "user-2", "user-3"}
    (home / ".used").unlink()
    (home / ".ok").write_text(json.dumps({"packages": []}))
    (environment,) = (environment for environment in store.environments(str(root)) if environment.key == KEYS[0])
    assert (environment.python, environment.used_by, environment.used) == ("", "", environment.built)


@pytest.mark.parametrize(
    ("limits", "removed"),
    [
        (Limits(), ""),
        (Limits(before=NOW - 2.5 * store.DAY), "cd"),
        (Limits(keep=1), "bcd"),
        (Limits(keep=0), "abcd"),
        (Limits(max_bytes=0), "abcd"),
        (Limits(keys=(KEYS[1],)), "b"),
        (Limits(keys=(KEYS[1],), keep=0), "b"),
        (Limits(keys=("f" * 32,)), ""),
    ],
)
def test_prune_removes_environments_above_a_limit(root, limits, removed):
    assert "".join(keys(store.prune(str(root), limits, dry_run=True))) == removed
    assert keys(store.environments(str(root))) == list("abcd")
    assert "".join(keys(store.prune(str(root), limits))) == removed
    assert set(keys(store.environments(str(root)))) == set("abcd") - set(removed)
    assert list((root / "aside").glob("*")) == []


def test_prune_keeps_the_newest_up_to_a_size(root):
    sizes = [environment.bytes for environment in store.environments(str(root))]
    assert keys(store.prune(str(root), Limits(max_bytes=sum(sizes[:2])))) == ["c", "d"]
    (root / "trees" / KEYS[0] / "site" / "large.so").write_bytes(b"x" * 100_000)
    # A smaller environment that was used longer ago is not kept instead.
    assert keys(store.prune(str(root), Limits(max_bytes=50_000))) == ["a", "b"]


def test_shared_byte_code_is_not_part_of_the_size(root):
    before = store.environments(str(root))
    shared = root / "bytecode" / "cpython-311" / "module.pyc"
    shared.parent.mkdir(parents=True)
    shared.write_bytes(b"x" * 100_000)
    for key in KEYS[:2]:
        (root / "trees" / key / "site" / "module.pyc").hardlink_to(shared)
    contents = store.contents(str(root))
    after = contents.environments
    assert contents.byte_code >= 100_000
    assert [environment.bytes for environment in after] == [environment.bytes for environment in before]
    assert after[0].files == before[0].files + 1


def test_prune_keeps_environments_in_use(root):
    with (root / "trees" / KEYS[3] / ".ok").open() as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        assert store.environments(str(root))[3].in_use
        pruned = store.prune(str(root), Limits(keep=0))
        assert [(env.key[0], env.kept) for env in pruned] == [("a", ""), ("b", ""), ("c", ""), ("d", store.IN_USE)]
        for dry_run in (True, False):
            (pruned,) = store.prune(str(root), Limits(keys=(KEYS[3],)), dry_run=dry_run)
            assert pruned.kept == store.IN_USE
    assert keys(store.prune(str(root), Limits(keep=0))) == ["d"]


def test_prune_returns_why_an_environment_was_kept(root, monkeypatch):
    def refuse(*_args):
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(store.Path, "rename", refuse)
        assert [env.kept for env in store.prune(str(root), Limits(keep=2))] == ["Permission denied"] * 2
    assert len(store.environments(str(root))) == 4


def test_prune_ignores_the_remainder_of_another_one(root, monkeypatch):
    monkeypatch.setattr(store.shutil, "rmtree", lambda *_, **__: None)  # ends early, as if it was killed
    for _ in range(2):
        assert keys(store.prune(str(root), Limits(keys=(KEYS[0],)))) == ["a"]
        shutil.copytree(root / "trees" / KEYS[1], root / "trees" / KEYS[0])


def test_prune_keeps_environments_in_use_on_nfs(root, monkeypatch):
    def flock_of_nfs(file, operation):
        if operation & fcntl.LOCK_EX and fcntl.fcntl(file, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        flock(file, operation)

    flock = fcntl.flock
    monkeypatch.setattr(fcntl, "flock", flock_of_nfs)
    with (root / "trees" / KEYS[3] / ".ok").open() as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        assert store.environments(str(root))[3].in_use
        assert all(env.kept for env in store.prune(str(root), Limits(keys=(KEYS[3],))))


def test_prune_removes_leftovers_of_killed_processes(root):
    for name in ("aside/old/site", "aside/new/site", "locks"):
        (root / name).mkdir(parents=True)
    (root / "locks" / "old").touch()
    (root / "locks" / "new").touch()
    before = time.time() - store.DAY - 60
    for name in ("aside/old", "locks/old"):
        os.utime(root / name, (before, before))
    store.prune(str(root), Limits(keep=9))
    assert sorted(path.name for path in (*root.glob("aside/*"), *root.glob("locks/*"))) == ["new", "new"]


def test_prune_removes_changed_environments_first(root):
    (root / "trees" / KEYS[0] / ".changed").touch()
    (root / "trees" / KEYS[1]).rename(root / "trees" / f"{KEYS[0]}-1")
    assert [environment.is_changed for environment in store.environments(str(root))] == [True, False, False, False]
    assert [environment.key for environment in store.verify(str(root), (), lambda _: ())][:1] == [f"{KEYS[0]}-1"]
    assert keys(store.prune(str(root), Limits(keep=9))) == ["a"]
    assert len(store.environments(str(root))) == 3


@pytest.mark.parametrize("record", ["", "{", "[]", "null", "{}", '{"packages": 5}', b"\xff"])
def test_environment_with_damaged_record_is_listed_and_removed(root, record):
    mark = root / "trees" / KEYS[0] / ".ok"
    mark.write_bytes(record if isinstance(record, bytes) else record.encode())
    damaged = store.environments(str(root))[0]
    assert (damaged.key, damaged.packages, damaged.is_changed) == (KEYS[0], (), True)
    verified = store.verify(str(root), (), lambda _: ())
    assert [env.problems for env in verified] == [((".ok", "changed"),), (), (), ()]
    assert store.parse_response(store.respond('{"action": "list"}', str(root), lambda _: ())).environments[0] == damaged
    assert keys(store.prune(str(root), Limits(keep=9))) == ["a"]
    assert not mark.exists()


def test_response_of_a_cell_is_read(root):
    def run_request(**request):
        return store.respond(
            json.dumps(request), str(root), lambda home: [["a.py", "changed"]] if KEYS[1] in home else []
        )

    response = run_request(action="list")
    assert store.parse_response(response) == store.contents(str(root))
    verified = store.parse_response(run_request(action="verify", keys=[KEYS[1], KEYS[2]])).environments
    assert [environment.problems for environment in verified] == [(("a.py", "changed"),), ()]
    removed = run_request(action="prune", keys=[KEYS[0]], dry_run=False)
    assert keys(store.parse_response(removed).environments) == ["a"]
    assert keys(store.environments(str(root))) == list("bcd")
    for invalid in ("", "[1]", '{"environments": [{"key": 1}]}', '{"environments": [], "other": 1}'):
        with pytest.raises(ValueError, match=r"."):
            store.parse_response(invalid)


def test_module_supports_python_3_8_without_our_packages():
    tree = ast.parse(inspect.getsource(store), feature_version=(3, 8))
    names = {node.module.partition(".")[0] for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert "uv_argo_magic" not in names
