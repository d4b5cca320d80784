"""commands/export.py: runs that can be exported, to which files, and errors."""

from __future__ import annotations

import json

import pytest

from uv_argo_magic.commands import export
from uv_argo_magic.core.commands.table import read_argv
from uv_argo_magic.core.protocol.state import RunState
from uv_argo_magic.core.requirements.parser import parse
from uv_argo_magic.core.resolution.lock import Lock, Package, Target, Unresolved
from uv_argo_magic.core.spec.run_spec import Pushed, Resources, RunSpec, Settings
from uv_argo_magic.errors import SpecError
from uv_argo_magic.history.run_files import RunFiles
from uv_argo_magic.history.store import History
from uv_argo_magic.testing import play, write

LOCK = Lock(
    packages=(Package(name="numpy", version="2.0", sha256="ab", size=1),),
    target=Target(python="3.11.2", abi="cp311", platform="x86_64-manylinux_2_28"),
)
SETTINGS = {"images": (("3.11.2", "example.com/uv:1"),)}


@pytest.fixture
def history(tmp_path, monkeypatch):
    monkeypatch.setenv("UV_ARGO_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return History(tmp_path / "runs")


@pytest.fixture
def store_run(history):
    def store_run(resolution=LOCK, log="", **fields):
        settings = Settings(**SETTINGS | fields.pop("settings", {}))
        spec = RunSpec(cell="print('{{x}}')", requirements=parse("numpy>=2"), settings=settings, **fields)
        files = history.begin("r1", spec=spec, resolution=resolution, nonce="n")
        files.append(log)
        return spec

    return store_run


def export_run(history, *args):
    return export.export_run(read_argv(["export", *args]), history)


def test_stored_spec_is_read_back(history, store_run):
    spec = store_run(backend="argo", python="3.11", resources=Resources(memory="2Gi"), pull=("x",))
    assert history.get("r1").spec() == spec


def test_variables_stored_by_older_versions_are_read(history, store_run):
    store_run(settings={"variables": (("A", "secret"),)})
    path = history.get("r1").folder / "spec.json"
    stored = json.loads(path.read_text())
    stored["spec"]["settings"]["env"] = stored["spec"]["settings"].pop("variables")
    path.write_text(json.dumps(stored))
    assert history.get("r1").spec().settings.variables == (("A", "***"),)


def test_script_is_printed_or_written(history, store_run, tmp_path):
    store_run()
    text = export_run(history)
    assert '"numpy==2.0"' in text
    assert text.endswith("# Exported by uv-argo-magic: the run r1.\n\nprint('{{x}}')\n")
    assert export_run(history, "r1", "--to", "x.py") == "Wrote x.py. Run it with:   uv run x.py"
    assert (tmp_path / "x.py").read_text() == text
    assert export_run(history, "r1", "--to", "my x.py") == "Wrote my x.py. Run it with:   uv run 'my x.py'"
    export_run(history, "--to", "x.py")


def test_packages_resolved_in_the_pod_are_pinned_after_the_run(history, store_run):
    hello = {"protocol": 1, "python": "3.12.4", "pid": 1, "host": "h", "platform": "Linux"}
    store_run(Unresolved(lines=("numpy>=2",), reason="no index"), log=write(("hello", hello), nonce="n"))
    text = export_run(history)
    assert '"numpy>=2"' in text
    assert '"==3.12.*"' in text
    installed = {"packages": [["numpy", "2.5"]], "seconds": 1.0, "cached": False}
    log = write(
        ("hello", hello), ("installed", installed), ("exit", {"reason": "ok", "code": 0, "detail": ""}), nonce="n"
    )
    state = play(log, nonce="n", start=RunState(run="r1"))
    RunFiles(folder=history.root / "r1", history=history).finish(state)
    assert '"numpy==2.5"' in export_run(history)


@pytest.mark.parametrize(
    ("fields", "args", "message"),
    [
        ({}, ["--to", "x.txt"], "cannot infer the output format from `--to x.txt`"),
        ({}, ["--to", "bytes.py"], "bytes.py exists and was not exported by uv-argo-magic"),
        ({}, ["--to", "folder.py"], "cannot write folder.py: Is a directory"),
        ({}, ["--to", "mine.py"], "mine.py exists and was not exported by uv-argo-magic"),
        ({}, ["--to", "nowhere/x.py"], "cannot write nowhere/x.py: No such file or directory"),
        ({}, ["--to", "x.yaml"], "the local backend does not write manifests"),
        (
            {"push": (Pushed(name="x", text="1"),)},
            ["-b", "argo", "--to", "x.yaml"],
            "the history does not contain pushed values: x",
        ),
        ({"push": (Pushed(name="x", text="1"),)}, [], "a script cannot contain pushed values: x"),
        (
            {"settings": {"variables": (("A", "secret"),)}},
            ["-b", "argo", "--to", "x.yaml"],
            "does not contain the values of variables: A",
        ),
        (
            {"settings": {"index_url": "https://u:p@index.example.com/"}},
            ["-b", "argo", "--to", "x.yaml"],
            "does not contain the password in index_url of r1",
        ),
        (
            {"settings": {"find_links": ("https://u:p@index.example.com/",)}},
            ["-b", "argo", "--to", "x.yaml"],
            "does not contain the password in find_links of r1",
        ),
        ({"resolution": Unresolved(lines=("numpy",), reason="no index")}, [], "the Python version of r1 is not known"),
    ],
)
def test_invalid_exports_are_rejected(history, store_run, tmp_path, fields, args, message):
    (tmp_path / "mine.py").write_text("print('mine')\n")
    (tmp_path / "bytes.py").write_bytes(b"\xff\xfe")
    (tmp_path / "folder.py").mkdir()
    store_run(**fields)
    with pytest.raises(SpecError, match=message) as exc_info:
        export_run(history, *args)
    assert exc_info.value.hint
    assert sorted(path.name for path in tmp_path.glob("*.*")) == ["bytes.py", "folder.py", "mine.py"]


def test_unreadable_run_is_an_error(history, store_run):
    store_run()
    (history.root / "r1" / "lock.json").write_text("{}")
    with pytest.raises(SpecError, match="cannot read"):
        export_run(history)
