"""requirements_files.py compared with the real uv: reading requirements files and lock files."""

from __future__ import annotations

import os
import subprocess

import pytest
from support.index_server import IndexServer
from uv import find_uv_bin

from uv_argo_magic import requirements_files
from uv_argo_magic.cli import main
from uv_argo_magic.core.commands.run_options import run_options
from uv_argo_magic.core.commands.table import read_cell
from uv_argo_magic.core.spec.run_spec import Settings
from uv_argo_magic.core.spec.uv_environ import uv_process_environ
from uv_argo_magic.engine.context import CellContext
from uv_argo_magic.engine.preparation.spec_builder import specify
from uv_argo_magic.errors import ResolutionError, SpecError
from uv_argo_magic.uv import interpreters
from uv_argo_magic.uv.resolver import Resolver

PROJECT = """
[project]
name = "study"
version = "1"
requires-python = ">=3.11"
dependencies = ["alpha", "delta; sys_platform == 'win32'"]
[project.optional-dependencies]
plot = ["gamma>=1"]
[dependency-groups]
dev = ["epsilon", {include-group = "more"}]
more = ["gamma"]
[tool.uv]
constraint-dependencies = ["beta<2"]
"""


@pytest.fixture(scope="module")
def index():
    with IndexServer() as server:
        server.add("alpha", "1.0", requires=["beta"])
        server.add("beta", "1.0")
        server.add("beta", "2.0")
        for name in ("gamma", "delta", "epsilon"):
            server.add(name, "1.0")
        yield server


@pytest.fixture
def uv(index, tmp_path):
    environ = uv_process_environ(os.environ) | {
        "UV_CACHE_DIR": str(tmp_path / "cache"),
        "UV_DEFAULT_INDEX": index.url,
    }

    def run(*args):
        command = [find_uv_bin(), *args, "--python", interpreters.find().path]
        return subprocess.run(
            command, cwd=tmp_path, env=environ, capture_output=True, text=True, check=True, timeout=60
        ).stdout

    return run


@pytest.fixture
def resolve(index, tmp_path):
    def resolve(requested):
        resolver = Resolver(
            interpreter=interpreters.find(),
            settings=Settings(constraints=requested.constraints, overrides=requested.overrides),
            environ=os.environ | {"UV_CACHE_DIR": str(tmp_path / "cache"), "UV_DEFAULT_INDEX": index.url},
        )
        lock = resolver.lock(requested.requirements)
        return [f"{package.name}=={package.version}" for package in lock.packages]

    return resolve


@pytest.mark.sample(2)
@pytest.mark.parametrize(
    ("suffix", "expected"),
    [
        ("", ["alpha==1.0", "beta==1.0"]),
        ("[plot]", ["alpha==1.0", "beta==1.0", "gamma==1.0"]),
        (":dev", ["epsilon==1.0", "gamma==1.0"]),
        (":more", ["gamma==1.0"]),
        ("[plot]:dev", ["alpha==1.0", "beta==1.0", "epsilon==1.0", "gamma==1.0"]),
    ],
)
def test_project_and_its_lock_resolve_equally(uv, resolve, tmp_path, suffix, expected):
    (tmp_path / "pyproject.toml").write_text(PROJECT, encoding="utf-8")
    assert resolve(requirements_files.read(f"pyproject.toml{suffix}", tmp_path)) == expected
    uv("lock", "-q")
    before = sorted(path.name for path in tmp_path.iterdir())
    locked = requirements_files.read(f"uv.lock{suffix}", tmp_path)
    assert resolve(locked) == expected
    assert locked.requirements.complete
    assert all(item.hashes for item in locked.requirements.items)
    assert locked.requires_python == ((">=3.11", "uv.lock"),)
    # Reading changes no file, and the lock does not need pyproject.toml.
    assert sorted(path.name for path in tmp_path.iterdir()) == before
    (tmp_path / "pyproject.toml").unlink()
    if suffix == "":
        assert resolve(requirements_files.read("uv.lock", tmp_path)) == expected


def test_lock_files_keep_pinned_versions(uv, resolve, index, tmp_path):
    (tmp_path / "requirements.in").write_text("alpha\n", encoding="utf-8")
    (tmp_path / "bounds.txt").write_text("beta<2\n", encoding="utf-8")
    uv("pip", "compile", "requirements.in", "-c", "bounds.txt", "-o", "pylock.toml")
    uv("pip", "compile", "requirements.in", "-c", "bounds.txt", "--generate-hashes", "-o", "requirements.txt")
    for name in ("pylock.toml", "requirements.txt"):
        assert resolve(requirements_files.read(name, tmp_path)) == ["alpha==1.0", "beta==1.0"]
    (tmp_path / "free.txt").write_text("alpha\n", encoding="utf-8")
    assert resolve(requirements_files.read("free.txt", tmp_path)) == ["alpha==1.0", "beta==2.0"]
    (tmp_path / "bound.txt").write_text("alpha\n-c bounds.txt\n", encoding="utf-8")
    assert resolve(requirements_files.read("bound.txt", tmp_path)) == ["alpha==1.0", "beta==1.0"]


def test_lock_file_is_complete(resolve, index, tmp_path):
    sha256 = index.add("alpha", "1.5", requires=["missing"]).sha256
    text = 'lock-version = "1.0"\n[[packages]]\nname = "alpha"\nversion = "1.5"\n'
    text += f'wheels = [{{ name = "alpha-1.5-py3-none-any.whl", hashes = {{ sha256 = "{sha256}" }} }}]\n'
    (tmp_path / "pylock.toml").write_text(text, encoding="utf-8")
    assert resolve(requirements_files.read("pylock.toml", tmp_path)) == ["alpha==1.5"]
    (tmp_path / "pylock.toml").write_text(text.replace(sha256, "0" * 64), encoding="utf-8")
    with pytest.raises(ResolutionError, match="has one of the hashes"):
        resolve(requirements_files.read("pylock.toml", tmp_path))


def test_local_packages_of_project_are_left_out_with_note(uv, tmp_path):
    (tmp_path / "pyproject.toml").write_text(
        '[project]\nname = "study"\nversion = "1"\nrequires-python = ">=3.11"\ndependencies = ["own", "gamma"]\n'
        '[tool.uv.workspace]\nmembers = ["own"]\n[tool.uv.sources]\nown = { workspace = true }\n',
        encoding="utf-8",
    )
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "pyproject.toml").write_text(
        '[project]\nname = "own"\nversion = "1"\nrequires-python = ">=3.11"\ndependencies = ["epsilon"]\n'
        '[build-system]\nrequires = ["missing"]\n',
        encoding="utf-8",
    )
    with pytest.raises(SpecError, match=r"own has a custom source in \[tool\.uv\.sources\]"):
        requirements_files.read("pyproject.toml", tmp_path)
    uv("lock", "-q")
    requested = requirements_files.read("uv.lock", tmp_path)
    assert requested.requirements.lines == ("epsilon==1.0", "gamma==1.0")
    assert requested.notes == ("uv.lock: left out local folders of the project: own.",)


URL = "alpha @ https://index.example.com/alpha-1.0-py3-none-any.whl"
LOCK = f"""
lock-version = "1.0"
[[packages]]
name = "alpha"
archive = {{ url = "https://index.example.com/alpha-1.0-py3-none-any.whl", hashes = {{ sha256 = "{"a" * 64}" }} }}
"""


@pytest.mark.parametrize(
    ("line", "cell", "files"),
    [
        (f'--deps "{URL}"', "", {}),
        (f'--deps beta --set constraints="{URL}"', "", {}),
        (f'--deps beta --set overrides="{URL}"', "", {}),
        ("-r needs.txt", "", {"needs.txt": URL}),
        ("-r needs.txt", "", {"needs.txt": "-r more.txt", "more.txt": URL}),
        ("-r needs.txt", "", {"needs.txt": "beta\n-c bounds.txt", "bounds.txt": URL}),
        ("-r pyproject.toml", "", {"pyproject.toml": f'[project]\nname = "x"\ndependencies = ["{URL}"]'}),
        ("-r pylock.toml", "", {"pylock.toml": LOCK}),
        ("-r environment.yml", "", {"environment.yml": f"dependencies:\n- pip:\n  - {URL}"}),
        ("", f'# /// script\n# dependencies = ["{URL}"]\n# ///\n', {}),
        ("", "", {"study.requirements.txt": URL}),
        ("", "", {"uv-argo.toml": f'deps = ["{URL}"]'}),
    ],
)
def test_url_from_any_source_needs_allow_urls(tmp_path, line, cell, files):
    for name, text in files.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    context = CellContext(names={}, traits={"allow_urls": False}, environ={}, folder=tmp_path, notebook="study.ipynb")
    spec, _ = specify(cell, run_options(read_cell(line, {})), context)
    with pytest.raises(SpecError, match="alpha is requested by URL, but allow_urls is off"):
        Resolver(interpreter=interpreters.find(), settings=spec.settings).lock(spec.requirements)


def test_unreadable_lock_is_reported(tmp_path):
    (tmp_path / "uv.lock").write_text("version = 99\n", encoding="utf-8")
    with pytest.raises(SpecError, match=r"^uv could not read uv\.lock: error: .*99"):
        requirements_files.read("uv.lock", tmp_path)


def test_settings_of_file_apply_to_run_and_lock(index, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("UV_ARGO_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    text = "# /// script\n# dependencies = ['beta']\n# [tool.uv]\n# resolution = 'lowest'\n# ///\n"
    (tmp_path / "script.py").write_text(text)
    (tmp_path / "run.py").write_text("import importlib.metadata as m\nprint(m.version('beta'))\n")
    common = ["-r", "script.py", "--set", f"index_url={index.url}"]
    assert main(["run", "run.py", *common]) == 0
    captured = capsys.readouterr()
    assert captured.out == "1.0\n"
    assert "Settings from the files of its line: resolution = lowest" in captured.err
    assert main(["run", "run.py", *common, "--set", "resolution=highest"]) == 0
    assert capsys.readouterr().out == "2.0\n"
    assert main(["lock", *common]) == 0
    output = capsys.readouterr().out
    assert "beta     1.0" in output
    assert "Settings from the files of its line: resolution = lowest" in output
