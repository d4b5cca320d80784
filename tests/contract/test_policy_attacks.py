"""Attempts to bypass a package policy; docs/security.md has a row for each."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from packaging.utils import canonicalize_name
from support.index_server import IndexServer

from uv_argo_magic.core.resolution.lock import Lock, Package, Target
from uv_argo_magic.policy import files

STEAL = """
import pathlib
pathlib.Path({marker!r}).write_text("the code of the package ran")
raise SystemExit(1)
"""


@pytest.fixture(scope="module")
def trusted():
    """The index that the policy trusts."""
    with IndexServer() as server:
        server.add("corp-data", "1.0", files={"corp_data.py": "origin = 'trusted'"})
        server.add("be-ta", "1.5")
        yield server


@pytest.fixture(scope="module")
def evil():
    """An untrusted index with a higher version."""
    with IndexServer() as server:
        server.add("corp-data", "99.0", files={"corp_data.py": "origin = 'evil'"})
        yield server


@pytest.fixture
def folder(tmp_path, monkeypatch, home, trusted, evil):
    monkeypatch.setattr(files, "SYSTEM", tmp_path / "etc" / "policy.toml")
    (tmp_path / "etc").mkdir()
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("UV_ARGO_INDEX_URL", trusted.url)
    (tmp_path / "etc" / "policy.toml").write_text(
        f'[packages]\nblocked = ["be_ta"]\n[indexes]\ntrusted = ["{trusted.url}"]\n[install]\nonly_binary = true\n'
    )
    (tmp_path / "work" / "s.py").write_text("import corp_data\nprint(corp_data.origin)\n")
    evil.requests.clear()
    return tmp_path / "work"


def is_refused(uv_argo, evil, *arguments, reason="is not a trusted index"):
    """Whether the run is refused for this reason without a request to the untrusted index."""
    status, text = uv_argo(*arguments)
    assert reason in text, text
    return status == 2 and not evil.requests


def test_other_index_is_refused(uv_argo, evil, monkeypatch):
    for arguments in (
        ("--set", f"index_url={evil.url}"),
        ("--set", f"indexes=more={evil.url}"),
        ("--set", f"find_links={evil.url}"),
    ):
        assert is_refused(uv_argo, evil, "run", "s.py", "--deps", "corp-data", *arguments)
    for name in ("UV_INDEX", "UV_DEFAULT_INDEX", "UV_EXTRA_INDEX_URL", "UV_INDEX_URL", "UV_ARGO_INDEX_URL"):
        monkeypatch.setenv("UV_ARGO_INDEX_URL", "" if name.startswith("UV_D") or name == "UV_INDEX_URL" else evil.url)
        monkeypatch.setenv(name, evil.url)
        assert is_refused(uv_argo, evil, "run", "s.py", "--deps", "corp-data")
        monkeypatch.delenv(name)


@pytest.mark.parametrize("option", ["--index-url", "--extra-index-url", "-i", "--find-links", "-f"])
def test_index_in_requirements_file_is_refused(uv_argo, folder, evil, option):
    (folder / "r.txt").write_text(f"{option} {evil.url}\ncorp-data\n")
    status, text = uv_argo("run", "s.py", "-r", "r.txt")
    assert status == 2, text
    assert evil.requests == []


def test_index_in_included_file_is_refused(uv_argo, folder, evil):
    (folder / "r.txt").write_text("-r more.txt\n")
    (folder / "more.txt").write_text(f"--index-url {evil.url}\ncorp-data\n")
    assert uv_argo("run", "s.py", "-r", "r.txt")[0] == 2
    assert evil.requests == []


@pytest.mark.parametrize(
    "table",
    [
        'index-url = "{}"',
        'extra-index-url = ["{}"]',
        'index = [{{url = "{}"}}]',
        'index = [{{url = "{}", default = true}}]',
        'find-links = ["{}"]',
    ],
)
def test_index_in_script_block_is_not_used(uv_argo, folder, evil, table):
    block = ["# /// script", '# dependencies = ["corp-data"]', "# [tool.uv]", f"# {table.format(evil.url)}", "# ///"]
    (folder / "block.py").write_text("\n".join([*block, "import corp_data", "print(corp_data.origin)", ""]))
    status, text = uv_argo("run", "block.py")
    assert evil.requests == []
    assert status == 2 or text.startswith("trusted\n")


def test_configuration_files_of_uv_and_pip_are_ignored(uv_argo, folder, evil, monkeypatch):
    (folder / "uv.toml").write_text(f'index-url = "{evil.url}"\n[pip]\nindex-url = "{evil.url}"\n')
    (folder / "pyproject.toml").write_text(f'[tool.uv]\nindex-url = "{evil.url}"\n')
    (folder / "pip.conf").write_text(f"[global]\nindex-url = {evil.url}\n")
    monkeypatch.setenv("PIP_CONFIG_FILE", str(folder / "pip.conf"))
    monkeypatch.setenv("PIP_INDEX_URL", evil.url)
    monkeypatch.setenv("UV_CONFIG_FILE", str(folder / "uv.toml"))
    monkeypatch.setenv("UV_FIND_LINKS", evil.url)
    status, text = uv_argo("run", "s.py", "--deps", "corp-data")
    assert (status, text.splitlines()[0], evil.requests) == (0, "trusted", [])


def test_variables_of_cell_do_not_affect_install(uv_argo, evil):
    variables = f"variables=UV_INDEX={evil.url},UV_DEFAULT_INDEX={evil.url},UV_FIND_LINKS={evil.url},UV_NO_BUILD=0"
    status, text = uv_argo("run", "s.py", "--deps", "corp-data", "--set", variables)
    assert (status, text.splitlines()[0], evil.requests) == (0, "trusted", [])


def test_insecure_host_is_refused(uv_argo, evil, trusted, monkeypatch):
    monkeypatch.setenv("UV_INSECURE_HOST", trusted.host)
    assert is_refused(uv_argo, evil, "run", "s.py", "--deps", "corp-data", reason="would not be checked")


def test_build_of_sdist_is_refused(uv_argo, folder, trusted, evil, tmp_path):
    marker = tmp_path / "stolen"
    trusted.add_sdist("builder", "1.0", backend=STEAL.format(marker=str(marker)), dynamic=True)
    arguments = ("run", "s.py", "--deps", "builder", "--set", "only_binary=false")
    assert is_refused(uv_argo, evil, *arguments, reason="Building from source is not allowed")
    assert uv_argo("run", "s.py", "--deps", "builder")[0] == 2
    assert not marker.exists()
    trusted.remove("builder")


@pytest.mark.parametrize(
    ("requirement", "reason"),
    [
        ("corp-data @ https://files.example.com/corp_data-1.0-py3-none-any.whl", "by a URL that is not allowed"),
        ("corp-data @ file:///tmp/corp_data-1.0-py3-none-any.whl", "is not an https URL"),
        ("corp-data @ git+https://git.example.com/corp-data", "is a repository"),
        ("corp-data @ https://ana:secret@files.example.com/corp_data-1.0-py3-none-any.whl", "contains a user name"),
        ("./corp_data-1.0-py3-none-any.whl", "is a path"),
        ("corp-d\u0430ta", "is not plain ASCII"),
        ("\uff43orp-data", "is not plain ASCII"),
    ],
)
def test_urls_paths_and_non_ascii_names_are_refused(uv_argo, evil, requirement, reason):
    assert is_refused(uv_argo, evil, "run", "s.py", "--deps", requirement, reason=reason)


@pytest.mark.sample(3)
@pytest.mark.parametrize("spelling", ["be-ta", "Be_Ta", "BE.TA", "be--ta", 'be-ta; python_version > "3"', "be-ta>=1"])
def test_other_spellings_of_blocked_name_are_refused(uv_argo, evil, spelling):
    assert is_refused(uv_argo, evil, "run", "s.py", "--deps", spelling, reason="is blocked")


def test_blocked_dependency_of_allowed_package_is_refused(uv_argo, evil, trusted):
    trusted.add("wrapper", "1.0", requires=["be-ta"], extras={"more": ["be-ta"]})
    for arguments in (("wrapper",), ("wrapper[more]",), ("wrapper", "--set", "overrides=be-ta==1.5")):
        assert is_refused(uv_argo, evil, "run", "s.py", "--deps", *arguments, reason="(required by wrapper)")


def test_policy_of_user_cannot_weaken_system_policy(uv_argo, folder, evil, monkeypatch):
    policy = folder / "laxer.toml"
    policy.write_text(
        f'[packages]\nallowed = ["*"]\nblocked = []\n[indexes]\ntrusted = ["{evil.url}", "*"]\nurls = ["*"]\n'
    )
    monkeypatch.setenv("UV_ARGO_POLICY", str(policy))
    assert is_refused(uv_argo, evil, "run", "s.py", "--deps", "be-ta", reason="is blocked")
    assert is_refused(uv_argo, evil, "run", "s.py", "--deps", "corp-data", "--set", f"index_url={evil.url}")
    monkeypatch.setenv("UV_ARGO_POLICY", os.devnull)
    assert is_refused(uv_argo, evil, "run", "s.py", "--deps", "be-ta", reason="is blocked")


def test_edited_lock_is_refused(uv_argo, folder, evil, home, tmp_path):
    policy = tmp_path / "etc" / "policy.toml"
    assert uv_argo("run", "s.py", "--deps", "corp-data")[0] == 0
    (lock_file,) = (home / "data" / "locks").glob("*/*.json")
    document = json.loads(lock_file.read_text())
    document["lock"]["packages"].append({"name": "be-ta", "version": "1.5", "sha256": "0" * 64})
    lock_file.write_text(json.dumps(document))
    assert is_refused(uv_argo, evil, "run", "s.py", "--deps", "corp-data", reason="is blocked")
    policy.write_text("")
    status, text = uv_argo("run", "s.py", "--deps", "corp-data")
    assert status != 0
    assert "Hash mismatch" in text or "hash" in text


def test_lock_file_with_blocked_package_is_refused(uv_argo, folder, evil, trusted):
    lock = Lock(packages=(Package(name="be-ta", version="1.5", sha256="0" * 64),), target=Target(python="3.12.1"))
    (folder / "locked.txt").write_text("\n".join(lock.lines))
    status, text = uv_argo("run", "s.py", "-r", "locked.txt")
    assert status == 2, text
    assert evil.requests == []


def test_blocked_package_in_base_environment_is_refused(uv_argo, folder, evil, trusted, tmp_path):
    code = "import importlib.metadata as m; print(*{d.metadata['Name'] for d in m.distributions()})"
    completed = subprocess.run([sys._base_executable, "-I", "-c", code], capture_output=True, text=True, check=True)
    # The base Python may have no packages: then there is nothing to block.
    for name in sorted({canonicalize_name(name) for name in completed.stdout.split()} - {"evil"})[:1]:
        trusted.add("needs-it", "1.0", requires=[name])
        (tmp_path / "etc" / "policy.toml").write_text(f'[packages]\nblocked = ["{name}"]\n')
        arguments = ("run", "s.py", "--deps", "needs-it", "--set", "base=own")
        assert is_refused(uv_argo, evil, *arguments, reason="is blocked")
