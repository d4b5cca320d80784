"""commands/edit.py and edit_terminal.py: a file that is edited, with the real uv against an index on 127.0.0.1."""

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
    with IndexServer() as serving:
        serving.add("alpha", "1.0", requires=["beta<2"])
        serving.add("beta", "1.5")
        serving.add("beta", "2.0")
        yield serving


@pytest.fixture
def around(index, tmp_path, monkeypatch):
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


def test_which_file(around, tmp_path, path):
    assert edit.find("", around) == path
    assert edit.find("other.ipynb", around) == tmp_path / "other.requirements.txt"
    assert edit.find("needs.txt", around) == tmp_path / "needs.txt"
    with pytest.raises(SpecError, match="edit supports only those"):
        edit.find("pyproject.toml", around)
    with pytest.raises(SpecError, match="cannot determine the notebook's path"):
        edit.find("", CellContext.current(names={}, traits={}, line_offset=1))


def test_reading_what_is_not_there_and_what_is_no_text(path, tmp_path):
    assert edit.read(path) == ""
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SpecError, match="not UTF-8"):
        edit.read(path)
    with pytest.raises(SpecError, match="cannot read"):
        edit.read(tmp_path)


def test_writing_keeps_line_ends_mode_and_links(path, tmp_path):
    path.write_bytes(b"alpha\r\n")
    path.chmod(0o640)
    link = tmp_path / "link.txt"
    link.symlink_to(path)
    assert edit.write(link, "alpha\nbeta\n", "alpha\n")
    assert path.read_bytes() == b"alpha\r\nbeta\r\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert link.is_symlink()
    assert sorted(one.name for one in tmp_path.iterdir()) == ["link.txt", "study.requirements.txt"]


def test_what_somebody_else_wrote_is_not_overwritten(path, tmp_path):
    assert edit.write(path, "alpha\n", "")
    path.write_text("theirs\n", encoding="utf-8")
    assert not edit.write(path, "beta\n", "alpha\n")
    assert path.read_text(encoding="utf-8") == "theirs\n"
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(SpecError, match=r"cannot (read|write)"):
        edit.write(tmp_path / "file" / "x.txt", "alpha\n", "")


def test_a_check_says_what_a_cell_would_get(around, path):
    path.write_text("alpha\n", encoding="utf-8")
    verdict = edit.check(path, around)
    assert verdict.versions == {"alpha": "1.0", "beta": "1.5"}
    assert verdict.target.startswith("Python 3.")
    assert "2 packages" in verdict.sentence()


def test_a_check_names_whom_to_blame(around, path):
    path.write_text("alpha\nbeta==2.0\n", encoding="utf-8")
    verdict = edit.check(path, around)
    assert verdict.blamed == ("alpha", "beta")
    assert "requirements conflict" in verdict.problem
    path.write_text("alpha\nalhpa\n", encoding="utf-8")
    assert edit.check(path, around).blamed == ("alhpa",)


def test_what_has_to_be_downloaded(around, path, index):
    index.max_age = 600  # as the public index says; uv asks anew where an index says nothing
    path.write_text("alpha\n", encoding="utf-8")
    verdict = edit.check(path, around)
    cancelled = threading.Event()
    assert edit.measure(verdict, path, around, cancelled).cached == frozenset()
    install = [find_uv_bin(), "pip", "install", "-q", "--target", "tree", "--no-deps", "alpha"]
    subprocess.run(install, check=True, cwd=path.parent)
    assert edit.measure(verdict, path, around, cancelled).cached == {"alpha"}
    problem = CheckResult(problem="No.")
    assert edit.measure(problem, path, around, cancelled) is problem
    path.write_text("alpha = 1\n", encoding="utf-8")
    assert edit.measure(verdict, path, around, cancelled) is verdict


def test_a_check_keeps_nothing_and_a_lock_sticks(around, path, index):
    path.write_text("alpha\n", encoding="utf-8")
    seen = edit.check(path, around)
    assert not seen.stored
    index.add("beta", "1.6")
    assert edit.check(path, around).versions["beta"] == "1.6"
    assert "Locked" in edit.lock(path, around, seen.lock, threading.Event())
    kept = edit.check(path, around)
    assert kept.stored
    assert kept.versions["beta"] == "1.5"
    assert edit.lock(path, around, None, threading.Event()) == "Upgraded: beta 1.5 \N{RIGHTWARDS ARROW} 1.6."
    assert edit.lock(path, around, None, threading.Event()) == "Upgraded: no newer versions."
    index.misbehave("alpha", "503")
    with pytest.raises(ResolutionError, match="503"):
        edit.lock(path, around, None, threading.Event())
    assert edit.check(path, around).versions["beta"] == "1.6"


def test_names_that_are_known_here(tmp_path):
    history = History(tmp_path / "runs")
    target = Target(python="3.12.1")
    lock = Lock(packages=(Package(name="rarely-used", version="1.0"),), target=target)
    history.begin("r1", spec=RunSpec(cell="1"), resolution=lock, nonce="n")
    found = edit.names(history)
    assert {"rarely-used", "numpy"} <= set(found)
    assert list(found) == sorted(found)


def test_what_is_wrong_without_the_index(around, path, index, monkeypatch):
    path.write_text("alpha = 1\n", encoding="utf-8")
    assert "line 1" in edit.check(path, around).problem
    path.write_text("alpha\n", encoding="utf-8")
    index.misbehave("alpha", "503")
    begun = len(index.requests)
    verdict = edit.check(path, around)
    assert verdict.unreachable
    assert "503" in verdict.sentence()
    assert len(index.requests) == begun + 1  # it is not tried again
    with monkeypatch.context() as patch:
        patch.setenv("UV_ARGO_HOME", str(path))  # nothing can be made in a file
        patch.setattr(tempfile, "tempdir", str(path))
        verdict = edit.check(path, around)
        assert verdict.unreachable
        assert "cannot run uv" in verdict.problem
    monkeypatch.setenv("UV_ARGO_BACKEND", "nowhere")
    assert "nowhere" in edit.check(path, around).problem


def test_a_check_that_nobody_waits_for_ends(around, path, index):
    path.write_text("alpha\n", encoding="utf-8")
    index.misbehave("alpha", "slow")
    cancelled = threading.Event()
    ended = []

    def check():
        with pytest.raises(Cancelled):
            edit.check(path, around, cancelled)
        ended.append(True)

    thread = threading.Thread(target=check)
    thread.start()
    until(lambda: any("alpha" in one for one in index.requests))
    cancelled.set()
    thread.join(60)  # the index alone would keep it for half a minute
    assert ended == [True]


class Typist:
    """An $EDITOR that writes one text after another, and keeps what it saw."""

    def __init__(self, folder, monkeypatch):
        self.folder = folder / "typist"
        self.folder.mkdir()
        script = self.folder / "typist.py"
        script.write_text(
            "import pathlib, sys\n"
            "here, file = pathlib.Path(__file__).parent, pathlib.Path(sys.argv[1])\n"
            "turn = len(list(here.glob('seen*')))\n"
            "(here / f'seen{turn}').write_text(file.read_text())\n"
            "new = here / f'text{turn}'\n"
            "if new.exists(): exec(new.read_text(), {'file': file, 'text': file.read_text()})\n"
        )
        monkeypatch.setenv("EDITOR", f"{sys.executable} {script}")
        monkeypatch.delenv("VISUAL", raising=False)

    def will(self, *turns):
        for number, text in enumerate(turns):
            (self.folder / f"text{number}").write_text(text)

    @property
    def seen(self):
        return [one.read_text() for one in sorted(self.folder.glob("seen*"))]


@pytest.fixture
def typist(tmp_path, monkeypatch):
    return Typist(tmp_path, monkeypatch)


def test_in_a_terminal_the_file_is_saved_and_resolved(around, path, typist, capsys):
    path.write_text("# mine\nalpha\n", encoding="utf-8")
    typist.will("file.write_text(text + 'beta\\n')")
    assert cli.main(["edit", "study.ipynb"]) == 0
    assert path.read_text(encoding="utf-8") == "# mine\nalpha\nbeta\n"
    assert capsys.readouterr().out.startswith("study.requirements.txt: 2 packages")
    assert typist.seen == ["# mine\nalpha\n"]


def test_a_mistake_comes_back_as_a_comment_and_can_be_mended(around, path, typist):
    typist.will(
        "file.write_text('alpha = 1\\n')",
        "file.write_text(text.replace('alpha = 1', 'alpha\\nbeta==2.0'))",
        "file.write_text(text.replace('==2.0', ''))",
    )
    assert "2 packages" in edit_terminal.edit_file(path, around)
    first, second, third = typist.seen
    assert first == ""
    assert second.startswith('# uv-argo: study.requirements.txt, line 4, character 7: "=" is not a comparison')
    assert second.split("\n")[3] == "alpha = 1"
    assert third.startswith("# uv-argo: The requirements conflict")
    assert path.read_text(encoding="utf-8") == "alpha\nbeta\n"


def test_giving_up_loses_nothing(around, path, typist, capsys):
    path.write_text("alpha\n", encoding="utf-8")
    typist.will("file.write_text('alpha = 1\\n')")
    assert cli.main(["edit", str(path)]) == 2
    assert "Your text is in study.requirements.txt.rejected" in capsys.readouterr().err
    assert path.read_text(encoding="utf-8") == "alpha\n"
    assert path.with_name("study.requirements.txt.rejected").read_text(encoding="utf-8") == "alpha = 1\n"


def test_what_cannot_be_resolved_is_saved_all_the_same(around, path, typist):
    typist.will("file.write_text('alpha\\nbeta==2.0\\n')")
    with pytest.raises(ResolutionError, match="requirements conflict"):
        edit_terminal.edit_file(path, around)
    assert path.read_text(encoding="utf-8") == "alpha\nbeta==2.0\n"
    assert len(typist.seen) == 2


def test_a_file_that_changed_meanwhile_is_kept(around, path, typist):
    typist.will(f"file.write_text('alpha\\n'); open({str(path)!r}, 'w').write('theirs\\n')")
    with pytest.raises(SpecError, match="changed by another program"):
        edit_terminal.edit_file(path, around)
    assert path.read_text(encoding="utf-8") == "theirs\n"
    assert path.with_name("study.requirements.txt.rejected").read_text(encoding="utf-8") == "alpha\n"


def test_what_was_typed_before_the_editor_failed_is_kept(around, path, typist):
    typist.will("file.write_text('alpha = 1\\n')", "raise SystemExit(1)")
    with pytest.raises(SpecError, match="exited with status 1") as caught:
        edit_terminal.edit_file(path, around)
    assert "Your text is in study.requirements.txt.rejected" in caught.value.hint
    assert path.with_name("study.requirements.txt.rejected").read_text(encoding="utf-8") == "alpha = 1\n"


def test_an_editor_that_is_no_person_ends(around, path, monkeypatch):
    monkeypatch.setattr(edit_terminal, "TRIES", 3)
    monkeypatch.setenv("VISUAL", shlex.join([sys.executable, "-c", "import sys; open(sys.argv[1], 'a').write('=')"]))
    path.write_text("alpha", encoding="utf-8")
    with pytest.raises(SpecError, match="after 3 edits"):
        edit_terminal.edit_file(path, around)
    assert path.read_text(encoding="utf-8") == "alpha"


def test_an_editor_that_fails_or_is_not_there(around, path, monkeypatch):
    monkeypatch.setenv("VISUAL", f"{sys.executable} -c 'raise SystemExit(3)'")
    with pytest.raises(SpecError, match="exited with status 3"):
        edit_terminal.edit_file(path, around)
    monkeypatch.setenv("VISUAL", "no-such-editor")
    with pytest.raises(SpecError, match="cannot run no-such-editor"):
        edit_terminal.edit_file(path, around)
    monkeypatch.delenv("VISUAL")
    monkeypatch.delenv("EDITOR", raising=False)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(SpecError, match="no editor"):
        edit_terminal.edit_file(path, around)
    assert not path.exists()
