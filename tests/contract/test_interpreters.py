"""Find the Pythons of this machine, and fakes that report another version."""

from __future__ import annotations

import functools
import json
import os
import platform
import re
import subprocess
import sys
import sysconfig
import tarfile
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from packaging.tags import sys_tags

from uv_argo_magic.backends.local import LocalBackend
from uv_argo_magic.core.spec.run_spec import RunSpec, Settings
from uv_argo_magic.errors import SpecError
from uv_argo_magic.uv import interpreters
from uv_argo_magic.uv.interpreters import find, versions


@pytest.fixture(autouse=True)
def clear_caches():
    interpreters._probe.cache_clear()
    interpreters._describe_current.cache_clear()
    interpreters._find_with_uv.cache_clear()


def test_find_defaults_to_base_of_current_python():
    interpreter = find()
    assert interpreter.target.python == platform.python_version()
    assert interpreter.target.implementation == "cpython"
    assert interpreter.target.platform == ""
    assert interpreter.wheel_tags == tuple(sys_tags())
    assert interpreter.target.abi == interpreter.wheel_tags[0].abi
    code = "import sys; print(sys.prefix == sys.base_prefix)"
    assert (
        subprocess.run([interpreter.path, "-I", "-c", code], capture_output=True, text=True, check=True).stdout
        == "True\n"
    )


def test_find_reports_that_uv_does_not_respond(monkeypatch):
    def hang(*_):
        raise subprocess.TimeoutExpired("uv", 60)

    monkeypatch.setattr(interpreters, "_uv", hang)
    with pytest.raises(SpecError, match=r"uv took more than 60 seconds to find Python 3\.99"):
        find("3.99")


def test_find_ignores_the_mark_of_a_development_build(monkeypatch):
    monkeypatch.setattr(sys, "version", "3.12.3+ (heads/3.12:0000000, Jan  1 2026) [GCC]")
    assert find().target.python == "3.12.3"


def test_find_does_not_run_uv_if_current_python_fits(monkeypatch):
    monkeypatch.setattr(interpreters, "find_uv_bin", lambda: pytest.fail("uv was called"))
    major, minor, micro = sys.version_info[:3]
    current = find()
    for version in (f"{major}", f"{major}.{minor}", f" {major}.{minor}.{micro} ", f">={major}.{minor},<4", ">=3.8"):
        assert find(version) == current


def test_find_returns_each_listed_python():
    listed = versions()
    assert platform.python_version() in listed or listed == ()
    for version in dict.fromkeys(text for text in listed if "t" not in text):
        interpreter = find(version)
        assert interpreter.target.python == version
        assert interpreter.target.abi.startswith("cp" + "".join(version.split(".")[:2]))
        assert any(tag.interpreter == interpreter.target.abi.rstrip("t") for tag in interpreter.wheel_tags)
        assert find(version) == interpreter


def test_find_reports_missing_python():
    with pytest.raises(SpecError, match=r"Python 3\.77 is not installed; installed versions: .*3\.") as caught:
        find("3.77")
    assert "uv python install 3.77" in caught.value.hint
    with pytest.raises(SpecError) as caught:
        find(">=3.77")
    assert "uv python install 3.77" in caught.value.hint
    with pytest.raises(SpecError) as caught:
        find("!=3.*")
    assert "uv python install 3.12" in caught.value.hint or "uv python install 3" in caught.value.hint


@pytest.mark.parametrize(
    "version", ["--help", "-x", "/usr/bin/python3", "latest", "3.12; rm", "pypy", "3.12\n3.13x", "v3"]
)
def test_find_rejects_invalid_versions(version):
    with pytest.raises(SpecError, match="Invalid Python version"):
        find(version)


def test_probe_returns_base_of_venv(tmp_path):
    base = find()
    subprocess.run([base.path, "-m", "venv", "--without-pip", str(tmp_path / "venv")], check=True)
    python = next(path for path in (tmp_path / "venv").rglob("python*") if path.stem == "python" and path.is_file())
    interpreter = interpreters._probe_base(str(python))
    assert interpreter.target == base.target
    assert Path(interpreter.path).resolve() == Path(base.path).resolve()
    assert not interpreter.path.startswith(str(tmp_path))


def test_find_ignores_activated_venv(tmp_path, monkeypatch):
    base = find()
    subprocess.run([base.path, "-m", "venv", "--without-pip", str(tmp_path / "venv")], check=True)
    monkeypatch.setenv("VIRTUAL_ENV", str(tmp_path / "venv"))
    monkeypatch.setenv("PATH", str(tmp_path / "venv" / "bin") + os.pathsep + os.environ["PATH"])
    path = interpreters._find_with_uv(base.target.minor, os.environ["PATH"])
    assert not interpreters._probe_base(path).path.startswith(str(tmp_path))


# Fakes: programs that print the report of another Python.


def fake_python(folder: Path, **changes) -> str:
    program = folder / "python"
    report = {
        "path": str(program),
        "base": str(program),
        "venv": False,
        "implementation": "cpython",
        "platform": sysconfig.get_platform(),
        "version": [3, 13, 1, "final", 0],
        "tags": ["cp313-cp313t-linux_x86_64", "py3-none-any"],
    }
    program.write_text(
        f"#!/bin/sh\necho started >> '{folder}/runs'\ncat <<'END'\n{json.dumps(report | changes)}\nEND\n"
    )
    program.chmod(0o755)
    return str(program)


def test_probe_recognises_free_threaded_python(tmp_path):
    interpreter = interpreters._probe_base(fake_python(tmp_path))
    assert (interpreter.target.python, interpreter.target.abi) == ("3.13.1", "cp313t")
    assert interpreters.fits(interpreter.target.python, "3.13t", free_threaded=True)
    for other in ("3.13", "3.12t", ">=3.13"):
        assert not interpreters.fits(interpreter.target.python, other, free_threaded=True)


@pytest.mark.parametrize(
    ("level", "serial", "version"),
    [("alpha", 2, "3.13.1a2"), ("beta", 1, "3.13.1b1"), ("candidate", 3, "3.13.1rc3"), ("final", 0, "3.13.1")],
)
def test_probe_reports_prerelease_version(tmp_path, level, serial, version):
    interpreter = interpreters._probe_base(fake_python(tmp_path, version=[3, 13, 1, level, serial]))
    assert interpreter.target.python == version
    assert interpreter.target.minor == "3.13"


@pytest.mark.parametrize(
    "changes",
    [{"implementation": "pypy", "tags": []}, {"version": [3, 7, 9, "final", 0], "tags": []}],
    ids=["PyPy", "Python 3.7"],
)
def test_probe_rejects_unsupported_pythons(tmp_path, changes):
    with pytest.raises(SpecError, match=r"Cells need CPython 3\.8 or newer"):
        interpreters._probe_base(fake_python(tmp_path, **changes))


def test_probe_computes_tags_of_old_pythons(tmp_path):
    interpreter = interpreters._probe_base(fake_python(tmp_path, version=[3, 8, 1, "final", 0], tags=[]))
    assert interpreter.target.abi == "cp38"
    platforms = {tag.platform for tag in find().wheel_tags}
    assert {tag.platform for tag in interpreter.wheel_tags} == platforms
    assert {"cp38-cp38", "cp38-abi3", "py3-none"} <= {f"{tag.interpreter}-{tag.abi}" for tag in interpreter.wheel_tags}
    with pytest.raises(SpecError, match="is for elsewhere"):
        interpreters._probe_base(fake_python(tmp_path, version=[3, 8, 1, "final", 0], tags=[], platform="elsewhere"))


def test_probe_runs_interpreter_once_until_it_changes(tmp_path):
    path = fake_python(tmp_path)
    runs = tmp_path / "runs"
    interpreters._probe_base(path)
    interpreters._probe_base(path)
    assert runs.read_text() == "started\n"
    os.utime(path, ns=(1, 1))
    interpreters._probe_base(path)
    assert runs.read_text() == "started\n" * 2


@pytest.mark.parametrize(
    "script",
    ["#!/bin/sh\necho no such thing >&2\nexit 3\n", "#!/bin/sh\nexit 3\n", "#!/bin/sh\necho nonsense\n", "#!/bin/sh\n",
     "#!/nonexistent/sh\n", "#!/bin/sh\necho 3\n"],
    ids=["error", "silent error", "not JSON", "no output", "missing shell", "wrong JSON"],
)  # fmt: skip
def test_probe_reports_program_that_is_not_python(tmp_path, script):
    path = tmp_path / "python"
    path.write_text(script)
    path.chmod(0o755)
    with pytest.raises(SpecError, match="Cannot run the Python at") as caught:
        interpreters._probe_base(str(path))
    assert caught.value.hint


def test_probe_reports_missing_file(tmp_path):
    with pytest.raises(SpecError, match=r"Cannot use the Python at .*: No such file"):
        interpreters._probe_base(str(tmp_path / "python"))


def test_find_retries_if_python_disappeared(tmp_path, monkeypatch):
    calls = []

    def fake_uv(*args):
        calls.append(args)
        path = fake_python(tmp_path) if len(calls) > 1 else str(tmp_path / "gone")
        return subprocess.CompletedProcess(args, 0, stdout=path + "\n", stderr="")

    monkeypatch.setattr(interpreters, "_uv", fake_uv)
    assert find("3.13.1t").target.abi == "cp313t"
    assert len(calls) == 2


def test_search_path_replaces_pyenv_shims(tmp_path):
    for version in ("3.12.1", "3.13.0"):
        (tmp_path / "versions" / version / "bin").mkdir(parents=True)
    (tmp_path / "shims").mkdir()
    (tmp_path / "other" / "shims").mkdir(parents=True)
    path = os.pathsep.join(["/usr/bin", str(tmp_path / "shims"), str(tmp_path / "other" / "shims")])
    assert interpreters._search_path(path).split(os.pathsep) == [
        "/usr/bin",
        str(tmp_path / "versions" / "3.13.0" / "bin"),
        str(tmp_path / "versions" / "3.12.1" / "bin"),
        str(tmp_path / "other" / "shims"),
    ]


def serve_python(folder: Path, monkeypatch, *, archive: Path | None) -> None:
    """Make uv find one download for the version of this Python, on a local mirror."""
    version = platform.python_version()
    name = f"cpython-{version}-linux-x86_64-gnu"
    download = {
        "name": "cpython", "arch": {"family": "x86_64", "variant": None}, "os": "linux", "libc": "gnu",
        "major": sys.version_info[0], "minor": sys.version_info[1], "patch": sys.version_info[2], "prerelease": "",
        "url": "https://github.com/astral-sh/python-build-standalone/releases/download/1/python.tar.gz",
        "sha256": None, "variant": None, "build": "1",
    }  # fmt: skip
    (folder / "downloads.json").write_text(json.dumps({name: download}))
    (folder / "mirror" / "1").mkdir(parents=True)
    if archive:
        archive.rename(folder / "mirror" / "1" / "python.tar.gz")
    monkeypatch.setenv("UV_PYTHON_DOWNLOADS_JSON_URL", str(folder / "downloads.json"))
    monkeypatch.setenv("UV_PYTHON_INSTALL_DIR", str(folder / "pythons"))
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")


@pytest.fixture
def mirror(tmp_path, monkeypatch):
    handler = functools.partial(SimpleHTTPRequestHandler, directory=str(tmp_path / "mirror"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("UV_PYTHON_INSTALL_MIRROR", f"http://127.0.0.1:{server.server_address[1]}")
        for name in ("http_proxy", "all_proxy", "HTTP_PROXY", "ALL_PROXY"):
            monkeypatch.delenv(name, raising=False)
        yield server
        server.shutdown()


LINUX = pytest.mark.skipif(
    platform.machine() != "x86_64" or sys.platform != "linux", reason="the download is for this platform"
)


def _exclude_extras(item: tarfile.TarInfo) -> tarfile.TarInfo | None:
    excluded = re.search(r"/(test|site-packages|idlelib|__pycache__|config-[^/]*)$", item.name)
    # The Python of a Linux distribution contains absolute symlinks, which uv does not unpack.
    return None if excluded or item.linkname.startswith("/") else item


@LINUX
@pytest.mark.slow
def test_install_downloads_python_from_mirror(tmp_path, monkeypatch, mirror):
    # Pack the base of this Python like the builds that uv downloads.
    source, archive = Path(find().path).resolve().parent.parent, tmp_path / "python.tar.gz"
    minor = "python" + ".".join(map(str, sys.version_info[:2]))
    with tarfile.open(archive, "w:gz", compresslevel=1) as tar:
        tar.add(source / "bin" / minor, f"python/bin/{minor}")
        for name in (f"lib/{minor}", *(f"lib/{path.name}" for path in source.glob("lib/libpython*"))):
            tar.add(source / name, f"python/{name}", filter=_exclude_extras)
    serve_python(tmp_path, monkeypatch, archive=archive)
    interpreters._install(platform.python_version())
    (python,) = tmp_path.glob(f"pythons/cpython-{platform.python_version()}-*/bin/{minor}")
    code = "import json, sys; print(sys.version_info[:3])"
    completed = subprocess.run([python, "-I", "-c", code], capture_output=True, text=True, check=True)
    assert completed.stdout == f"{sys.version_info[:3]}\n"


@LINUX
def test_install_reports_cause_of_failure(tmp_path, monkeypatch, mirror):
    serve_python(tmp_path, monkeypatch, archive=None)
    version = platform.python_version()
    with pytest.raises(SpecError, match=rf"cannot install Python {version}: .*404") as caught:
        interpreters._install(version)
    assert "UV_PYTHON_INSTALL_MIRROR" in caught.value.hint


def test_find_installs_missing_python_only_with_setting(monkeypatch):
    installed = []
    monkeypatch.setattr(interpreters, "_install", installed.append)
    with pytest.raises(SpecError, match=r"Python 3\.77 is not installed") as caught:
        find("3.77")
    assert "--set python_downloads=automatic" in caught.value.hint
    assert installed == []
    with pytest.raises(SpecError, match=r"Python 3\.77 is not installed, and offline mode is on") as caught:
        LocalBackend().target(
            RunSpec(cell="", python="3.77", settings=Settings(python_downloads="automatic", offline=True))
        )
    assert "--set offline=false" in caught.value.hint
    assert installed == []
    with pytest.raises(SpecError, match=r"Python 3\.77 is not installed"):
        find("3.77", download=True)
    assert installed == ["3.77"]
