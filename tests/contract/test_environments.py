"""Kinds of environments: shared in the store, ephemeral, and a persistent venv."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from support import guest_process
from support.index_server import IndexServer
from support.waiting import until
from uv import find_uv_bin

from uv_argo_magic import InstallFailed, SpecError, cli, submit
from uv_argo_magic._os import paths
from uv_argo_magic.commands import environments
from uv_argo_magic.core.resolution import base_packages as bases
from uv_argo_magic.core.resolution.lock import Unresolved
from uv_argo_magic.core.spec import containerfile
from uv_argo_magic.engine.preparation import image_probe, prepare
from uv_argo_magic.uv import resolver

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


def output_lines(run):
    return run.logs().splitlines()


def test_persistent_environment_is_reused(run_cell, tmp_path):
    path = tmp_path / "results" / ".venv"
    first = run_cell(WHERE, venv=str(path))
    assert output_lines(first) == [str(path), str(next(path.glob("lib/python3.*/site-packages/alpha.py")))]
    assert not first.state.installed.cached
    assert f"stays at {path}. To use it again: --set venv={path}" in "".join(first.state.notes)
    second = run_cell("import subprocess\nprint(subprocess.run('alpha', stdout=-1, text=True).stdout)", venv=str(path))
    assert output_lines(second) == ["alpha runs", ""]
    assert second.state.installed.cached
    assert not second.state.notes
    # Without requirements, it is used as it is.
    assert output_lines(run_cell(WHERE, deps=[], venv=str(path)))[0] == str(path)


def test_persistent_environment_keeps_packages_that_a_cell_adds(run_cell, tmp_path, index):
    path = tmp_path / "venv"
    install = (
        "import subprocess, sys\n"
        f"subprocess.run([{sys.executable!r}, '-m', 'uv', 'pip', 'install', '-q', '--python', sys.executable,"
        f" '--index-url', {index.url!r}, 'beta'], check=True)"
    )
    run_cell(install, venv=str(path))
    run = run_cell("import beta\nprint(beta.__file__)", venv=str(path))
    assert output_lines(run) == [str(next(path.glob("lib/python3.*/site-packages/beta.py")))]
    assert ("beta", "1.0") in run.state.installed.packages


def test_persistent_environment_without_path_is_in_cache(run_cell):
    run = run_cell(WHERE, env="persistent")
    assert output_lines(run)[0] == str(paths.cache_dir() / "venvs" / run.id)


def test_persistent_environment_with_other_lock_is_refused(run_cell, tmp_path):
    path = tmp_path / "venv"
    run_cell("", venv=str(path))
    with pytest.raises(
        InstallFailed, match=r"was made for other requirements: its lock is \w{12}, and this is"
    ) as caught:
        run_cell("", deps="beta", venv=str(path))
    assert "--set venv=PATH" in caught.value.hint
    assert run_cell("import alpha", venv=str(path)).status == "Succeeded"


def test_persistent_environment_of_other_python_is_refused(run_cell, tmp_path):
    path = tmp_path / "venv"
    run_cell("", venv=str(path))
    marker = path / "uv-argo.json"
    marker.write_text(json.dumps(json.loads(marker.read_text()) | {"python": ["3.8", "/usr/bin/python3.8"]}))
    with pytest.raises(InstallFailed, match=r"was made for Python 3\.8 at /usr/bin/python3\.8, and this is Python 3"):
        run_cell("", venv=str(path))


@pytest.mark.parametrize("content", ["folder", "invalid marker"])
def test_folder_that_is_not_an_environment_is_refused(run_cell, tmp_path, content):
    path = tmp_path / "mine"
    path.mkdir()
    (path / "thesis.txt").write_text("x")
    if content == "invalid marker":
        (path / "uv-argo.json").write_text("{}")
    with pytest.raises(InstallFailed, match="mine exists and is not an environment of uv-argo-magic"):
        run_cell("", venv=str(path))
    assert (path / "thesis.txt").read_text() == "x"
    assert sorted(item.name for item in tmp_path.iterdir() if "mine" in item.name) == ["mine"]


@pytest.mark.parametrize("name", ["poetry", "uv"])
def test_files_of_other_tools_are_never_changed(run_cell, tmp_path, name):
    path, lock = tmp_path / name, tmp_path / f"{name}.lock"
    build = tmp_path / f"{name}.building-plan"
    build.mkdir()
    path.mkdir()
    lock.write_text("# lock\n")
    with pytest.raises(InstallFailed, match="exists and is not an environment"):
        run_cell("", venv=str(path))
    path.rmdir()
    assert run_cell("import alpha", venv=str(path)).status == "Succeeded"
    assert lock.read_text() == "# lock\n"
    assert build.is_dir()
    assert run_cell("import alpha", venv=str(path)).state.installed.cached


def test_persistent_environment_can_have_spaces_in_its_path(run_cell, tmp_path):
    path = tmp_path / "my results"
    path.mkdir()
    with pytest.raises(InstallFailed, match="my results exists and is not an environment") as caught:
        run_cell("", venv=str(path))
    assert "--set venv=PATH" in caught.value.hint


def test_persistent_environment_with_a_space_in_its_path_is_named_for_the_shell(run_cell, tmp_path):
    path = tmp_path / "my data" / "venv"
    assert f"To use it again: --set venv='{path}'" in "".join(run_cell("", venv=str(path)).state.notes)


def test_persistent_environment_that_cannot_be_created_names_the_user(run_cell, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InstallFailed, match=rf"file/venv cannot be created: .+ \(user {os.getuid()}\)") as caught:
        run_cell("", venv=str(tmp_path / "file" / "venv"))
    assert caught.value.hint.startswith("Give this user write access")


def test_persistent_environment_in_use_is_refused(run_cell, tmp_path):
    path, gate = tmp_path / "venv", tmp_path / "done"
    run_cell("", venv=str(path))
    first = run_cell(WAIT.format(file=str(gate)), venv=str(path), start=submit)
    until(lambda: first.state.phase == "running")
    with pytest.raises(InstallFailed, match=rf"venv is in use by run {first.id}\."):
        run_cell("", venv=str(path))
    gate.touch()
    first.result(30)
    assert run_cell("", venv=str(path)).status == "Succeeded"


def test_failed_install_leaves_no_environment(run_cell, tmp_path, index):
    path = tmp_path / "venv"
    index.misbehave("gamma", "404", where="file")
    try:
        with pytest.raises(InstallFailed):
            run_cell("", deps="gamma", venv=str(path))
    finally:
        index.misbehave("gamma", "", where="file")
    assert [item.name for item in tmp_path.glob("venv*")] == []
    assert [item.name for item in tmp_path.glob(".*venv*")] == [".uv-argo-venv.lock"]
    assert run_cell("import gamma", deps="gamma", venv=str(path)).status == "Succeeded"


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["503", "truncated"])
def test_install_is_retried_if_download_fails(run_cell, index, monkeypatch, fault):
    monkeypatch.setenv("UV_HTTP_RETRIES", "1")
    index.add("zeta", "1.0", files={"zeta.py": ""})
    index.misbehave("zeta", fault, where="file")
    run = run_cell("import zeta", deps="zeta", start=submit)
    while not run.state.notes:
        run.wait(0.05)
    assert run.state.notes == ("The packages could not be downloaded. Retrying in 5 seconds.",)
    index.misbehave("zeta", "", where="file")
    run.result(60)


def test_other_install_failures_are_not_retried(run_cell, index, monkeypatch):
    monkeypatch.setenv("UV_HTTP_RETRIES", "1")
    index.add("eta", "1.0", files={"eta.py": ""})
    index.misbehave("eta", "404", where="file")
    with pytest.raises(InstallFailed) as caught:
        run_cell("import eta", deps="eta")
    assert caught.value.state.notes == ()


def test_leftovers_of_killed_install_are_removed(run_cell, tmp_path):
    leftover = tmp_path / ".uv-argo-venv.building-0a1b" / "site"
    leftover.mkdir(parents=True)
    run_cell("import alpha", venv=str(tmp_path / "venv"))
    assert not leftover.parent.exists()


def test_ephemeral_environment_is_removed_after_run(run_cell):
    first = run_cell(WHERE, env="ephemeral")
    prefix, file = output_lines(first)
    assert Path(file).is_relative_to(Path(prefix).parent)
    assert not Path(prefix).exists()
    assert not (paths.cache_dir() / "store" / "trees").exists()
    assert not run_cell(WHERE, env="ephemeral").state.installed.cached
    assert not run_cell(WHERE, env="shared").state.installed.cached
    assert run_cell(WHERE).state.installed.cached


def test_concurrent_runs_install_environment_once(run_cell, index):
    runs = [run_cell("import delta", deps="delta", start=submit) for _ in range(6)]
    for run in runs:
        run.result(60)
    assert [run.state.installed.cached for run in runs].count(False) == 1
    assert sum("delta-1.0" in path and path.endswith(".whl") for path in index.requests) == 1


def test_waiting_run_uses_new_environment_without_its_lock(run_cell, tmp_path):
    run = run_cell("", deps="delta")
    store, key = paths.cache_dir() / "store", run.resolution.key
    tree = (store / "trees" / key).rename(tmp_path / "tree")
    with (store / "locks" / key).open("a+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        waiting = run_cell("", deps="delta", start=submit)
        until(lambda: waiting.state.notes)
        tree.rename(store / "trees" / key)
        waiting.result(60)
    assert waiting.state.installed.cached
    assert waiting.state.notes == ("Waiting for the install of another run.",)


def test_run_waits_for_installs_of_other_runs(run_cell):
    folder = paths.cache_dir() / "store" / "locks"
    folder.mkdir(parents=True)
    with contextlib.ExitStack() as locks:
        for number in range(max(2, os.cpu_count())):
            fcntl.flock(locks.enter_context((folder / f"build-{number}").open("a+")), fcntl.LOCK_EX)
        waiting = run_cell("import alpha", start=submit)
        until(lambda: waiting.state.notes)
    waiting.result(60)
    assert waiting.state.notes == ("Waiting for the install of another run.",)


def test_persistent_environment_is_refused_for_sessions(run_cell, tmp_path):
    from uv_argo_magic.core.commands.run_options import run_options
    from uv_argo_magic.core.commands.table import read_cell
    from uv_argo_magic.engine.context import CellContext
    from uv_argo_magic.engine.preparation.spec_builder import specify
    from uv_argo_magic.sessions.session import open_session

    context = CellContext.current(names={}, traits={}, line_offset=0)
    options = run_options(read_cell("-s --set env=persistent", {}))
    session = open_session("main", context)
    with pytest.raises(SpecError, match="a session cannot use a persistent environment"):
        specify("1", options, context, None, session)


def test_packages_are_installed_from_find_links_folder(run_cell, index, tmp_path):
    (tmp_path / "wheels").mkdir()
    wheel = index.add("epsilon", "1.0", files={"epsilon.py": ""})
    (tmp_path / "wheels" / wheel.filename).write_bytes(wheel.body)
    index.remove("epsilon")
    run = run_cell("import epsilon", deps="epsilon", find_links=["wheels"], offline=True)
    assert run.state.installed.packages == (("epsilon", "1.0"),)
    with pytest.raises(SpecError, match="nowhere, which is not a folder"):
        run_cell("", find_links=["nowhere"])


def test_environment_in_image_is_used(run_cell, tmp_path, index):
    lock = run_cell("").resolution
    (tmp_path / "lock.txt").write_text("\n".join(lock.lines))
    subprocess.run(
        [guest_process.BASE, "-I", "-c", containerfile.SCRIPT, tmp_path / "image", lock.key, tmp_path / "lock.txt"],
        env=os.environ | {"UV_DEFAULT_INDEX": index.url, "PATH": f"{Path(find_uv_bin()).parent}:{os.environ['PATH']}"},
        check=True,
    )
    (site,) = tmp_path.glob(f"image/trees/{lock.key}/site")
    assert list(site.glob("__pycache__/alpha.*.pyc"))
    guest = guest_process.start_guest(tmp_path, WHERE, resolution=lock, env={"UV_ARGO_BAKED": str(tmp_path / "image")})
    state = guest.state()
    assert guest_process.text_of(state).splitlines()[1] == str(site / "alpha.py")
    assert state.installed.cached


def run_env(capsys, *arguments, status=0):
    capsys.readouterr()
    assert cli.main(["env", *arguments]) == status
    return "".join(capsys.readouterr())


def test_env_commands_warm_list_show_and_prune(run_cell, capsys, index, monkeypatch):
    monkeypatch.setenv("UV_ARGO_INDEX_URL", index.url)
    assert run_env(capsys) == "No environments in the store of this machine.\n"
    assert "Installed 1 package in " in run_env(capsys, "warm", "--deps", "alpha")
    assert "already has the environment" in run_env(capsys, "warm", "--deps", "alpha")
    assert run_cell("import alpha").state.installed.cached
    run_cell("import beta", deps="beta", env="persistent")
    table = run_env(capsys)
    (key,) = [line.split()[0] for line in table.splitlines() if " alpha " in line]
    assert "2 environments, " in table
    (site,) = Path(paths.cache_dir()).glob(f"store/trees/{key}*/site")
    # `env warm` imports the packages, which compiles their byte code.
    assert list(site.glob("__pycache__/alpha.*.pyc"))
    details = run_env(capsys, "show", key)
    assert "alpha    1.0" in details
    assert str(site) in details
    assert "Nothing to remove" in run_env(capsys, "prune", "--older-than", "1d")
    assert "Would remove 1 environment (" in run_env(capsys, "prune", "--keep", "0", "--dry-run")
    assert "Removed 1 environment (" in run_env(capsys, "prune", key)
    assert not site.exists()
    # Only the persistent environment is left.
    assert "1 environment, " in run_env(capsys, "list")


@pytest.mark.parametrize("kind", ["ephemeral", "persistent"])
def test_env_warm_installs_into_the_store(run_cell, capsys, index, monkeypatch, kind):
    monkeypatch.setenv("UV_ARGO_INDEX_URL", index.url)
    monkeypatch.setenv("UV_ARGO_ENV", kind)
    assert "Installed 1 package in " in run_env(capsys, "warm", "--deps", "alpha")
    assert not (paths.cache_dir() / "venvs").exists()
    assert run_cell("import alpha", env="shared").state.installed.cached


def test_env_warm_shows_key_of_environment_resolved_in_the_pod(run_cell, capsys, index, monkeypatch):
    monkeypatch.setenv("UV_ARGO_INDEX_URL", index.url)
    monkeypatch.setattr(prepare, "_refuse_unresolved", lambda *_: None)  # as for a pod
    unresolved = Unresolved(lines=("alpha",), reason="the index did not respond")
    monkeypatch.setattr(resolver.Resolver, "lock", lambda *_, **__: unresolved)
    warmed = run_env(capsys, "warm", "--deps", "alpha")
    (tree,) = (paths.cache_dir() / "store" / "trees").iterdir()
    assert f"environment {tree.name[:12]} in" in warmed


@pytest.fixture
def remote_store(monkeypatch):
    """The `env` commands read the store of this machine with a run, like that of a cluster."""
    open_store = environments._StoreClient.__init__

    def open_remote(client, request):
        open_store(client, request)
        client.is_local = False

    monkeypatch.setattr(environments._StoreClient, "__init__", open_remote)


@pytest.mark.usefixtures("remote_store")
def test_env_commands_read_a_remote_store_in_a_cell(run_cell, capsys):
    run_cell("import alpha")
    (line,) = [line for line in run_env(capsys).splitlines() if " alpha " in line]
    key = line.split()[0]
    assert "1 environment" in run_env(capsys, "verify", key)
    assert "Removed 1 environment (" in run_env(capsys, "prune", key)


@pytest.mark.usefixtures("remote_store")
def test_env_commands_ignore_settings_for_the_users_cells(run_cell, capsys, monkeypatch, tmp_path):
    run_cell("import alpha")
    settings = {"env": "persistent", "venv": str(tmp_path / "mine"), "log_budget": "100", "run_timeout": "1ms"}
    for key, value in settings.items():
        monkeypatch.setenv(f"UV_ARGO_{key.upper()}", value)
    assert " alpha " in run_env(capsys)
    assert not list(tmp_path.glob("mine*"))


def test_env_list_and_show_name_the_user_of_the_last_run(run_cell, capsys, monkeypatch):
    for name, kind in (("ada", "shared"), ("bob", "persistent"), ("cyd", "shared")):
        monkeypatch.setenv("JUPYTERHUB_USER", name)
        run_cell("", env=kind)
    rows = run_env(capsys).splitlines()[1:-1]
    assert sorted(row.split()[-1] for row in rows) == ["bob", "cyd"]
    for row in rows:
        assert f" by {row.split()[-1]}." in run_env(capsys, "show", row.split()[0])


def test_env_prune_removes_persistent_environments_by_path_only(run_cell, capsys):
    for _ in range(2):
        run_cell("", env="persistent")
    first, second = sorted((paths.cache_dir() / "venvs").glob("*/"))
    assert run_env(capsys, "prune", "--keep", "0") == "Nothing to remove from the store of this machine.\n"
    assert "Would remove 1 environment (" in run_env(capsys, "prune", f"{first}/", "--dry-run")
    with first.with_name(f".uv-argo-{first.name}.lock").open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert f"{first} was not removed: a run uses it." in run_env(capsys, "prune", str(first), status=1)
    assert first.exists()
    assert "Removed 1 environment (" in run_env(capsys, "prune", str(first))
    assert sorted((paths.cache_dir() / "venvs").iterdir()) == [second.with_name(f".uv-argo-{second.name}.lock"), second]
    message = f"{second} is a persistent environment, which is not verified"
    assert message in run_env(capsys, "verify", str(second), status=2)


def test_each_environment_of_the_list_is_found_by_its_name(run_cell, capsys):
    run_cell("")
    for _ in range(2):
        run_cell("", env="persistent")
    (tree,) = (paths.cache_dir() / "store" / "trees").iterdir()
    with (tree / ".ok").open() as held:  # a session that keeps its changed environment
        fcntl.flock(held, fcntl.LOCK_SH)
        (tree / ".changed").touch()
        run_cell("")
        *rows, total, note = run_env(capsys).splitlines()[1:]
        names = [row.split()[0] for row in rows]
        assert total.startswith("4 environments")
        assert {tree.name[:12], f"{tree.name[:12]}-1"} < set(names)
        assert [" now (changed) " in row for row in rows].count(True) == 1
        assert note == f"Damaged, and removed by the next env prune: {tree.name[:12]}."
        for name in names:
            assert "alpha    1.0" in run_env(capsys, "show", name)
        assert "Damaged, and removed by the next env prune." in run_env(capsys, "show", tree.name)
        ambiguous = run_env(capsys, "show", tree.name[:6], status=2)
        assert f"2 environments match {tree.name[:6]}" in ambiguous
        assert f"Use a longer prefix; matches: {tree.name}-1, {tree.name}." in ambiguous
        assert "1 environment verified" in run_env(capsys, "verify", tree.name[:12])
    assert "Removed 1 environment (" in run_env(capsys, "prune", f"{tree.name[:12]}-1")


@pytest.mark.usefixtures("remote_store")
def test_env_prune_removes_uvs_cache_of_a_store(run_cell, capsys, monkeypatch):
    monkeypatch.setenv("PATH", f"{Path(find_uv_bin()).parent}:{os.environ['PATH']}")
    folder = paths.cache_dir() / "store" / "uv-cache"
    (folder / "wheels-v5").mkdir(parents=True)
    (folder / "CACHEDIR.TAG").write_text("Signature: 8a477f597d28d172789f06886806bc55")
    (folder / "wheels-v5" / "alpha.whl").write_bytes(b"x" * 2_000_000)
    assert "; uv's cache: 2.0 MB." in run_env(capsys)
    assert run_env(capsys, "prune", "--cache", "--dry-run").startswith("Would remove uv's cache (2.0 MB) from ")
    assert run_env(capsys, "prune", "--keep", "9", "--cache").startswith("Removed uv's cache (2.0 MB) from ")
    assert not (folder / "wheels-v5").exists()
    assert run_env(capsys, "prune", "--cache").startswith("Nothing to remove from ")
    monkeypatch.setenv("UV_ARGO_CACHE", "claim/other")
    message = "uv's cache is not in the store, but in claim/other"
    assert message in run_env(capsys, "prune", "--cache", status=2)


@pytest.mark.parametrize("record", ["", "null", "{}"])
def test_environment_with_damaged_record_is_installed_again(run_cell, capsys, record):
    key = run_cell("import alpha").resolution.key
    mark = paths.cache_dir() / "store" / "trees" / key / ".ok"
    mark.write_text(record)
    assert f"Damaged, and removed by the next env prune: {key[:12]}." in run_env(capsys)
    assert "Damaged, and removed by the next env prune." in run_env(capsys, "show", key)
    assert "1 of 1 environment" in run_env(capsys, "verify", status=1)
    assert not run_cell("import alpha").state.installed.cached
    assert run_cell("import alpha").state.installed.cached
    assert json.loads(mark.read_text())["packages"] == [["alpha", "1.0"]]


def test_environment_with_damaged_record_is_kept_while_in_use(run_cell, capsys, tmp_path):
    gate = tmp_path / "done"
    first = run_cell("import alpha\n" + WAIT.format(file=str(gate)) + "\nprint(alpha.__file__)", start=submit)
    until(lambda: first.state.phase == "running")
    mark = paths.cache_dir() / "store" / "trees" / first.resolution.key / ".ok"
    mark.write_text("")
    assert not run_cell("import alpha").state.installed.cached
    assert mark.parent.is_dir()
    assert "Damaged, and removed" in run_env(capsys)
    gate.touch()
    first.result(30)
    assert run_cell("import alpha").state.installed.cached


def test_env_prune_keeps_environment_in_use(run_cell, capsys, tmp_path):
    gate = tmp_path / "done"
    first = run_cell("import alpha\n" + WAIT.format(file=str(gate)), start=submit)
    while first.state.installed is None or first.state.phase != "running":
        first.wait(0.01)
    assert "  now" in run_env(capsys)
    (tree,) = (paths.cache_dir() / "store" / "trees").iterdir()
    refusal = f"{tree.name[:12]} was not removed: a run uses it.\n"
    assert run_env(capsys, "prune", "--keep", "0") == refusal
    for more in ((), ("--dry-run",)):
        assert run_env(capsys, "prune", tree.name[:12], *more, status=1) == refusal
    gate.touch()
    first.result(30)
    assert "Removed 1 environment" in run_env(capsys, "prune", "--keep", "0")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["bogus"], "unknown action bogus"),
        (["show"], "env show needs one environment"),
        (["show", "abc"], "no environments match abc"),
        (["prune"], "env prune needs a limit or the keys of environments"),
        (["prune", "--keep", "many"], "--keep needs an integer, not many"),
        (["prune", "--older-than", "old"], "--older-than needs a time, not old"),
        (["prune", "--max-size", "1 elephant"], "--max-size needs a size, not 1 elephant"),
        (["prune", "--max-size", "none"], "--max-size needs a size, not none"),
        (["prune", "--older-than", "None"], "--older-than needs a time, not None"),
        (["prune", "--keep", "none"], "--keep needs an integer, not none"),
        (["prune", "abc"], "no environments match abc"),
        (["prune", "--cache"], "uv's cache is not in the store of this machine"),
        (["prune", "abc", "--keep", "1"], "env prune takes keys or --keep, not both"),
        (["prune", "abc", "--older-than", "1d"], "env prune takes keys or --older-than, not both"),
        (["warm"], "env warm needs requirements"),
        (["warm", "--set", "env=ephemeral"], "env warm cannot use env=ephemeral, because it installs into the store"),
        (["warm", "--set", "venv=/tmp/x"], "env warm cannot use venv, because it installs into the store"),
        (["list", "--keep", "1"], "--keep belongs to env prune, not env list"),
        (["list", "x"], "env list takes no argument, but got x"),
        (["list", "-b", "argo"], "the argo backend has no store"),
        (["warm", "--keep", "1"], "--keep belongs to env prune, not env warm"),
    ],
)
def test_invalid_env_command_is_reported(run_cell, capsys, arguments, message):
    assert message in run_env(capsys, *arguments, status=2)


def test_bake_writes_containerfile(run_cell, capsys, index, monkeypatch, tmp_path):
    monkeypatch.setenv("UV_ARGO_INDEX_URL", index.url)

    def bake(*arguments, status=0):
        capsys.readouterr()
        assert cli.main(["bake", *arguments]) == status
        return "".join(capsys.readouterr())

    line = ["-b", "argo", "--deps", "alpha", "--python", "3.12"]
    assert "alpha==1.0 --hash=sha256:" in bake(*line)
    assert "Wrote Containerfile." in bake(*line, "--to", "Containerfile")
    assert bake(*line) == (tmp_path / "Containerfile").read_text()
    assert "Wrote Containerfile." in bake(*line, "--to", "Containerfile")
    (tmp_path / "needs.txt").write_text("alpha\n")
    assert bake("needs.txt", "-b", "argo", "--python", "3.12") == bake(*line)
    assert "no such run: missing.txt" in bake("missing.txt", "-b", "argo", status=2)
    assert "bake takes a run or requirements, not both" in bake("needs.txt", *line, status=2)
    (tmp_path / "Containerfile").write_text("FROM scratch\n")
    assert "was not written by uv-argo-magic" in bake(*line, "--to", "Containerfile", status=2)
    (tmp_path / "file").touch()
    assert "cannot write file/Containerfile" in bake(*line, "--to", "file/Containerfile", status=2)
    assert "cannot write .: Is a directory" in bake(*line, "--to", ".", status=2)
    assert "File name too long" in bake(*line, "--to", "x" * 300, status=2)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert "Wrote ~/Other." in (advice := bake(*line, "--to", "~/Other"))
    assert (tmp_path / "Other").exists()
    assert advice.endswith("with --set image=IMAGE --python 3.12.12.\n")
    advice = bake(*line, "--to", "~/Other", "--set", "shape=init")
    assert advice.endswith("with --set image=IMAGE --python 3.12.12 --set install_image=IMAGE.\n")
    with monkeypatch.context() as patch:
        here = bases.BaseEnvironment(python="3.12.12", platform="x86_64-manylinux_2_28")
        patch.setattr(image_probe, "probe", lambda *_: here)
        assert bake(*line, "--to", "~/Other", "--set", "base=x:1").endswith("with --set base=IMAGE.\n")
    assert "the local backend runs cells without an image" in bake("--deps", "alpha", status=2)
    assert "\nARG UV_TORCH_BACKEND=cpu\n" in bake(*line, "--set", "torch_backend=cpu")
    unresolved = bake(*line, "--set", "find_links=/no-wheels", status=2)
    assert "/no-wheels is not on this machine." in unresolved
    assert "Create it here with the same wheels, or remove it from find_links." in unresolved
