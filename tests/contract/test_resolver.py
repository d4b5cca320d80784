"""Resolving with the real uv against an index on 127.0.0.1: the lock, what changes it, and what is remembered."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from packaging.tags import compatible_tags, cpython_tags
from support.index_server import IndexServer
from support.waiting import until
from uv import find_uv_bin

from uv_argo_magic.core.requirements.model import Requirement, Requirements
from uv_argo_magic.core.requirements.parser import parse
from uv_argo_magic.core.resolution import lock_export
from uv_argo_magic.core.resolution.base_packages import BaseEnvironment, Distribution
from uv_argo_magic.core.resolution.lock import Lock, Target, Unresolved
from uv_argo_magic.core.spec.run_spec import Settings
from uv_argo_magic.core.spec.uv_environ import uv_process_environ
from uv_argo_magic.errors import ResolutionError, SpecError
from uv_argo_magic.uv import interpreters, runner
from uv_argo_magic.uv.interpreters import Interpreter
from uv_argo_magic.uv.lock_store import MAX_AGE, LockStore
from uv_argo_magic.uv.resolver import Resolver


@pytest.fixture
def index():
    with IndexServer() as serving:
        yield serving


def surroundings(index, folder):
    environ = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    return environ | {"UV_CACHE_DIR": str(folder / "uv"), "UV_HTTP_RETRIES": "0", "UV_DEFAULT_INDEX": index.url}


@pytest.fixture
def ask(index, tmp_path):
    """`ask("alpha", only_binary=False)`: a lock from the index, with an empty uv cache."""
    environ = surroundings(index, tmp_path)

    def asking(text, *, locks=None, upgrade=False, interpreter=None, env=None, **settings):
        asked = Resolver(
            interpreter=interpreter or interpreters.find(),
            settings=Settings(**settings),
            store=locks,
            environ=environ | (env or {}),
        )
        return asked.lock(parse(text) if isinstance(text, str) else text, upgrade=upgrade)

    return asking


def names(lock):
    assert isinstance(lock, Lock), lock
    return [f"{package.name} {package.version}" for package in lock.packages]


def test_a_folder_of_wheels_in_the_pod_is_read_there(ask):
    image = replace(interpreters.find(), image="python")
    found = ask("alpha", interpreter=image, find_links=("/wheels-of-the-pod",))
    assert found == Unresolved(lines=("alpha",), reason="The folder /wheels-of-the-pod is not on this machine.")


def test_a_build_of_pytorch_that_uv_does_not_know_is_refused(index, ask):
    index.add("alpha", "1.0")
    assert names(ask("alpha", torch_backend="cpu")) == ["alpha 1.0"]
    with pytest.raises(ResolutionError, match="invalid value 'cux' for '--torch-backend"):
        ask("alpha", torch_backend="cux")


def test_a_lock_names_every_file_and_no_index(index, ask):
    alpha = index.add("alpha", "1.0", requires=["beta<2"])
    beta = index.add("beta", "1.5")
    index.add("beta", "2.0")
    lock = ask("alpha")
    assert lock.lines == (f"alpha==1.0 --hash=sha256:{alpha.sha256}", f"beta==1.5 --hash=sha256:{beta.sha256}")
    assert [(package.file, package.size) for package in lock.packages] == [
        (alpha.filename, len(alpha.body)),
        (beta.filename, len(beta.body)),
    ]
    assert lock.target == interpreters.find().target
    assert "127.0.0.1" not in lock.to_json()
    assert lock.warnings == ()


def test_what_is_locked_can_be_installed_as_it_is(index, ask, tmp_path):
    index.add("alpha", "1.0", requires=["beta"], files={"alpha.py": "import beta\nvalue = beta.value"})
    index.add("beta", "1.0", files={"beta.py": "value = 42"})
    (tmp_path / "lock.txt").write_text("\n".join(ask("alpha").lines))
    python = interpreters.find().path
    command = [find_uv_bin(), "pip", "install", "--target", "tree", "--no-deps", "--require-hashes", "-r", "lock.txt"]
    subprocess.run(
        [*command, "--python", python, "--default-index", index.url],
        cwd=tmp_path,
        env=uv_process_environ(os.environ) | {"UV_CACHE_DIR": str(tmp_path / "uv")},
        check=True,
        capture_output=True,
    )
    code = "import sys; sys.path.insert(0, 'tree'); import alpha; print(alpha.value)"
    done = subprocess.run([python, "-I", "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == "42\n"


def test_no_requirements_ask_nobody(monkeypatch, ask):
    monkeypatch.setattr(runner, "find_uv_bin", lambda: pytest.fail("uv was asked"))
    lock = ask("")
    assert lock == Lock(packages=(), target=interpreters.find().target)


def test_the_wheel_for_this_python_is_taken(index, ask):
    here = interpreters.find()
    best, pure = str(here.wheel_tags[0]), "py3-none-any"
    index.add("alpha", "1.0", tag=pure)
    index.add("alpha", "1.0", tag=best)
    index.add("alpha", "1.0", tag="cp36-cp36m-win_arm64")
    assert ask("alpha").packages[0].file == f"alpha-1.0-{best}.whl"


def test_another_platform_takes_its_own_wheel(index, ask):
    here = interpreters.find()
    platforms = ["manylinux_2_28_aarch64", "manylinux_2_17_aarch64", "linux_aarch64"]
    minor = tuple(int(part) for part in here.target.minor.split("."))
    there = Interpreter(
        path=here.path,
        target=replace(here.target, platform="aarch64-manylinux_2_28"),
        tags=(
            *cpython_tags(minor, [here.target.abi], platforms),
            *compatible_tags(minor, f"cp{minor[0]}{minor[1]}", platforms),
        ),
    )
    for platform in ("manylinux_2_17_aarch64", "manylinux_2_17_x86_64", "win_amd64"):
        index.add("alpha", "1.0", tag=f"py3-none-{platform}")
    index.add("beta", "1.0")
    text = ["alpha", "beta; platform_machine == 'aarch64'"]
    lock = ask(f"{text[0]} {text[1]}", interpreter=there)
    assert [package.file for package in lock.packages] == [
        "alpha-1.0-py3-none-manylinux_2_17_aarch64.whl",
        "beta-1.0-py3-none-any.whl",
    ]
    assert lock.target.platform == "aarch64-manylinux_2_28"


def test_another_python_version_than_the_one_that_runs(index, ask):
    here = interpreters.find()
    index.add("alpha", "1.0", requires_python="<3.30")
    index.add("alpha", "2.0", requires_python=">=3.30")
    tags = (*cpython_tags((3, 30), ["cp330"], ["any"]), *compatible_tags((3, 30), "cp330", ["any"]))
    future = Interpreter(path=here.path, target=Target(python="3.30.1", abi="cp330"), tags=tags)
    assert names(ask("alpha")) == ["alpha 1.0"]
    assert names(ask("alpha", interpreter=future)) == ["alpha 2.0"]


def test_source_only_where_builds_are_allowed(index, ask):
    index.add_sdist("alpha", "1.0")
    with pytest.raises(ResolutionError, match="has no wheel, and building"):
        ask("alpha")
    lock = ask("alpha", only_binary=False)
    assert lock.packages[0].file == "alpha-1.0.tar.gz"


def test_a_url_is_kept_with_its_hash(index, ask):
    file = index.add("alpha", "1.0", requires=["beta"])
    index.add("beta", "1.0")
    wanted = Requirements(items=(Requirement(name="alpha", url=index.file_url(file)),))
    lock = ask(wanted)
    assert lock.lines[0] == f"alpha @ {index.file_url(file)} --hash=sha256:{file.sha256}"
    assert names(lock) == ["alpha 1.0", "beta 1.0"]
    source = index.add_sdist("gamma", "1.0")
    wanted = Requirements(items=(Requirement(name="gamma", url=index.file_url(source)),))
    with pytest.raises(ResolutionError, match="a source archive"):
        ask(wanted)
    assert ask(wanted, only_binary=False).packages[0].sha256 == source.sha256


def test_extras_markers_and_an_extra_that_is_none(index, ask):
    index.add("alpha", "1.0", extras={"fast": ["beta"]})
    index.add("beta", "1.0")
    assert names(ask("alpha[fast]")) == ["alpha 1.0", "beta 1.0"]
    assert names(ask("alpha beta; python_version < '3'")) == ["alpha 1.0"]
    lock = ask("alpha[slow]")
    assert names(lock) == ["alpha 1.0"]
    assert lock.warnings == ("The package alpha==1.0 does not have an extra named slow.",)


def test_settings_reach_uv(index, ask):
    index.add("alpha", "1.0", requires=["beta"], uploaded="2026-01-01T00:00:00Z")
    index.add("alpha", "2.0", requires=["beta"], uploaded="2026-03-01T00:00:00Z")
    index.add("alpha", "3.0rc1", requires=["beta"], uploaded="2026-04-01T00:00:00Z")
    index.add("beta", "1.0")
    index.add("beta", "2.0")
    assert names(ask("alpha")) == ["alpha 2.0", "beta 2.0"]
    assert names(ask("alpha", prerelease="allow")) == ["alpha 3.0rc1", "beta 2.0"]
    assert names(ask("alpha", resolution="lowest")) == ["alpha 1.0", "beta 1.0"]
    assert names(ask("alpha", exclude_newer="2026-02-01")) == ["alpha 1.0", "beta 2.0"]
    assert names(ask("alpha", constraints=("beta<2", "gamma>7"))) == ["alpha 2.0", "beta 1.0"]
    assert names(ask("alpha beta>1", overrides=("beta==1.0",))) == ["alpha 2.0", "beta 1.0"]


def test_the_setting_wins_over_the_users_index(index, ask):
    with IndexServer() as other:
        other.add("alpha", "7.0")
        index.add("alpha", "1.0")
        assert names(ask("alpha")) == ["alpha 1.0"]
        assert names(ask("alpha", index_url=other.url)) == ["alpha 7.0"]
        assert names(ask("alpha", index_url=other.url, env={"UV_INDEX_URL": index.url})) == ["alpha 7.0"]


def test_credentials_work_and_stand_on_no_command_line(ask):
    with IndexServer(credentials="user:secret") as private:
        private.add("alpha", "1.0")
        url = private.url.replace("://", "://user:secret@")
        assert names(ask("alpha", index_url=url)) == ["alpha 1.0"]
        asked = Resolver(interpreter=interpreters.find(), settings=Settings(index_url=url), environ={})
        question = asked._question(parse("alpha"))
        assert "secret" not in " ".join(question.options)
        with pytest.raises(ResolutionError, match="requires authentication") as caught:
            ask("beta", index_url=url.replace("secret", "wrongsecret"))
        assert "wrongsecret" not in f"{caught.value} {caught.value.hint}"
        named = {
            "UV_INDEX": f"mine={private.url}",
            "UV_INDEX_MINE_USERNAME": "user",
            "UV_INDEX_MINE_PASSWORD": "secret",
        }
        assert names(ask("alpha", env=named)) == ["alpha 1.0"]


def test_only_the_way_to_the_index_comes_from_the_environment(index, ask, tmp_path):
    index.add("alpha", "1.0")
    index.add("alpha", "2.0rc1")
    (tmp_path / "c.txt").write_text("alpha<0")
    (tmp_path / "uv.toml").write_text("offline = true")
    odd = {
        "UV_CONSTRAINT": str(tmp_path / "c.txt"),
        "UV_PRERELEASE": "allow",
        "UV_OFFLINE": "1",
        "UV_CONFIG_FILE": str(tmp_path / "uv.toml"),
        "UV_PYTHON": "2.7",
        "PYTHONPATH": "/nonexistent",
        "VIRTUAL_ENV": "/nonexistent",
        "FORCE_COLOR": "1",
    }
    assert names(ask("alpha", env=odd)) == ["alpha 1.0"]
    kept = {"SSL_CERT_FILE": "/c.pem", "HTTPS_PROXY": "http://p", "UV_SYSTEM_CERTS": "1", "UV_INDEX_MINE_PASSWORD": "x"}
    assert kept.items() <= uv_process_environ(kept | odd).items()
    assert not set(odd) & set(uv_process_environ(kept | odd))


@pytest.mark.parametrize("url", ["not a url", "ftp://index.example.com", "--help", "/etc"])
def test_an_index_that_is_no_address(ask, url):
    with pytest.raises(SpecError, match="index_url is not an index URL"):
        ask("alpha", index_url=url)


@pytest.mark.parametrize("where", ["deps", "constraints", "overrides"])
def test_urls_are_refused_where_they_are_not_allowed(ask, where):
    direct = "beta @ https://index.example.com/beta-1.0-py3-none-any.whl"
    wanted, more = (direct, {}) if where == "deps" else ("alpha", {where: (direct,)})
    with pytest.raises(SpecError, match="beta is requested by URL, but allow_urls is off"):
        ask(wanted, allow_urls=False, **more)


def test_a_setting_that_uv_refuses(ask):
    with pytest.raises(ResolutionError, match="yesterdayish"):
        ask("alpha", exclude_newer="yesterdayish")
    with pytest.raises(ResolutionError, match="Invalid setting"):
        ask("alpha", prerelease="--help")
    with pytest.raises(SpecError):
        ask("alpha", constraints=("-r /etc/passwd",))


def test_a_version_that_is_not_there_has_neighbours(index, ask):
    for version in ("1.0", "1.4", "2.0", "3.0"):
        index.add("alpha", version)
    index.add("alpha", "1.5", yanked=True)
    index.add("alpha", "1.7", tag="cp36-cp36m-win_arm64")
    for settings in ({}, {"resolution": "lowest"}):
        with pytest.raises(ResolutionError, match=r"There is no version 1\.6 of alpha") as caught:
            ask("alpha==1.6", **settings)
        assert caught.value.hint == "Nearest compatible versions: 1.4 and 2.0."
    with pytest.raises(ResolutionError) as caught:
        ask("alpha==9")
    assert caught.value.hint == "Nearest compatible versions: 3.0."
    with pytest.raises(ResolutionError, match=r"There is no version >9 of alpha") as caught:
        ask("alpha>9")
    assert "The index has" in caught.value.hint


def test_a_package_with_wheels_for_other_pythons_only_says_for_which(index, ask):
    index.add("alpha", "1.0", tag="cp38-none-any")
    index.add("alpha", "1.0", tag="cp39-none-any")
    index.add_sdist("alpha", "1.0")
    with pytest.raises(ResolutionError) as caught:
        ask("alpha==1.0")
    assert caught.value.message == "alpha 1.0 has wheels for Python 3.8 and 3.9 only."
    assert caught.value.hint == "Use --python 3.9, or another version of the package."


def test_a_conflict_is_an_error_in_plain_words(index, ask):
    index.add("alpha", "1.0", requires=["beta<2"])
    index.add("beta", "2.0")
    with pytest.raises(ResolutionError) as caught:
        ask("alpha beta")
    assert "alpha" in caught.value.message
    assert "beta<2" in caught.value.message
    assert "conclude" not in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize(
    ("trouble", "reason"),
    [
        ("503", "503 Service Unavailable"),
        ("407", "proxy"),
        ("text", "not a package index"),
        ("reset", "was interrupted"),
    ],
)
def test_an_index_that_cannot_be_reached_from_here(index, ask, trouble, reason):
    index.add("alpha", "1.0")
    index.misbehave("alpha", trouble)
    found = ask("alpha>=1 beta; python_version < '3'")
    assert isinstance(found, Unresolved)
    assert found.lines == ("alpha>=1", 'beta; python_version < "3"')
    assert reason in found.reason
    index.misbehave("alpha", "")
    assert names(ask("alpha>=1 beta; python_version < '3'")) == ["alpha 1.0"], "a failure is not remembered"


@pytest.mark.parametrize(
    ("trouble", "resolved_there", "message"),
    [
        ("401", False, "requires authentication for alpha (401)."),
        ("403", False, "denied access to alpha (403)."),
        ("404", False, "Package alpha was not found on the index."),
        ("429", True, "(for alpha)."),
        ("500", True, ": 500 Internal Server Error (for alpha)."),
        ("slow", True, "timed out (for alpha)."),
    ],
)
def test_what_an_index_may_answer_before_anything_runs(index, ask, trouble, resolved_there, message):
    index.add("alpha", "1.0")
    index.misbehave("alpha", trouble)
    settings = {"env": {"UV_HTTP_TIMEOUT": "1"}}
    if resolved_there:
        assert ask("alpha", **settings).reason.endswith(message)
    else:
        with pytest.raises(ResolutionError) as caught:
            ask("alpha", **settings)
        assert caught.value.message.endswith(message)
        assert caught.value.hint


def test_before_anything_runs_nothing_is_downloaded(index, ask):
    huge = index.add("alpha", "1.0", requires=["beta"], size=30_000_000)
    index.add("beta", "1.0", yanked="a mistake")
    with pytest.raises(ResolutionError, match=r"beta 1\.0 was yanked \(\"a mistake\"\)|The requirements conflict"):
        ask("alpha")
    index.add("beta", "0.9")
    lock = ask("alpha")
    assert lock.packages[0].size == len(huge.body) > 30_000_000
    assert names(ask("alpha beta==1.0")) == ["alpha 1.0", "beta 1.0"]
    assert "yanked" in ask("alpha beta==1.0").warnings[0]
    assert not [path for path in index.requests if path.endswith(".whl")]


def test_no_index_at_all_and_offline(ask):
    found = ask("alpha", index_url="http://127.0.0.1:9/simple")
    assert isinstance(found, Unresolved)
    assert found.reason == "Could not connect to 127.0.0.1:9 (for alpha)."
    with pytest.raises(ResolutionError, match="alpha is not in uv's cache"):
        ask("alpha", offline=True)


def test_offline_asks_no_index(index, ask):
    index.add("alpha", "1.0")
    with pytest.raises(ResolutionError, match="offline mode is on"):
        ask("alpha", offline=True)
    assert index.requests == []


def test_the_users_hashes_are_kept_to(index, ask):
    pure = index.add("alpha", "1.0")
    index.add("alpha", "1.0", tag=str(interpreters.find().wheel_tags[0]))

    def wanted(*hashes):
        return Requirements(items=(Requirement(name="alpha", specifier="==1.0", hashes=hashes),))

    assert ask(wanted(f"sha256:{pure.sha256}", "sha256:" + "0" * 64)).packages[0].sha256 == pure.sha256
    with pytest.raises(ResolutionError, match="has one of the hashes"):
        ask(wanted("sha256:" + "0" * 64))
    both = Requirements(
        items=(*wanted(f"sha256:{pure.sha256}").items, Requirement(name="alpha", hashes=("sha256:" + "0" * 64,)))
    )
    with pytest.raises(ResolutionError, match="has one of the hashes"):
        ask(both)


# What sticks


@pytest.fixture
def locks(tmp_path):
    return LockStore(tmp_path / "locks", "a.ipynb")


def test_an_answer_sticks_to_its_notebook(index, ask, locks, tmp_path):
    index.add("alpha", "1.0", extras={})
    first = ask("alpha[nope]", locks=locks)
    assert first.warnings
    assert first.uv.count(".") == 2
    assert time.time() - 60 < first.created_at <= time.time()
    index.add("alpha", "2.0")
    count = len(index.requests)
    assert ask("alpha[nope]", locks=locks) == first
    assert len(index.requests) == count
    assert names(ask("alpha[nope]", locks=LockStore(tmp_path / "locks", "b.ipynb"))) == ["alpha 2.0"]
    assert names(ask("alpha[nope]")) == ["alpha 2.0"], "without locks nothing is remembered"


def test_an_upgrade_asks_anew_and_sticks(index, ask, locks):
    index.add("alpha", "1.0")
    ask("alpha", locks=locks)
    index.add("alpha", "2.0")
    assert names(ask("alpha", locks=locks, upgrade=True)) == ["alpha 2.0"]
    assert names(ask("alpha", locks=locks)) == ["alpha 2.0"]


def test_another_question_is_another_answer(index, ask, locks, tmp_path):
    here = interpreters.find()
    cases = [
        {},
        {"env": {"UV_INDEX": index.url}},
        {"indexes": (("corp", index.url),)},
        {"exclude_newer": "3 days"},
        {"only_binary": False},
        {"prerelease": "allow"},
        {"resolution": "lowest"},
        {"constraints": ("alpha<9",)},
        {"overrides": ("alpha<9",)},
        {"interpreter": replace(here, target=replace(here.target, abi="other"))},
        {"interpreter": replace(here, tags=here.wheel_tags[1:])},
    ]
    index.add("alpha", "1.0")
    for case in cases:
        count = len(index.requests)
        ask("alpha", locks=locks, **case)
        assert len(index.requests) > count, case
    assert len(list((tmp_path / "locks").rglob("*.json"))) == len(cases)


def test_what_changes_by_itself_is_no_other_question(index, ask, locks, monkeypatch):
    index.add("alpha", "1.0")
    first = ask("alpha", locks=locks, index_url=index.url)
    count = len(index.requests)
    monkeypatch.setattr(runner, "uv_version", lambda: "9.9.9")
    secret = index.url.replace("://", "://user:secret@")
    assert ask("alpha", locks=locks, index_url=index.url, offline=True) == first
    assert ask("alpha", locks=locks, index_url=index.url, env={"UV_INDEX_DEFAULT_PASSWORD": "x"}) == first
    assert len(index.requests) == count
    other = ask("alpha", locks=locks, index_url=secret)
    assert ask("alpha", locks=locks, index_url=secret.replace("secret", "rotated")) == other


def only(folder):
    (file,) = Path(folder).rglob("*.json")
    return file


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: "",
        lambda text: "[]",
        lambda text: "{}",
        lambda text: json.dumps(json.loads(text) | {"lock": "{}"}),
        lambda text: json.dumps(json.loads(text) | {"schema": 99}),
    ],
)
def test_a_broken_answer_is_none(index, ask, locks, tmp_path, spoil):
    index.add("alpha", "1.0")
    first = ask("alpha", locks=locks)
    file = only(tmp_path / "locks")
    file.write_text(spoil(file.read_text()))
    count = len(index.requests)
    assert ask("alpha", locks=locks).key == first.key
    assert len(index.requests) > count
    assert locks.find(file.stem).key == first.key


@pytest.mark.parametrize("made", [lambda: time.time() - MAX_AGE - 1, lambda: time.time() + 3600])
def test_without_a_notebook_an_answer_is_good_for_a_day(index, ask, tmp_path, made):
    nowhere = LockStore(tmp_path / "locks")
    index.add("alpha", "1.0")
    first = ask("alpha", locks=nowhere)
    index.add("alpha", "2.0")
    assert ask("alpha", locks=nowhere) == first
    file = only(tmp_path / "locks")
    about = json.loads(file.read_text())
    file.write_text(json.dumps(about | {"lock": about["lock"] | {"made": made()}}))
    old = file.with_name("old.json")
    old.write_text("{}")
    os.utime(old, (1, 1))
    assert names(ask("alpha", locks=nowhere)) == ["alpha 2.0"]
    assert not old.exists()


def test_a_closed_folder_does_no_harm(index, ask, tmp_path):
    index.add("alpha", "1.0")
    (tmp_path / "file").write_text("")
    assert names(ask("alpha", locks=LockStore(tmp_path / "file", "a.ipynb"))) == ["alpha 1.0"]


@pytest.mark.parametrize("how", ["down", "offline"])
def test_where_no_index_answers_the_last_good_lock_is_used_and_says_so(index, ask, locks, tmp_path, how):
    index.add("alpha", "1.0")
    ask("alpha", locks=locks)
    index.misbehave("alpha", "503")
    other = LockStore(tmp_path / "locks", "b.ipynb")
    settings = {"offline": True, "env": {"UV_CACHE_DIR": str(tmp_path / "empty")}} if how == "offline" else {}
    for asked in (locks, other):
        found = ask("alpha", locks=asked, upgrade=True, **settings)
        assert names(found) == ["alpha 1.0"]
        assert re.search(r"(503|offline mode is on).*Using the versions of \d{4}-\d\d-\d\d", found.warnings[-1])
    assert ask("alpha", locks=locks).warnings == (), "what was used for want of an index is not kept"
    assert isinstance(ask("alpha<9", locks=locks), Unresolved)


def test_locked_runs_what_is_kept_and_nothing_else(index, ask, locks):
    index.add("alpha", "1.0")
    with pytest.raises(ResolutionError, match="there is no lock for these requirements") as caught:
        ask("alpha", locks=locks, locked=True)
    assert "lock --deps" in caught.value.hint
    assert index.requests == []
    first = ask("alpha", locks=locks)
    assert ask("alpha", locks=locks, locked=True) == first
    with pytest.raises(ResolutionError, match="an upgrade would change the lock"):
        ask("alpha", locks=locks, locked=True, upgrade=True)
    with pytest.raises(ResolutionError, match="there is no lock for"):
        ask("alpha<9", locks=locks, locked=True)
    assert ask("", locks=locks, locked=True).packages == ()


# What is known besides


@pytest.fixture
def about(ask, index, tmp_path):
    """What `ask` asks with, for the other questions."""
    environ = surroundings(index, tmp_path)
    return {"interpreter": interpreters.find(), "environ": environ}


def test_what_needs_each_package_and_where_it_comes_from(index, ask, locks, about):
    index.max_age = 600
    with IndexServer(credentials="user:secret", max_age=600) as corp:
        url = corp.url.replace("://", "://user:secret@")
        settings = {"indexes": (("corp", url),), "constraints": ("beta<3",)}
        corp.add("alpha", "1.0", requires=["beta", "gamma"])
        index.add("beta", "1.0", requires=["gamma"])
        index.add("gamma", "2.0", extras={"x": ["beta"]})
        index.add("alpha", "9.0")
        made = ask("alpha gamma", locks=locks, **settings)
        assert names(made) == ["alpha 1.0", "beta 1.0", "gamma 2.0"], "the first index that knows a package"
        count = len(index.requests) + len(corp.requests)
        explained = Resolver(settings=Settings(**settings), store=locks, **about).explain(made, parse("alpha gamma"))
        assert len(index.requests) + len(corp.requests) == count, "without the network"
        assert [(one.name, one.requested, one.via, one.index) for one in explained.packages] == [
            ("alpha", True, (), "corp"),
            ("beta", False, ("alpha",), ""),
            ("gamma", True, ("alpha", "beta"), ""),
        ]
        assert explained.key == made.key
        assert ask("alpha gamma", locks=locks, **settings) == explained
        assert Resolver(settings=Settings(**settings), **about).explain(explained, parse("alpha gamma")) is explained
        for secret in ("secret", corp.host):
            assert all(secret not in path.read_text() for path in locks._root.rglob("*.json"))


def test_a_lock_that_uv_cannot_explain_stays_as_it_is(index, ask, about):
    index.add("alpha", "1.0")
    made = ask("alpha")
    assert Resolver(settings=Settings(offline=True), **about).explain(made, parse("alpha")) is made
    assert Resolver(settings=Settings(), **about).explain(made, parse("alpha")).packages[0].requested, "asked again"


def test_what_is_cached_here(index, ask, about, tmp_path):
    index.max_age = 600
    index.add("alpha", "1.0", requires=["beta"])
    index.add("beta", "1.0")
    made = ask("alpha")
    assert Resolver(settings=Settings(), **about).cached(made) == frozenset()
    command = [find_uv_bin(), "pip", "install", "-q", "--target", str(tmp_path / "t"), "--no-deps", "alpha"]
    subprocess.run(command, env=uv_process_environ(about["environ"]), check=True)
    count = len(index.requests)
    assert Resolver(settings=Settings(), **about).cached(made) == {"alpha"}
    assert len(index.requests) == count


def test_a_lock_as_files_that_uv_installs(index, ask, about, tmp_path):
    index.add("alpha", "1.0", requires=["beta"])
    source = index.add_sdist("beta", "1.0")
    gamma = index.add("gamma", "1.0")
    wanted = Requirements(items=(*parse("alpha").items, Requirement(name="gamma", url=index.file_url(gamma))))
    made = ask(wanted, only_binary=False)
    index.add("beta", "2.0")
    uv_pylock = Resolver(settings=Settings(only_binary=False), **about).as_pylock(made)
    texts = {"pylock.toml": lock_export.pylock(made, uv_pylock), "r.txt": lock_export.requirements(made)}
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
        command = [find_uv_bin(), "pip", "install", "--target", name + "-tree", "--no-deps", "--require-hashes", "-r"]
        subprocess.run(
            [*command, name, "--python", interpreters.find().path],
            cwd=tmp_path, env=uv_process_environ(about["environ"]), check=True, capture_output=True,
        )  # fmt: skip
        there = sorted(path.name for path in (tmp_path / (name + "-tree")).glob("*.dist-info"))
        assert there == ["alpha-1.0.dist-info", "beta-1.0.dist-info", "gamma-1.0.dist-info"]
    assert source.sha256 in texts["pylock.toml"]
    index.remove("beta")
    with pytest.raises(ResolutionError):
        Resolver(settings=Settings(), **about).as_pylock(made)


# An end before its time


SLEEPER = """
import os, time
def prepare_metadata_for_build_wheel(folder, settings=None):
    with open({path!r}, "w") as file:
        file.write(str(os.getpid()))
    time.sleep(1000)
"""


def gone(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    # Dead and not yet reaped by whoever adopted it is as good.
    state = Path(f"/proc/{pid}/stat")
    return state.exists() and state.read_text().rpartition(")")[2].split()[0] == "Z"


@pytest.mark.parametrize("how", ["deadline", "interrupt"])
def test_nothing_is_left_running(index, ask, tmp_path, how):
    mark = tmp_path / "pid"
    index.add_sdist("alpha", "1.0", backend=SLEEPER.format(path=str(mark)), dynamic=True)

    def interrupt(number, frame):
        if mark.exists() and mark.read_text():
            signal.setitimer(signal.ITIMER_REAL, 0)
            raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        if how == "interrupt":
            signal.setitimer(signal.ITIMER_REAL, 0.1, 0.1)
            with pytest.raises(KeyboardInterrupt):
                ask("alpha", only_binary=False)
        else:
            with pytest.raises(ResolutionError, match="did not finish within 4 seconds"):
                ask("alpha", only_binary=False, install_timeout=4.0)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    pid = int(mark.read_text())
    until(lambda: gone(pid))


def test_what_a_killed_process_left_is_removed_a_day_later(index, ask, tmp_path, monkeypatch):
    monkeypatch.setenv("UV_ARGO_HOME", str(tmp_path / "home"))
    asked = tmp_path / "home" / "cache" / "asked"
    old, young = asked / "uv-argo-old", asked / "uv-argo-young"
    for folder in (old, young):
        folder.mkdir(parents=True)
        (folder / "requirements.in").write_text("alpha")
    os.utime(old, (1, 1))
    index.add("alpha", "1.0")
    ask("alpha")
    assert list(asked.iterdir()) == [young]
    monkeypatch.setenv("UV_ARGO_HOME", str(young / "requirements.in"))
    assert names(ask("alpha")) == ["alpha 1.0"], "a home that nobody can write to costs nothing"


def test_it_is_imported_without_a_notebook():
    code = "import sys, uv_argo_magic.uv.resolver; print(sorted({'IPython', 'ipywidgets', 'hera'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def over(*distributions, image="registry.example.com/torch:2"):
    here = interpreters.find()
    return replace(here, image=image, base=BaseEnvironment(python=here.target.python, distributions=distributions))


def test_what_the_place_has_bounds_the_resolution_and_is_left_out(index, ask):
    index.add("alpha", "1.0", requires=["beta"])
    index.add("beta", "1.0")
    index.add("beta", "2.0")
    alone = ask("alpha")
    # A version that no index has, as of an image's own build, and what that needs in turn.
    beta = Distribution(name="beta", version="1.5+cu121", requires=("gamma>=1",))
    index.add("gamma", "1.0")
    before = len(index.requests)
    lock = ask("alpha", interpreter=over(beta, Distribution(name="pip", version="1.0")))
    assert names(lock) == ["alpha 1.0", "gamma 1.0"]
    assert lock.base_packages == (("beta", "1.5+cu121"),)
    assert not [path for path in index.requests[before:] if "beta" in path]
    assert Lock.from_json(lock.to_json()) == lock
    assert len({alone.key, lock.key, replace(lock, base_digest="").key}) == 3
    # Nothing to install is still another environment.
    assert ask("", interpreter=over(beta)).key != ask("").key
    assert names(ask("beta", interpreter=over(beta, Distribution(name="gamma", version="1.0")))) == []


def test_a_requirement_that_contradicts_what_the_place_has(index, ask):
    index.add("alpha", "1.0", requires=["beta>=2"])
    index.add("beta", "2.0")
    beta = Distribution(name="beta", version="1.0")
    with pytest.raises(ResolutionError) as caught:
        ask("beta>=2", interpreter=over(beta))
    assert caught.value.message == "beta>=2 is required, but beta 1.0 is preinstalled in registry.example.com/torch:2."
    with pytest.raises(ResolutionError, match=r"Preinstalled in Python \S+ of this machine: beta 1\.0\.$") as caught:
        ask("alpha", interpreter=over(beta, image=""))
    assert "remove base" in caught.value.hint
    with pytest.raises(ResolutionError) as caught:
        ask("nobody-has-this", interpreter=over(beta))
    assert "beta" not in caught.value.message
    # A marker that is not met asks for nothing.
    assert names(ask("beta>=2; os_name == 'nobodys'", interpreter=over(beta))) == []
