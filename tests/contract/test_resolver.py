"""Resolve with the real uv and an index on 127.0.0.1: locks, what changes them, and the lock store."""

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
    with IndexServer() as server:
        yield server


def uv_environ(index, folder):
    environ = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    return environ | {"UV_CACHE_DIR": str(folder / "uv"), "UV_HTTP_RETRIES": "0", "UV_DEFAULT_INDEX": index.url}


@pytest.fixture
def resolve(index, tmp_path):
    """`resolve("alpha", only_binary=False)` returns a lock from the index, with an empty uv cache."""
    environ = uv_environ(index, tmp_path)

    def resolve(text, *, locks=None, upgrade=False, interpreter=None, env=None, **settings):
        resolver = Resolver(
            interpreter=interpreter or interpreters.find(),
            settings=Settings(**settings),
            store=locks,
            environ=environ | (env or {}),
        )
        return resolver.lock(parse(text) if isinstance(text, str) else text, upgrade=upgrade)

    return resolve


def names(lock):
    assert isinstance(lock, Lock), lock
    return [f"{package.name} {package.version}" for package in lock.packages]


def test_find_links_folder_of_image_is_unresolved_here(resolve):
    image = replace(interpreters.find(), image="python")
    unresolved = resolve("alpha", interpreter=image, find_links=("/wheels-in-the-pod",))
    assert unresolved == Unresolved(
        lines=("alpha",),
        reason="The folder /wheels-in-the-pod is not on this machine.",
        hint="Create it here with the same wheels, or remove it from find_links.",
    )


def test_unknown_torch_backend_is_refused(index, resolve):
    index.add("alpha", "1.0")
    assert names(resolve("alpha", torch_backend="cpu")) == ["alpha 1.0"]
    with pytest.raises(ResolutionError, match="invalid value 'cux' for '--torch-backend"):
        resolve("alpha", torch_backend="cux")


def test_lock_names_files_but_not_the_index(index, resolve):
    alpha = index.add("alpha", "1.0", requires=["beta<2"])
    beta = index.add("beta", "1.5")
    index.add("beta", "2.0")
    lock = resolve("alpha")
    assert lock.lines == (f"alpha==1.0 --hash=sha256:{alpha.sha256}", f"beta==1.5 --hash=sha256:{beta.sha256}")
    assert [(package.file, package.size) for package in lock.packages] == [
        (alpha.filename, len(alpha.body)),
        (beta.filename, len(beta.body)),
    ]
    assert lock.target == interpreters.find().target
    assert "127.0.0.1" not in lock.to_json()
    assert lock.warnings == ()


def test_lock_lines_can_be_installed(index, resolve, tmp_path):
    index.add("alpha", "1.0", requires=["beta"], files={"alpha.py": "import beta\nvalue = beta.value"})
    index.add("beta", "1.0", files={"beta.py": "value = 42"})
    (tmp_path / "lock.txt").write_text("\n".join(resolve("alpha").lines))
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
    completed = subprocess.run([python, "-I", "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert completed.stdout == "42\n"


def test_empty_requirements_do_not_run_uv(monkeypatch, resolve):
    monkeypatch.setattr(runner, "find_uv_bin", lambda: pytest.fail("uv was called"))
    lock = resolve("")
    assert lock == Lock(packages=(), target=interpreters.find().target)


def test_lock_prefers_wheel_for_current_python(index, resolve):
    current = interpreters.find()
    best, pure = str(current.wheel_tags[0]), "py3-none-any"
    index.add("alpha", "1.0", tag=pure)
    index.add("alpha", "1.0", tag=best)
    index.add("alpha", "1.0", tag="cp36-cp36m-win_arm64")
    assert resolve("alpha").packages[0].file == f"alpha-1.0-{best}.whl"


def test_lock_uses_wheel_of_target_platform(index, resolve):
    current = interpreters.find()
    platforms = ["manylinux_2_28_aarch64", "manylinux_2_17_aarch64", "linux_aarch64"]
    minor = tuple(int(part) for part in current.target.minor.split("."))
    other = Interpreter(
        path=current.path,
        target=replace(current.target, platform="aarch64-manylinux_2_28"),
        tags=(
            *cpython_tags(minor, [current.target.abi], platforms),
            *compatible_tags(minor, f"cp{minor[0]}{minor[1]}", platforms),
        ),
    )
    for platform in ("manylinux_2_17_aarch64", "manylinux_2_17_x86_64", "win_amd64"):
        index.add("alpha", "1.0", tag=f"py3-none-{platform}")
    index.add("beta", "1.0")
    text = ["alpha", "beta; platform_machine == 'aarch64'"]
    lock = resolve(f"{text[0]} {text[1]}", interpreter=other)
    assert [package.file for package in lock.packages] == [
        "alpha-1.0-py3-none-manylinux_2_17_aarch64.whl",
        "beta-1.0-py3-none-any.whl",
    ]
    assert lock.target.platform == "aarch64-manylinux_2_28"


def test_lock_is_for_target_python_version(index, resolve):
    current = interpreters.find()
    index.add("alpha", "1.0", requires_python="<3.30")
    index.add("alpha", "2.0", requires_python=">=3.30")
    tags = (*cpython_tags((3, 30), ["cp330"], ["any"]), *compatible_tags((3, 30), "cp330", ["any"]))
    future = Interpreter(path=current.path, target=Target(python="3.30.1", abi="cp330"), tags=tags)
    assert names(resolve("alpha")) == ["alpha 1.0"]
    assert names(resolve("alpha", interpreter=future)) == ["alpha 2.0"]


def test_sdist_needs_only_binary_off(index, resolve):
    index.add_sdist("alpha", "1.0")
    with pytest.raises(ResolutionError, match="has no wheel, and building"):
        resolve("alpha")
    lock = resolve("alpha", only_binary=False)
    assert lock.packages[0].file == "alpha-1.0.tar.gz"


def test_url_requirement_is_locked_with_hash(index, resolve):
    wheel = index.add("alpha", "1.0", requires=["beta"])
    index.add("beta", "1.0")
    requirements = Requirements(items=(Requirement(name="alpha", url=index.file_url(wheel)),))
    lock = resolve(requirements)
    assert lock.lines[0] == f"alpha @ {index.file_url(wheel)} --hash=sha256:{wheel.sha256}"
    assert names(lock) == ["alpha 1.0", "beta 1.0"]
    source = index.add_sdist("gamma", "1.0")
    requirements = Requirements(items=(Requirement(name="gamma", url=index.file_url(source)),))
    with pytest.raises(ResolutionError, match="a source archive"):
        resolve(requirements)
    assert resolve(requirements, only_binary=False).packages[0].sha256 == source.sha256


def test_extras_and_markers_are_applied(index, resolve):
    index.add("alpha", "1.0", extras={"fast": ["beta"]})
    index.add("beta", "1.0")
    assert names(resolve("alpha[fast]")) == ["alpha 1.0", "beta 1.0"]
    assert names(resolve("alpha beta; python_version < '3'")) == ["alpha 1.0"]
    lock = resolve("alpha[slow]")
    assert names(lock) == ["alpha 1.0"]
    assert lock.warnings == ("The package alpha==1.0 does not have an extra named slow.",)


def test_settings_are_passed_to_uv(index, resolve):
    index.add("alpha", "1.0", requires=["beta"], uploaded="2026-01-01T00:00:00Z")
    index.add("alpha", "2.0", requires=["beta"], uploaded="2026-03-01T00:00:00Z")
    index.add("alpha", "3.0rc1", requires=["beta"], uploaded="2026-04-01T00:00:00Z")
    index.add("beta", "1.0")
    index.add("beta", "2.0")
    assert names(resolve("alpha")) == ["alpha 2.0", "beta 2.0"]
    assert names(resolve("alpha", prerelease="allow")) == ["alpha 3.0rc1", "beta 2.0"]
    assert names(resolve("alpha", resolution="lowest")) == ["alpha 1.0", "beta 1.0"]
    assert names(resolve("alpha", exclude_newer="2026-02-01")) == ["alpha 1.0", "beta 2.0"]
    assert names(resolve("alpha", constraints=("beta<2", "gamma>7"))) == ["alpha 2.0", "beta 1.0"]
    assert names(resolve("alpha beta>1", overrides=("beta==1.0",))) == ["alpha 2.0", "beta 1.0"]


def test_index_url_setting_overrides_environment(index, resolve):
    with IndexServer() as other:
        other.add("alpha", "7.0")
        index.add("alpha", "1.0")
        assert names(resolve("alpha")) == ["alpha 1.0"]
        assert names(resolve("alpha", index_url=other.url)) == ["alpha 7.0"]
        assert names(resolve("alpha", index_url=other.url, env={"UV_INDEX_URL": index.url})) == ["alpha 7.0"]


def test_credentials_are_not_on_the_command_line(resolve):
    with IndexServer(credentials="user:secret") as private:
        private.add("alpha", "1.0")
        url = private.url.replace("://", "://user:secret@")
        assert names(resolve("alpha", index_url=url)) == ["alpha 1.0"]
        resolver = Resolver(interpreter=interpreters.find(), settings=Settings(index_url=url), environ={})
        question = resolver._question(parse("alpha"))
        assert "secret" not in " ".join(question.options)
        with pytest.raises(ResolutionError, match="requires authentication") as caught:
            resolve("beta", index_url=url.replace("secret", "wrongsecret"))
        assert "wrongsecret" not in f"{caught.value} {caught.value.hint}"
        variables = {
            "UV_INDEX": f"mine={private.url}",
            "UV_INDEX_MINE_USERNAME": "user",
            "UV_INDEX_MINE_PASSWORD": "secret",
        }
        assert names(resolve("alpha", env=variables)) == ["alpha 1.0"]


def test_only_index_access_comes_from_environment(index, resolve, tmp_path):
    index.add("alpha", "1.0")
    index.add("alpha", "2.0rc1")
    (tmp_path / "c.txt").write_text("alpha<0")
    (tmp_path / "uv.toml").write_text("offline = true")
    ignored = {
        "UV_CONSTRAINT": str(tmp_path / "c.txt"),
        "UV_PRERELEASE": "allow",
        "UV_OFFLINE": "1",
        "UV_CONFIG_FILE": str(tmp_path / "uv.toml"),
        "UV_PYTHON": "2.7",
        "PYTHONPATH": "/nonexistent",
        "VIRTUAL_ENV": "/nonexistent",
        "FORCE_COLOR": "1",
    }
    assert names(resolve("alpha", env=ignored)) == ["alpha 1.0"]
    passed = {
        "SSL_CERT_FILE": "/c.pem",
        "HTTPS_PROXY": "http://p",
        "UV_SYSTEM_CERTS": "1",
        "UV_INDEX_MINE_PASSWORD": "x",
    }
    assert passed.items() <= uv_process_environ(passed | ignored).items()
    assert not set(ignored) & set(uv_process_environ(passed | ignored))


@pytest.mark.parametrize("url", ["not a url", "ftp://index.example.com", "--help", "/etc"])
def test_invalid_index_url_is_refused(resolve, url):
    with pytest.raises(SpecError, match="index_url is not an index URL"):
        resolve("alpha", index_url=url)


@pytest.mark.parametrize("source", ["deps", "constraints", "overrides"])
def test_url_is_refused_with_allow_urls_off(resolve, source):
    url = "beta @ https://index.example.com/beta-1.0-py3-none-any.whl"
    requirements, settings = (url, {}) if source == "deps" else ("alpha", {source: (url,)})
    with pytest.raises(SpecError, match="beta is requested by URL, but allow_urls is off"):
        resolve(requirements, allow_urls=False, **settings)


def test_setting_that_uv_refuses_is_reported(resolve):
    with pytest.raises(ResolutionError, match="yesterdayish"):
        resolve("alpha", exclude_newer="yesterdayish")
    with pytest.raises(ResolutionError, match="Invalid setting"):
        resolve("alpha", prerelease="--help")
    with pytest.raises(SpecError):
        resolve("alpha", constraints=("-r /etc/passwd",))


def test_missing_version_hints_at_nearest_versions(index, resolve):
    for version in ("1.0", "1.4", "2.0", "3.0"):
        index.add("alpha", version)
    index.add("alpha", "1.5", yanked=True)
    index.add("alpha", "1.7", tag="cp36-cp36m-win_arm64")
    for settings in ({}, {"resolution": "lowest"}):
        with pytest.raises(ResolutionError, match=r"There is no version 1\.6 of alpha") as caught:
            resolve("alpha==1.6", **settings)
        assert caught.value.hint == "Nearest compatible versions: 1.4 and 2.0."
    with pytest.raises(ResolutionError) as caught:
        resolve("alpha==9")
    assert caught.value.hint == "Nearest compatible versions: 3.0."
    with pytest.raises(ResolutionError, match=r"There is no version >9 of alpha") as caught:
        resolve("alpha>9")
    assert "The index has" in caught.value.hint


def test_wheels_for_other_pythons_are_listed(index, resolve):
    index.add("alpha", "1.0", tag="cp38-none-any")
    index.add("alpha", "1.0", tag="cp39-none-any")
    index.add_sdist("alpha", "1.0")
    with pytest.raises(ResolutionError) as caught:
        resolve("alpha==1.0")
    assert caught.value.message == "alpha 1.0 has wheels for Python 3.8 and 3.9 only."
    assert caught.value.hint == "Use --python 3.9, or another version of the package."


def test_conflict_names_the_requirements(index, resolve):
    index.add("alpha", "1.0", requires=["beta<2"])
    index.add("beta", "2.0")
    with pytest.raises(ResolutionError) as caught:
        resolve("alpha beta")
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
def test_unreachable_index_leaves_requirements_unresolved(index, resolve, trouble, reason):
    index.add("alpha", "1.0")
    index.misbehave("alpha", trouble)
    unresolved = resolve("alpha>=1 beta; python_version < '3'")
    assert isinstance(unresolved, Unresolved)
    assert unresolved.lines == ("alpha>=1", 'beta; python_version < "3"')
    assert reason in unresolved.reason
    index.misbehave("alpha", "")
    assert names(resolve("alpha>=1 beta; python_version < '3'")) == ["alpha 1.0"], "the failure was cached"


@pytest.mark.sample(3)
@pytest.mark.parametrize(
    ("trouble", "resolved_in_pod", "message"),
    [
        ("401", False, "requires authentication for alpha (401)."),
        ("403", False, "denied access to alpha (403)."),
        ("404", False, "Package alpha was not found on the index."),
        ("429", True, "(for alpha)."),
        ("500", True, ": 500 Internal Server Error (for alpha)."),
        ("slow", True, "timed out (for alpha)."),
    ],
)
def test_index_error_is_reported_or_left_to_the_pod(index, resolve, trouble, resolved_in_pod, message):
    index.add("alpha", "1.0")
    index.misbehave("alpha", trouble)
    settings = {"env": {"UV_HTTP_TIMEOUT": "1"}}
    if resolved_in_pod:
        assert resolve("alpha", **settings).reason.endswith(message)
    else:
        with pytest.raises(ResolutionError) as caught:
            resolve("alpha", **settings)
        assert caught.value.message.endswith(message)
        assert caught.value.hint


def test_resolving_downloads_no_wheels(index, resolve):
    huge = index.add("alpha", "1.0", requires=["beta"], size=30_000_000)
    index.add("beta", "1.0", yanked="a mistake")
    with pytest.raises(ResolutionError, match=r"beta 1\.0 was yanked \(\"a mistake\"\)|The requirements conflict"):
        resolve("alpha")
    index.add("beta", "0.9")
    lock = resolve("alpha")
    assert lock.packages[0].size == len(huge.body) > 30_000_000
    assert names(resolve("alpha beta==1.0")) == ["alpha 1.0", "beta 1.0"]
    assert "yanked" in resolve("alpha beta==1.0").warnings[0]
    assert not [path for path in index.requests if path.endswith(".whl")]


def test_refused_connection_is_unresolved_and_offline_an_error(resolve):
    unresolved = resolve("alpha", index_url="http://127.0.0.1:9/simple")
    assert isinstance(unresolved, Unresolved)
    assert unresolved.reason == "Could not connect to 127.0.0.1:9 (for alpha)."
    with pytest.raises(ResolutionError, match="alpha is not in uv's cache"):
        resolve("alpha", offline=True)


def test_offline_error_names_the_folder_of_wheels(resolve, tmp_path):
    with pytest.raises(ResolutionError, match="offline mode is on") as caught:
        resolve("alpha", offline=True, find_links=(str(tmp_path),))
    assert caught.value.hint.startswith(f"Add a wheel to {tmp_path}, or run once")


def test_offline_sends_no_requests(index, resolve):
    index.add("alpha", "1.0")
    with pytest.raises(ResolutionError, match="offline mode is on"):
        resolve("alpha", offline=True)
    assert index.requests == []


def test_hashes_of_requirements_are_respected(index, resolve):
    pure = index.add("alpha", "1.0")
    index.add("alpha", "1.0", tag=str(interpreters.find().wheel_tags[0]))

    def pinned(*hashes):
        return Requirements(items=(Requirement(name="alpha", specifier="==1.0", hashes=hashes),))

    assert resolve(pinned(f"sha256:{pure.sha256}", "sha256:" + "0" * 64)).packages[0].sha256 == pure.sha256
    with pytest.raises(ResolutionError, match="has one of the hashes"):
        resolve(pinned("sha256:" + "0" * 64))
    both = Requirements(
        items=(*pinned(f"sha256:{pure.sha256}").items, Requirement(name="alpha", hashes=("sha256:" + "0" * 64,)))
    )
    with pytest.raises(ResolutionError, match="has one of the hashes"):
        resolve(both)


def test_hashes_of_other_targets_are_ignored(index, resolve):
    old, new = index.add("alpha", "1.0"), index.add("alpha", "2.0")
    for marker in ("python_version {} '3.9'", "platform_machine {} 'aarch64'"):
        lines = [
            f"alpha==1.0; {marker.format('<' if 'version' in marker else '==')} --hash=sha256:{old.sha256}",
            f"alpha==2.0; {marker.format('>=' if 'version' in marker else '!=')} --hash=sha256:{new.sha256}",
        ]
        requirements = parse("\n".join(lines), file=True)
        assert names(resolve(requirements, interpreter=for_image("x86_64"))) == ["alpha 2.0"]
    assert names(resolve(requirements, interpreter=for_image("aarch64"))) == ["alpha 1.0"]


def for_image(machine):
    here = interpreters.find()
    return replace(here, target=replace(here.target, platform=f"{machine}-manylinux_2_28"))


# The lock store


@pytest.fixture
def locks(tmp_path):
    return LockStore(tmp_path / "locks", "a.ipynb")


def test_lock_is_stored_per_notebook(index, resolve, locks, tmp_path):
    index.add("alpha", "1.0", extras={})
    first = resolve("alpha[nope]", locks=locks)
    assert first.warnings
    assert first.uv.count(".") == 2
    assert time.time() - 60 < first.created_at <= time.time()
    index.add("alpha", "2.0")
    count = len(index.requests)
    assert resolve("alpha[nope]", locks=locks) == first
    assert len(index.requests) == count
    assert names(resolve("alpha[nope]", locks=LockStore(tmp_path / "locks", "b.ipynb"))) == ["alpha 2.0"]
    assert names(resolve("alpha[nope]")) == ["alpha 2.0"], "a lock was stored without a lock store"


def test_upgrade_replaces_stored_lock(index, resolve, locks):
    index.add("alpha", "1.0")
    resolve("alpha", locks=locks)
    index.add("alpha", "2.0")
    assert names(resolve("alpha", locks=locks, upgrade=True)) == ["alpha 2.0"]
    assert names(resolve("alpha", locks=locks)) == ["alpha 2.0"]


def test_each_setting_has_its_own_lock(index, resolve, locks, tmp_path):
    current = interpreters.find()
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
        {"interpreter": replace(current, target=replace(current.target, abi="other"))},
        {"interpreter": replace(current, tags=current.wheel_tags[1:])},
    ]
    index.add("alpha", "1.0")
    for case in cases:
        count = len(index.requests)
        resolve("alpha", locks=locks, **case)
        assert len(index.requests) > count, case
    assert len(list((tmp_path / "locks").rglob("*.json"))) == len(cases)


def test_credentials_and_uv_version_do_not_change_the_lock(index, resolve, locks, monkeypatch):
    index.add("alpha", "1.0")
    first = resolve("alpha", locks=locks, index_url=index.url)
    count = len(index.requests)
    monkeypatch.setattr(runner, "uv_version", lambda: "9.9.9")
    secret = index.url.replace("://", "://user:secret@")
    assert resolve("alpha", locks=locks, index_url=index.url, offline=True) == first
    assert resolve("alpha", locks=locks, index_url=index.url, env={"UV_INDEX_DEFAULT_PASSWORD": "x"}) == first
    assert len(index.requests) == count
    other = resolve("alpha", locks=locks, index_url=secret)
    assert resolve("alpha", locks=locks, index_url=secret.replace("secret", "rotated")) == other


def only_file(folder):
    (file,) = Path(folder).rglob("*.json")
    return file


@pytest.mark.sample(2)
@pytest.mark.parametrize(
    "damage",
    [
        lambda text: "",
        lambda text: "[]",
        lambda text: "{}",
        lambda text: json.dumps(json.loads(text) | {"lock": "{}"}),
        lambda text: json.dumps(json.loads(text) | {"schema": 99}),
    ],
    ids=["empty", "list", "without lock", "invalid lock", "unknown schema"],
)
def test_damaged_lock_is_ignored(index, resolve, locks, tmp_path, damage):
    index.add("alpha", "1.0")
    first = resolve("alpha", locks=locks)
    file = only_file(tmp_path / "locks")
    file.write_text(damage(file.read_text()))
    count = len(index.requests)
    assert resolve("alpha", locks=locks).key == first.key
    assert len(index.requests) > count
    assert locks.find(file.stem).key == first.key


@pytest.mark.parametrize(
    "created_at", [lambda: time.time() - MAX_AGE - 1, lambda: time.time() + 3600], ids=["old", "future"]
)
def test_lock_without_notebook_expires_after_a_day(index, resolve, tmp_path, created_at):
    shared = LockStore(tmp_path / "locks")
    index.add("alpha", "1.0")
    first = resolve("alpha", locks=shared)
    index.add("alpha", "2.0")
    assert resolve("alpha", locks=shared) == first
    file = only_file(tmp_path / "locks")
    stored = json.loads(file.read_text())
    file.write_text(json.dumps(stored | {"lock": stored["lock"] | {"made": created_at()}}))
    old = file.with_name("old.json")
    old.write_text("{}")
    os.utime(old, (1, 1))
    assert names(resolve("alpha", locks=shared)) == ["alpha 2.0"]
    assert not old.exists()


def test_unwritable_lock_folder_is_ignored(index, resolve, tmp_path):
    index.add("alpha", "1.0")
    (tmp_path / "file").write_text("")
    assert names(resolve("alpha", locks=LockStore(tmp_path / "file", "a.ipynb"))) == ["alpha 1.0"]


@pytest.mark.parametrize("fault", ["down", "offline"])
def test_last_lock_is_used_with_warning_if_index_fails(index, resolve, locks, tmp_path, fault):
    index.add("alpha", "1.0")
    resolve("alpha", locks=locks)
    index.misbehave("alpha", "503")
    other = LockStore(tmp_path / "locks", "b.ipynb")
    settings = {"offline": True, "env": {"UV_CACHE_DIR": str(tmp_path / "empty")}} if fault == "offline" else {}
    for store in (locks, other):
        lock = resolve("alpha", locks=store, upgrade=True, **settings)
        assert names(lock) == ["alpha 1.0"]
        assert re.search(r"(503|offline mode is on).*Using the versions of \d{4}-\d\d-\d\d", lock.warnings[-1])
    assert resolve("alpha", locks=locks).warnings == (), "the lock with the warning was stored"
    assert isinstance(resolve("alpha<9", locks=locks), Unresolved)


def test_locked_requires_stored_lock(index, resolve, locks):
    index.add("alpha", "1.0")
    with pytest.raises(ResolutionError, match="there is no lock for these requirements") as caught:
        resolve("alpha", locks=locks, locked=True)
    assert "lock --deps" in caught.value.hint
    assert index.requests == []
    first = resolve("alpha", locks=locks)
    assert resolve("alpha", locks=locks, locked=True) == first
    with pytest.raises(ResolutionError, match="an upgrade would change the lock"):
        resolve("alpha", locks=locks, locked=True, upgrade=True)
    with pytest.raises(ResolutionError, match="there is no lock for"):
        resolve("alpha<9", locks=locks, locked=True)
    assert resolve("", locks=locks, locked=True).packages == ()


# Details of a lock


@pytest.fixture
def resolver_arguments(resolve, index, tmp_path):
    """The arguments of the resolver in `resolve`."""
    environ = uv_environ(index, tmp_path)
    return {"interpreter": interpreters.find(), "environ": environ}


def test_explain_reports_parents_and_index_of_packages(index, resolve, locks, resolver_arguments):
    index.max_age = 600
    with IndexServer(credentials="user:secret", max_age=600) as corp:
        url = corp.url.replace("://", "://user:secret@")
        settings = {"indexes": (("corp", url),), "constraints": ("beta<3",)}
        corp.add("alpha", "1.0", requires=["beta", "gamma"])
        index.add("beta", "1.0", requires=["gamma"])
        index.add("gamma", "2.0", extras={"x": ["beta"]})
        index.add("alpha", "9.0")
        lock = resolve("alpha gamma", locks=locks, **settings)
        assert names(lock) == ["alpha 1.0", "beta 1.0", "gamma 2.0"], "not from the first index that has the package"
        count = len(index.requests) + len(corp.requests)
        explained = Resolver(settings=Settings(**settings), store=locks, **resolver_arguments).explain(
            lock, parse("alpha gamma")
        )
        assert len(index.requests) + len(corp.requests) == count, "explain used the network"
        assert [(package.name, package.requested, package.via, package.index) for package in explained.packages] == [
            ("alpha", True, (), "corp"),
            ("beta", False, ("alpha",), ""),
            ("gamma", True, ("alpha", "beta"), ""),
        ]
        assert explained.key == lock.key
        assert resolve("alpha gamma", locks=locks, **settings) == explained
        assert (
            Resolver(settings=Settings(**settings), **resolver_arguments).explain(explained, parse("alpha gamma"))
            is explained
        )
        for secret in ("secret", corp.host):
            assert all(secret not in path.read_text() for path in locks._root.rglob("*.json"))


def test_explain_returns_lock_unchanged_if_uv_fails(index, resolve, resolver_arguments):
    index.add("alpha", "1.0")
    lock = resolve("alpha")
    assert Resolver(settings=Settings(offline=True), **resolver_arguments).explain(lock, parse("alpha")) is lock
    assert Resolver(settings=Settings(), **resolver_arguments).explain(lock, parse("alpha")).packages[0].requested, (
        "uv was not run again"
    )


def test_cached_lists_packages_in_uv_cache(index, resolve, resolver_arguments, tmp_path):
    index.max_age = 600
    index.add("alpha", "1.0", requires=["beta"])
    index.add("beta", "1.0")
    lock = resolve("alpha")
    assert Resolver(settings=Settings(), **resolver_arguments).cached(lock) == frozenset()
    command = [find_uv_bin(), "pip", "install", "-q", "--target", str(tmp_path / "t"), "--no-deps", "alpha"]
    subprocess.run(command, env=uv_process_environ(resolver_arguments["environ"]), check=True)
    count = len(index.requests)
    assert Resolver(settings=Settings(), **resolver_arguments).cached(lock) == {"alpha"}
    assert len(index.requests) == count


def test_exported_lock_files_can_be_installed(index, resolve, resolver_arguments, tmp_path):
    index.add("alpha", "1.0", requires=["beta"])
    source = index.add_sdist("beta", "1.0")
    gamma = index.add("gamma", "1.0")
    requirements = Requirements(items=(*parse("alpha").items, Requirement(name="gamma", url=index.file_url(gamma))))
    lock = resolve(requirements, only_binary=False)
    index.add("beta", "2.0")
    uv_pylock = Resolver(settings=Settings(only_binary=False), **resolver_arguments).as_pylock(lock)
    texts = {"pylock.toml": lock_export.pylock(lock, uv_pylock), "r.txt": lock_export.requirements(lock)}
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
        command = [find_uv_bin(), "pip", "install", "--target", name + "-tree", "--no-deps", "--require-hashes", "-r"]
        subprocess.run(
            [*command, name, "--python", interpreters.find().path],
            cwd=tmp_path, env=uv_process_environ(resolver_arguments["environ"]), check=True, capture_output=True,
        )  # fmt: skip
        installed = sorted(path.name for path in (tmp_path / (name + "-tree")).glob("*.dist-info"))
        assert installed == ["alpha-1.0.dist-info", "beta-1.0.dist-info", "gamma-1.0.dist-info"]
    assert source.sha256 in texts["pylock.toml"]
    index.remove("beta")
    with pytest.raises(ResolutionError):
        Resolver(settings=Settings(), **resolver_arguments).as_pylock(lock)


# Interrupted resolutions


SLEEPER = """
import os, time
def prepare_metadata_for_build_wheel(folder, settings=None):
    with open({path!r}, "w") as file:
        file.write(str(os.getpid()))
    time.sleep(1000)
"""


def has_ended(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    # A zombie that its parent has not reaped yet has ended, too.
    state = Path(f"/proc/{pid}/stat")
    return state.exists() and state.read_text().rpartition(")")[2].split()[0] == "Z"


@pytest.mark.parametrize("cause", ["deadline", "interrupt"])
def test_interrupted_resolution_leaves_no_process(index, resolve, tmp_path, cause):
    pid_file = tmp_path / "pid"
    index.add_sdist("alpha", "1.0", backend=SLEEPER.format(path=str(pid_file)), dynamic=True)

    def interrupt(number, frame):
        if pid_file.exists() and pid_file.read_text():
            signal.setitimer(signal.ITIMER_REAL, 0)
            raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        if cause == "interrupt":
            signal.setitimer(signal.ITIMER_REAL, 0.1, 0.1)
            with pytest.raises(KeyboardInterrupt):
                resolve("alpha", only_binary=False)
        else:
            with pytest.raises(ResolutionError, match="did not finish within 4 seconds"):
                resolve("alpha", only_binary=False, install_timeout=4.0)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    pid = int(pid_file.read_text())
    until(lambda: has_ended(pid))


def test_leftover_folders_are_removed_after_a_day(index, resolve, tmp_path, monkeypatch):
    monkeypatch.setenv("UV_ARGO_HOME", str(tmp_path / "home"))
    root = tmp_path / "home" / "cache" / "asked"
    old, young = root / "uv-argo-old", root / "uv-argo-young"
    for folder in (old, young):
        folder.mkdir(parents=True)
        (folder / "requirements.in").write_text("alpha")
    os.utime(old, (1, 1))
    index.add("alpha", "1.0")
    resolve("alpha")
    assert list(root.iterdir()) == [young]
    monkeypatch.setenv("UV_ARGO_HOME", str(young / "requirements.in"))
    assert names(resolve("alpha")) == ["alpha 1.0"], "an unwritable home was not ignored"


def test_import_loads_no_notebook_packages():
    code = "import sys, uv_argo_magic.uv.resolver; print(sorted({'IPython', 'ipywidgets', 'hera'} & set(sys.modules)))"
    completed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert completed.stdout == "[]\n"


def with_base(*distributions, image="registry.example.com/torch:2"):
    current = interpreters.find()
    return replace(
        current, image=image, base=BaseEnvironment(python=current.target.python, distributions=distributions)
    )


def test_base_packages_are_constraints_and_not_locked(index, resolve):
    index.add("alpha", "1.0", requires=["beta"])
    index.add("beta", "1.0")
    index.add("beta", "2.0")
    alone = resolve("alpha")
    # A version that is only in the image, with a requirement.
    beta = Distribution(name="beta", version="1.5+cu121", requires=("gamma>=1",))
    index.add("gamma", "1.0")
    before = len(index.requests)
    lock = resolve("alpha", interpreter=with_base(beta, Distribution(name="pip", version="1.0")))
    assert names(lock) == ["alpha 1.0", "gamma 1.0"]
    assert lock.base_packages == (("beta", "1.5+cu121"),)
    assert not [path for path in index.requests[before:] if "beta" in path]
    assert Lock.from_json(lock.to_json()) == lock
    assert len({alone.key, lock.key, replace(lock, base_digest="").key}) == 3
    # Even without packages to install, another base is another environment.
    assert resolve("", interpreter=with_base(beta)).key != resolve("").key
    assert names(resolve("beta", interpreter=with_base(beta, Distribution(name="gamma", version="1.0")))) == []


def test_base_without_constraints_gives_no_warning(index, resolve):
    index.add("alpha", "1.0")
    assert resolve("alpha", interpreter=with_base(Distribution(name="pip", version="1.0"))).warnings == ()


def test_conflict_with_base_package_is_reported(index, resolve):
    index.add("alpha", "1.0", requires=["beta>=2"])
    index.add("beta", "2.0")
    beta = Distribution(name="beta", version="1.0")
    with pytest.raises(ResolutionError) as caught:
        resolve("beta>=2", interpreter=with_base(beta))
    assert caught.value.message == "beta>=2 is required, but beta 1.0 is preinstalled in registry.example.com/torch:2."
    with pytest.raises(ResolutionError, match=r"Preinstalled in Python \S+ of this machine: beta 1\.0\.$") as caught:
        resolve("alpha", interpreter=with_base(beta, image=""))
    assert "remove base" in caught.value.hint
    with pytest.raises(ResolutionError) as caught:
        resolve("missing", interpreter=with_base(beta))
    assert "beta" not in caught.value.message
    # A requirement whose marker is false is ignored.
    assert names(resolve("beta>=2; os_name == 'other'", interpreter=with_base(beta))) == []
