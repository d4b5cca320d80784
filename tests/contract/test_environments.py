"""Kinds of environments: one in the store for all, one that goes with its run, and a venv that stays."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from support import guest_process
from support.index_server import IndexServer
from uv import find_uv_bin

from uv_argo_magic import InstallFailed, SpecError, cli, submit
from uv_argo_magic._os import paths
from uv_argo_magic.core.spec import containerfile

WHERE = "import sys, alpha\nprint(sys.prefix)\nprint(alpha.__file__)"
WAIT = "import pathlib, time\nwhile not pathlib.Path({file!r}).exists():\n    time.sleep(0.01)"


@pytest.fixture(scope="module")
def index():
    with IndexServer() as server:
        server.add(
            "alpha", "1.0", files={"alpha.py": "def main(): print('alpha runs')"}, scripts={"alpha": "alpha:main"}
        )
        server.add("beta", "1.0", files={"beta.py": "x = 1"})
        server.add("gamma", "1.0", files={"gamma.py": "x = 1"})
        server.add("delta", "1.0", files={"delta.py": "x = 1"})
        yield server


def lines(done):
    return done.logs().splitlines()


def test_a_persistent_environment_is_a_venv_that_stays(cell, tmp_path):
    path = tmp_path / "results" / ".venv"
    first = cell(WHERE, venv=str(path))
    assert lines(first) == [str(path), str(next(path.glob("lib/python3.*/site-packages/alpha.py")))]
    assert not first.state.installed.cached
    assert f"stays at {path}. To use it again: --set venv={path}" in "".join(first.state.notes)
    again = cell("import subprocess\nprint(subprocess.run('alpha', stdout=-1, text=True).stdout)", venv=str(path))
    assert lines(again) == ["alpha runs", ""]
    assert again.state.installed.cached
    assert not again.state.notes
    # Without requirements it is taken as it is.
    assert lines(cell(WHERE, deps=[], venv=str(path)))[0] == str(path)


def test_what_a_cell_installs_into_a_persistent_environment_stays(cell, tmp_path, index):
    path = tmp_path / "venv"
    install = (
        "import subprocess, sys\n"
        f"subprocess.run([{sys.executable!r}, '-m', 'uv', 'pip', 'install', '-q', '--python', sys.executable,"
        f" '--index-url', {index.url!r}, 'beta'], check=True)"
    )
    cell(install, venv=str(path))
    later = cell("import beta\nprint(beta.__file__)", venv=str(path))
    assert lines(later) == [str(next(path.glob("lib/python3.*/site-packages/beta.py")))]
    assert ("beta", "1.0") in later.state.installed.packages


def test_a_persistent_environment_has_a_folder_of_the_cache_without_a_path(cell):
    done = cell(WHERE, env="persistent")
    assert lines(done)[0] == str(paths.cache_dir() / "venvs" / done.id)


def test_an_environment_with_another_lock_is_refused(cell, tmp_path):
    path = tmp_path / "venv"
    cell("", venv=str(path))
    with pytest.raises(
        InstallFailed, match=r"was made for other requirements: its lock is \w{12}, and this is"
    ) as caught:
        cell("", deps="beta", venv=str(path))
    assert "--set venv=PATH" in caught.value.hint
    assert cell("import alpha", venv=str(path)).status == "Succeeded"


def test_an_environment_of_another_python_is_refused(cell, tmp_path):
    path = tmp_path / "venv"
    cell("", venv=str(path))
    mark = path / "uv-argo.json"
    mark.write_text(json.dumps(json.loads(mark.read_text()) | {"python": ["3.8", "/usr/bin/python3.8"]}))
    with pytest.raises(InstallFailed, match=r"was made for Python 3\.8 at /usr/bin/python3\.8, and this is Python 3"):
        cell("", venv=str(path))


@pytest.mark.parametrize("content", ["folder", "broken mark"])
def test_a_folder_of_anothers_is_left_alone(cell, tmp_path, content):
    path = tmp_path / "mine"
    path.mkdir()
    (path / "thesis.txt").write_text("x")
    if content == "broken mark":
        (path / "uv-argo.json").write_text("{}")
    with pytest.raises(InstallFailed, match="mine exists and is not an environment of uv-argo-magic"):
        cell("", venv=str(path))
    assert (path / "thesis.txt").read_text() == "x"


def test_one_run_at_a_time_uses_a_persistent_environment(cell, tmp_path):
    path, done = tmp_path / "venv", tmp_path / "done"
    cell("", venv=str(path))
    Path(f"{path}.lock").write_text("")
    first = cell(WAIT.format(file=str(done)), venv=str(path), start=submit)
    while "process" not in Path(f"{path}.lock").read_text():
        first.wait(0.01)
    with pytest.raises(InstallFailed, match=r"venv is in use by process \d+ on "):
        cell("", venv=str(path))
    done.touch()
    first.result(30)
    assert cell("", venv=str(path)).status == "Succeeded"


def test_a_failed_install_leaves_no_environment(cell, tmp_path, index):
    path = tmp_path / "venv"
    index.misbehave("gamma", "404", where="file")
    try:
        with pytest.raises(InstallFailed):
            cell("", deps="gamma", venv=str(path))
    finally:
        index.misbehave("gamma", "", where="file")
    assert [item.name for item in tmp_path.glob("venv*")] == ["venv.lock"]
    assert cell("import gamma", deps="gamma", venv=str(path)).status == "Succeeded"


@pytest.mark.slow
def test_an_install_is_tried_again_where_the_index_did_not_answer(cell, index, monkeypatch):
    monkeypatch.setenv("UV_HTTP_RETRIES", "1")
    index.add("zeta", "1.0", files={"zeta.py": ""})
    index.misbehave("zeta", "503", where="file")
    run = cell("import zeta", deps="zeta", start=submit)
    while not run.state.notes:
        run.wait(0.05)
    assert run.state.notes == ("The package index did not respond. Retrying in 5 seconds.",)
    index.misbehave("zeta", "", where="file")
    run.result(60)


def test_other_failures_of_an_install_are_final(cell, index, monkeypatch):
    monkeypatch.setenv("UV_HTTP_RETRIES", "1")
    index.add("eta", "1.0", files={"eta.py": ""})
    index.misbehave("eta", "404", where="file")
    with pytest.raises(InstallFailed) as caught:
        cell("import eta", deps="eta")
    assert caught.value.state.notes == ()


def test_what_a_killed_build_left_is_removed(cell, tmp_path):
    left = tmp_path / "venv.building-old" / "site"
    left.mkdir(parents=True)
    cell("import alpha", venv=str(tmp_path / "venv"))
    assert not left.parent.exists()


def test_an_ephemeral_environment_goes_with_its_run(cell):
    first = cell(WHERE, env="ephemeral")
    prefix, file = lines(first)
    assert Path(file).is_relative_to(Path(prefix).parent)
    assert not Path(prefix).exists()
    assert not (paths.cache_dir() / "store" / "trees").exists()
    assert not cell(WHERE, env="ephemeral").state.installed.cached
    assert not cell(WHERE, env="shared").state.installed.cached
    assert cell(WHERE).state.installed.cached


def test_runs_that_need_the_same_new_environment_build_it_once(cell, index):
    done = [cell("import delta", deps="delta", start=submit) for _ in range(6)]
    for one in done:
        one.result(60)
    assert [one.state.installed.cached for one in done].count(False) == 1
    assert sum("delta-1.0" in path and path.endswith(".whl") for path in index.requests) == 1


def test_a_session_has_no_persistent_environment(cell, tmp_path):
    from uv_argo_magic.core.commands.table import read_cell, run_options
    from uv_argo_magic.engine.context import CellContext
    from uv_argo_magic.engine.spec_builder import specify
    from uv_argo_magic.sessions.session import open_session

    context = CellContext.current(names={}, traits={}, line_offset=0)
    options = run_options(read_cell("-s --set env=persistent", {}))
    session = open_session("main", context)
    with pytest.raises(SpecError, match="a session cannot use a persistent environment"):
        specify("1", options, context, None, session)


def test_packages_come_from_a_folder_of_wheels(cell, index, tmp_path):
    (tmp_path / "wheels").mkdir()
    file = index.add("epsilon", "1.0", files={"epsilon.py": ""})
    (tmp_path / "wheels" / file.filename).write_bytes(file.body)
    index.remove("epsilon")
    done = cell("import epsilon", deps="epsilon", find_links=["wheels"], offline=True)
    assert done.state.installed.packages == (("epsilon", "1.0"),)
    with pytest.raises(SpecError, match="nowhere, which is not a folder"):
        cell("", find_links=["nowhere"])


def test_an_environment_of_the_image_is_used(cell, tmp_path, index):
    lock = cell("").resolution
    (tmp_path / "lock.txt").write_text("\n".join(lock.lines))
    subprocess.run(
        [guest_process.BASE, "-I", "-c", containerfile.SCRIPT, tmp_path / "image", lock.key, tmp_path / "lock.txt"],
        env=os.environ | {"UV_DEFAULT_INDEX": index.url, "PATH": f"{Path(find_uv_bin()).parent}:{os.environ['PATH']}"},
        check=True,
    )
    (site,) = tmp_path.glob(f"image/trees/{lock.key}/site")
    assert list(site.glob("__pycache__/alpha.*.pyc"))
    guest = guest_process.begin(tmp_path, WHERE, resolution=lock, env={"UV_ARGO_BAKED": str(tmp_path / "image")})
    state = guest.state()
    assert guest_process.text_of(state).splitlines()[1] == str(site / "alpha.py")
    assert state.installed.cached


def output_of(capsys, *words, status=0):
    capsys.readouterr()
    assert cli.main(["env", *words]) == status
    return "".join(capsys.readouterr())


def test_environments_are_installed_ahead_listed_and_removed(cell, capsys, index, monkeypatch):
    monkeypatch.setenv("UV_ARGO_INDEX_URL", index.url)
    assert output_of(capsys) == "No environments in the store of this machine.\n"
    assert "Installed 1 package in " in output_of(capsys, "warm", "--deps", "alpha")
    assert "already has the environment" in output_of(capsys, "warm", "--deps", "alpha")
    assert cell("import alpha").state.installed.cached
    cell("import beta", deps="beta", env="persistent")
    listed = output_of(capsys)
    (key,) = [line.split()[0] for line in listed.splitlines() if " alpha " in line]
    assert "2 environments, " in listed
    (site,) = Path(paths.cache_dir()).glob(f"store/trees/{key}*/site")
    # The packages were imported once, so that their byte code is there.
    assert list(site.glob("__pycache__/alpha.*.pyc"))
    details = output_of(capsys, "show", key)
    assert "alpha    1.0" in details
    assert str(site) in details
    assert "Nothing to remove" in output_of(capsys, "prune", "--older-than", "1d")
    assert "Would remove 1 environment, " in output_of(capsys, "prune", "--keep", "0", "--dry-run")
    assert "Removed 1 environment, " in output_of(capsys, "prune", key)
    assert not site.exists()
    # Only the persistent one is left.
    assert "1 environment, " in output_of(capsys, "list")


def test_an_environment_in_use_is_not_removed(cell, capsys, tmp_path):
    done = tmp_path / "done"
    first = cell("import alpha\n" + WAIT.format(file=str(done)), start=submit)
    while first.state.installed is None or first.state.phase != "running":
        first.wait(0.01)
    assert "  now" in output_of(capsys)
    assert "Nothing to remove" in output_of(capsys, "prune", "--keep", "0")
    done.touch()
    first.result(30)
    assert "Removed 1 environment" in output_of(capsys, "prune", "--keep", "0")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["bogus"], "unknown action bogus"),
        (["show"], "env show needs one environment"),
        (["show", "abc"], "no environments match abc"),
        (["prune"], "env prune needs a limit or the keys of environments"),
        (["prune", "--keep", "many"], "--keep needs an integer, not many"),
        (["prune", "--older-than", "old"], "--older-than needs a time, not old"),
        (["prune", "--max-size", "1 elephant"], "--max-size needs a size, not 1 elephant"),
        (["prune", "abc"], "no environments match abc"),
        (["warm"], "env warm needs requirements"),
        (["list", "--keep", "1"], "--keep belongs to env prune, not env list"),
        (["list", "x"], "env list takes no argument, but got x"),
        (["list", "-b", "argo"], "the argo backend has no store"),
        (["warm", "--keep", "1"], "--keep belongs to env prune, not env warm"),
    ],
)
def test_a_request_that_is_wrong_is_refused(cell, capsys, words, message):
    assert message in output_of(capsys, *words, status=2)


def test_an_image_is_baked_for_the_lock_of_a_cluster(cell, capsys, index, monkeypatch, tmp_path):
    monkeypatch.setenv("UV_ARGO_INDEX_URL", index.url)

    def bake(*words, status=0):
        capsys.readouterr()
        assert cli.main(["bake", *words]) == status
        return "".join(capsys.readouterr())

    line = ["-b", "argo", "--deps", "alpha", "--python", "3.12"]
    assert "alpha==1.0 --hash=sha256:" in bake(*line)
    assert "Written: Containerfile" in bake(*line, "--to", "Containerfile")
    assert bake(*line) == (tmp_path / "Containerfile").read_text()
    assert "Written: Containerfile" in bake(*line, "--to", "Containerfile")
    (tmp_path / "Containerfile").write_text("FROM scratch\n")
    assert "was not written by uv-argo-magic" in bake(*line, "--to", "Containerfile", status=2)
    (tmp_path / "file").touch()
    assert "cannot write" in bake(*line, "--to", "file/Containerfile", status=2)
    assert "the local backend runs cells without an image" in bake("--deps", "alpha", status=2)
