"""`%argo lock`, `%%argo --upgrade` and `--set locked=true` in a shell, with the real engine and a test index."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from IPython.utils.capture import capture_output

from uv_argo_magic.errors import ResolutionError, SpecError
from uv_argo_magic.history.store import History


@pytest.fixture
def argo(shell, index):
    """`argo("lock --deps alpha")`: the text output of the command."""
    shell.user_ns["__session__"] = "a.ipynb"

    def run_line(line):
        with capture_output() as captured:
            shell.run_line_magic("argo", line)
        (output,) = captured.outputs
        assert "<table" in output.data["text/html"] or "no changes" in output.data["text/html"]
        return output.data["text/plain"].splitlines()

    return run_line


def run(shell, line, cell="import alpha; print(alpha.__version__)"):
    with capture_output() as captured:
        shell.run_cell_magic("argo", line, cell)
    return captured.stdout


def test_lock_lists_packages_and_writes_the_lock(argo, tmp_path, monkeypatch):
    lines = argo("lock --deps alpha --to pylock.toml")
    assert [line.split() for line in lines[:3]] == [
        ["PACKAGE", "VERSION", "SIZE", "CACHED", "REQUIRED", "BY"],
        ["alpha", "1.0", "917", "B", "requested"],
        ["beta", "1.0", "884", "B", "alpha"],
    ]
    assert lines[1].startswith("alpha")
    assert lines[2].startswith("  beta")
    assert lines[3].startswith("2 packages for Python 3.")
    assert lines[5].startswith("resolved just now by uv ")
    assert lines[6] == "Wrote pylock.toml."
    packages = tomllib.loads((tmp_path / "pylock.toml").read_text())["packages"]
    assert [package["name"] for package in packages] == ["alpha", "beta"]
    assert "Wrote needs.txt." in argo("lock --deps alpha --to needs.txt")
    assert "--hash=sha256:" in (tmp_path / "needs.txt").read_text()
    monkeypatch.setenv("HOME", str(tmp_path))
    argo("lock --deps alpha --to ~/home.txt")
    assert (tmp_path / "home.txt").exists()
    for name in ("needs.txt", "pylock.toml"):
        assert argo(f"lock {name}")[:3] == argo(f"lock -r {name}")[:3]
    monkeypatch.setenv("HOME", str(tmp_path / "user"))
    assert "Wrote ~/needs.txt." in argo("lock --deps alpha --to ~/needs.txt")
    assert (tmp_path / "user" / "needs.txt").exists()


def test_versions_change_only_with_an_upgrade(shell, index, argo):
    assert run(shell, "--deps alpha") == "1.0\n"
    index.add("alpha", "2.0", requires=["gamma"])
    index.add("gamma", "1.0")
    assert run(shell, "--deps alpha") == "1.0\n"
    assert argo("lock")[0].endswith(": alpha")
    changes = ["CHANGE   PACKAGE  BEFORE  AFTER", "newer    alpha    1.0     2.0", "removed  beta     1.0     -",
               "added    gamma    -       1.0"]  # fmt: skip
    *lines, locks, note = argo("lock --upgrade --dry-run")
    assert (lines, note) == (["An upgrade", *changes], "Nothing was stored (--dry-run).")
    assert locks.startswith("From lock ")
    assert "alpha==2.0" in run(shell, "--deps alpha --upgrade --dry-run")
    assert run(shell, "--deps alpha --set locked=true") == "1.0\n"
    assert argo("lock --upgrade")[1:-2] == changes
    assert run(shell, "--deps alpha --set locked=true") == "2.0\n"
    assert argo("lock --upgrade")[0] == "An upgrade: no changes"
    index.add("alpha", "3.0")
    assert run(shell, "--deps alpha --upgrade") == "3.0\n"
    newest, *_, oldest = [line.split()[0] for line in shell_lines(shell, "runs")[1:]]
    assert argo(f"lock local-{oldest}")[0].startswith(f"{oldest}: alpha")
    assert argo(f"packages {oldest} {newest}")[1:3] == [*changes[:1], "newer    alpha    1.0     3.0"]
    assert [line.split()[:2] for line in argo("packages")[:2]] == [["PACKAGE", "VERSION"], ["alpha", "3.0"]]


def test_resolution_settings_are_stored_with_the_run(shell, argo, tmp_path):
    settings = {"constraints": ("beta<2",), "overrides": ("beta==1.0",), "exclude_newer": "30 days",
              "prerelease": "allow", "resolution": "lowest"}  # fmt: skip
    line = "--set constraints=beta<2 --set overrides=beta==1.0 --set prerelease=allow --set resolution=lowest"
    run(shell, line + ' --set exclude_newer="30 days" --deps alpha')
    history = History(tmp_path / "home" / "data" / "runs")
    entry = history.last()
    assert {key: getattr(entry.spec().settings, key) for key in settings} == settings
    output = " ".join("\n".join(shell_lines(shell, "last")).split())
    assert f"lock {entry.lock().key}: 2 packages, uv {entry.lock().uv}" in output
    assert f"python {entry.lock().target.python}" in output
    assert argo("lock --upgrade")[0] == "An upgrade: no changes"


def shell_lines(shell, line):
    with capture_output() as captured:
        shell.run_line_magic("argo", line)
    return [text for output in captured.outputs for text in output.data["text/plain"].splitlines()]


def test_locked_requires_an_existing_lock(shell, index, argo):
    with pytest.raises(ResolutionError, match="there is no lock for"):
        run(shell, "--deps alpha --set locked=true")
    assert index.requests == []
    argo("lock --deps alpha")
    assert run(shell, "--deps alpha --set locked=true") == "1.0\n"


def test_unavailable_index_falls_back_to_earlier_versions(shell, index, argo):
    assert run(shell, "--deps alpha") == "1.0\n"
    index.misbehave("alpha", "503")
    with capture_output() as captured:
        shell.run_cell_magic("argo", "--deps alpha --upgrade", "import alpha")
    assert "Using the versions of 20" in captured.outputs[0].data["text/plain"]
    with pytest.raises(ResolutionError, match="503"):
        argo("lock --upgrade")


@pytest.mark.parametrize(("line", "cell"), [('--deps "alpha<9"', "import alpha"), ("", "%pip install alpha")])
def test_unavailable_index_fails_before_a_run_on_this_machine(shell, index, tmp_path, line, cell):
    index.misbehave("alpha", "503")
    with capture_output() as captured, pytest.raises(ResolutionError, match="503") as caught:
        shell.run_cell_magic("argo", line, cell)
    assert caught.value.hint
    assert "pod" not in str(captured.outputs) + captured.stdout + captured.stderr
    assert not History(tmp_path / "home" / "data" / "runs").list()


def test_lock_rejects_invalid_arguments(shell, argo, tmp_path):
    with pytest.raises(SpecError, match="a run or requirements, not both"):
        argo("lock r1 --deps alpha")
    with pytest.raises(SpecError, match=r"cannot infer the lock format from lock\.json"):
        argo("lock --deps alpha --to lock.json")
    with pytest.raises(SpecError, match=r"cannot infer the lock format from \."):
        argo("lock --deps alpha --to .")
    Path(tmp_path / "folder.txt").mkdir()
    with pytest.raises(SpecError, match=r"cannot write folder\.txt: "):
        argo("lock --deps alpha --to folder.txt")
    with pytest.raises(SpecError, match="no such run: nope"):
        argo("lock nope")
