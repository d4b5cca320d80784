"""commands/edit.py and edit_terminal.py: edit a requirements file, with the real uv and an index on 127.0.0.1."""

from __future__ import annotations

import shlex
import stat
import subprocess
import sys
import tempfile
import threading

import pytest
from support.index_server import IndexServer
from support.waiting import until
from uv import find_uv_bin

from uv_argo_magic import cli
from uv_argo_magic.commands import edit, edit_terminal
from uv_argo_magic.core.resolution.check_result import CheckResult
from uv_argo_magic.core.resolution.lock import Lock, Package, Target
from uv_argo_magic.core.spec.run_spec import RunSpec
from uv_argo_magic.engine.context import CellContext
from uv_argo_magic.errors import ResolutionError, SpecError
from uv_argo_magic.history.store import History
from uv_argo_magic.uv.runner import Cancelled


@pytest.fixture
def index():
    with IndexServer() as server:
        server.add("alpha", "1.0", requires=["beta<2"])
        server.add("beta", "1.5")
        server.add("beta", "2.0")
        yield server


@pytest.fixture
def context(index, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, value in {
        "UV_CACHE_DIR": tmp_path / "uv",
        "UV_DEFAULT_INDEX": index.url,
        "UV_ARGO_HOME": tmp_path / "home",
        "UV_ARGO_BACKEND": "local",
    }.items():
        monkeypatch.setenv(name, str(value))
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    return CellContext.current(names={}, traits={}, line_offset=1, notebook=str(tmp_path / "study.ipynb"))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "study.requirements.txt"


def test_find_chooses_requirements_file(context, tmp_path, path):
    assert edit.find("", context) == path
    assert edit.find("other.ipynb", context) == tmp_path / "other.requirements.txt"
    assert edit.find("needs.txt", context) == tmp_path / "needs.txt"
    with pytest.raises(SpecError, match="edit supports only requirements files"):
        edit.find("pyproject.toml", context)
    with pytest.raises(SpecError, match="cannot determine the notebook's path"):
        edit.find("", CellContext.current(names={}, traits={}, line_offset=1))


def test_read_reports_unreadable_and_binary_files(path, tmp_path):
    assert edit.read(path) == ""
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SpecError, match="not UTF-8"):
        edit.read(path)
    with pytest.raises(SpecError, match="cannot read"):
        edit.read(tmp_path)


def test_write_keeps_line_endings_mode_and_symlinks(path, tmp_path):
    path.write_bytes(b"alpha\r\n")
    path.chmod(0o640)
    link = tmp_path / "link.txt"
    link.symlink_to(path)
    assert edit.write(link, "alpha\nbeta\n", "alpha\n")
    assert path.read_bytes() == b"alpha\r\nbeta\r\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert link.is_symlink()
    assert sorted(file.name for file in tmp_path.iterdir()) == ["link.txt", "study.requirements.txt"]


def test_write_does_not_overwrite_changes_of_other_programs(path, tmp_path):
    assert edit.write(path, "alpha\n", "")
    path.write_text("theirs\n", encoding="utf-8")
    assert not edit.write(path, "beta\n", "alpha\n")
    assert path.read_text(encoding="utf-8") == "theirs\n"
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(SpecError, match=r"cannot (read|write)"):
        edit.write(tmp_path / "file" / "x.txt", "alpha\n", "")


def test_check_reports_resolved_versions(context, path):
    path.write_text("alpha\n", encoding="utf-8")
    result = edit.check(path, context)
    assert result.versions == {"alpha": "1.0", "beta": "1.5"}
    assert result.target.startswith("Python 3.")
    assert "2 packages" in result.sentence()


def test_check_names_conflicting_requirements(context, path):
    path.write_text("alpha\nbeta==2.0\n", encoding="utf-8")
    result = edit.check(path, context)
    assert result.blamed == ("alpha", "beta")
    assert "requirements conflict" in result.problem
    path.write_text("alpha\nalhpa\n", encoding="utf-8")
    assert edit.check(path, context).blamed == ("alhpa",)


def test_measure_reports_cached_packages(context, path, index):
    index.max_age = 600  # as PyPI sends; without it, uv requests the page again
    path.write_text("alpha\n", encoding="utf-8")
    result = edit.check(path, context)
    cancelled = threading.Event()
    assert edit.measure(result, path, context, cancelled).cached == frozenset()
    install = [find_uv_bin(), "pip", "install", "-q", "--target", "tree", "--no-deps", "alpha"]
    subprocess.run(install, check=True, cwd=path.parent)
    assert edit.measure(result, path, context, cancelled).cached == {"alpha"}
    failed = CheckResult(problem="No.")
    assert edit.measure(failed, path, context, cancelled) is failed
    path.write_text("alpha = 1\n", encoding="utf-8")
    assert edit.measure(result, path, context, cancelled) is result


def test_check_stores_nothing_but_lock_does(context, path, index):
    path.write_text("alpha\n", encoding="utf-8")
    checked = edit.check(path, context)
    assert not checked.stored
    index.add("beta", "1.6")
    assert edit.check(path, context).versions["beta"] == "1.6"
    assert "Locked" in edit.lock(path, context, checked.lock, threading.Event())
    locked = edit.check(path, context)
    assert locked.stored
    assert locked.versions["beta"] == "1.5"
    assert edit.lock(path, context, None, threading.Event()) == "Upgraded: beta 1.5 \N{RIGHTWARDS ARROW} 1.6."
    assert edit.lock(path, context, None, threading.Event()) == "Upgraded: no newer versions."
    index.misbehave("alpha", "503")
    with pytest.raises(ResolutionError, match="503"):
        edit.lock(path, context, None, threading.Event())
    assert edit.check(path, context).versions["beta"] == "1.6"


def test_lock_that_cannot_be_stored_is_reported(context, path, tmp_path):
    path.write_text("alpha\n", encoding="utf-8")
    checked = edit.check(path, context)
    (tmp_path / "home" / "data").mkdir(parents=True, exist_ok=True)
    (tmp_path / "home" / "data" / "locks").write_text("not a folder")
    for shown in (checked.lock, None):
        with pytest.raises(SpecError, match="cannot store the lock: Not a directory"):
            edit.lock(path, context, shown, threading.Event())


def test_names_include_packages_of_earlier_runs(tmp_path):
    history = History(tmp_path / "runs")
    target = Target(python="3.12.1")
    lock = Lock(packages=(Package(name="rarely-used", version="1.0"),), target=target)
    history.begin("r1", spec=RunSpec(cell="1"), resolution=lock, nonce="n")
    names = edit.names(history)
    assert {"rarely-used", "numpy"} <= set(names)
    assert list(names) == sorted(names)


def test_check_reports_errors_without_index(context, path, index, monkeypatch):
    path.write_text("alpha = 1\n", encoding="utf-8")
    assert "line 1" in edit.check(path, context).problem
    path.write_text("alpha\n", encoding="utf-8")
    index.misbehave("alpha", "503")
    count = len(index.requests)
    result = edit.check(path, context)
    assert result.unreachable
    assert "503" in result.sentence()
    assert len(index.requests) == count + 1  # no retry
    with monkeypatch.context() as patch:
        patch.setenv("UV_ARGO_HOME", str(path))  # a file, so no folder can be created in it
        patch.setattr(tempfile, "tempdir", str(path))
        result = edit.check(path, context)
        assert result.unreachable
        assert "cannot run uv" in result.problem
    monkeypatch.setenv("UV_ARGO_BACKEND", "nowhere")
    assert "nowhere" in edit.check(path, context).problem


def test_check_can_be_cancelled(context, path, index):
    path.write_text("alpha\n", encoding="utf-8")
    index.misbehave("alpha", "slow")
    cancelled = threading.Event()
    ended = []

    def check():
        with pytest.raises(Cancelled):
            edit.check(path, context, cancelled)
        ended.append(True)

    thread = threading.Thread(target=check)
    thread.start()
    until(lambda: any("alpha" in path for path in index.requests))
    cancelled.set()
    thread.join(60)  # the index does not respond for 60 seconds
    assert ended == [True]


class FakeEditor:
    """An $EDITOR that runs one piece of code per call, and records the text of each file it opens."""

    def __init__(self, folder, monkeypatch):
        self.folder = folder / "editor"
        self.folder.mkdir()
        script = self.folder / "editor.py"
        script.write_text(
            "import pathlib, sys\n"
            "here, file = pathlib.Path(__file__).parent, pathlib.Path(sys.argv[1])\n"
            "call = len(list(here.glob('opened*')))\n"
            "(here / f'opened{call}').write_text(file.read_text())\n"
            "code = here / f'code{call}'\n"
            "if code.exists(): exec(code.read_text(), {'file': file, 'text': file.read_text()})\n"
        )
        monkeypatch.setenv("EDITOR", f"{sys.executable} {script}")
        monkeypatch.delenv("VISUAL", raising=False)

    def program(self, *calls):
        for number, code in enumerate(calls):
            (self.folder / f"code{number}").write_text(code)

    @property
    def opened(self):
        return [file.read_text() for file in sorted(self.folder.glob("opened*"))]


@pytest.fixture
def editor(tmp_path, monkeypatch):
    return FakeEditor(tmp_path, monkeypatch)


def test_editor_saves_and_resolves_file(context, path, editor, capsys):
    path.write_text("# mine\nalpha\n", encoding="utf-8")
    editor.program("file.write_text(text + 'beta\\n')")
    assert cli.main(["edit", "study.ipynb"]) == 0
    assert path.read_text(encoding="utf-8") == "# mine\nalpha\nbeta\n"
    assert capsys.readouterr().out.startswith("study.requirements.txt: 2 packages")
    assert editor.opened == ["# mine\nalpha\n"]


def test_editor_reopens_with_error_as_comment(context, path, editor):
    editor.program(
        "file.write_text('alpha = 1\\n')",
        "file.write_text(text.replace('alpha = 1', 'alpha\\nbeta==2.0'))",
        "file.write_text(text.replace('==2.0', ''))",
    )
    assert "2 packages" in edit_terminal.edit_file(path, context)
    first, second, third = editor.opened
    assert first == ""
    assert second.startswith('# uv-argo: study.requirements.txt, line 4, character 7: "=" is not a comparison')
    assert second.split("\n")[3] == "alpha = 1"
    assert third.startswith("# uv-argo: The requirements conflict")
    assert path.read_text(encoding="utf-8") == "alpha\nbeta\n"


def test_editor_keeps_rejected_text_if_user_gives_up(context, path, editor, capsys):
    path.write_text("alpha\n", encoding="utf-8")
    editor.program("file.write_text('alpha = 1\\n')")
    assert cli.main(["edit", str(path)]) == 2
    assert "Your text is in study.requirements.txt.rejected" in capsys.readouterr().err
    assert path.read_text(encoding="utf-8") == "alpha\n"
    assert path.with_name("study.requirements.txt.rejected").read_text(encoding="utf-8") == "alpha = 1\n"


def test_editor_saves_unresolvable_requirements(context, path, editor):
    editor.program("file.write_text('alpha\\nbeta==2.0\\n')")
    with pytest.raises(ResolutionError, match="requirements conflict"):
        edit_terminal.edit_file(path, context)
    assert path.read_text(encoding="utf-8") == "alpha\nbeta==2.0\n"
    assert len(editor.opened) == 2


def test_editor_does_not_overwrite_concurrent_change(context, path, editor):
    editor.program(f"file.write_text('alpha\\n'); open({str(path)!r}, 'w').write('theirs\\n')")
    with pytest.raises(SpecError, match="changed by another program"):
        edit_terminal.edit_file(path, context)
    assert path.read_text(encoding="utf-8") == "theirs\n"
    assert path.with_name("study.requirements.txt.rejected").read_text(encoding="utf-8") == "alpha\n"


def test_editor_keeps_rejected_text_if_editor_fails(context, path, editor):
    editor.program("file.write_text('alpha = 1\\n')", "raise SystemExit(1)")
    with pytest.raises(SpecError, match="exited with status 1") as caught:
        edit_terminal.edit_file(path, context)
    assert "Your text is in study.requirements.txt.rejected" in caught.value.hint
    assert path.with_name("study.requirements.txt.rejected").read_text(encoding="utf-8") == "alpha = 1\n"


def test_editor_keeps_text_that_cannot_be_written(context, tmp_path, editor, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    folder = tmp_path / "folder"
    editor.program(f"file.write_text('alpha'); open({str(folder)!r}, 'w').close()")
    with pytest.raises(SpecError, match=r"cannot read needs\.txt") as caught:
        edit_terminal.edit_file(folder / "needs.txt", context)
    (kept,) = tmp_path.glob("*.needs.txt.rejected")
    assert str(kept) in caught.value.hint
    assert kept.read_text(encoding="utf-8") == "alpha"


def test_editor_gives_up_after_repeated_errors(context, path, monkeypatch):
    monkeypatch.setattr(edit_terminal, "TRIES", 3)
    monkeypatch.setenv("VISUAL", shlex.join([sys.executable, "-c", "import sys; open(sys.argv[1], 'a').write('=')"]))
    path.write_text("alpha", encoding="utf-8")
    with pytest.raises(SpecError, match="after 3 edits"):
        edit_terminal.edit_file(path, context)
    assert path.read_text(encoding="utf-8") == "alpha"


def test_editor_reports_failing_and_missing_editors(context, path, monkeypatch):
    monkeypatch.setenv("VISUAL", f"{sys.executable} -c 'raise SystemExit(3)'")
    with pytest.raises(SpecError, match="exited with status 3"):
        edit_terminal.edit_file(path, context)
    monkeypatch.setenv("VISUAL", "no-such-editor")
    with pytest.raises(SpecError, match="cannot run no-such-editor"):
        edit_terminal.edit_file(path, context)
    monkeypatch.setenv("VISUAL", " ")
    monkeypatch.setenv("EDITOR", 'vi "')
    with pytest.raises(SpecError, match='invalid EDITOR: vi ": No closing quotation'):
        edit_terminal.edit_file(path, context)
    monkeypatch.delenv("VISUAL")
    monkeypatch.delenv("EDITOR", raising=False)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(SpecError, match="no editor"):
        edit_terminal.edit_file(path, context)
    assert not path.exists()
