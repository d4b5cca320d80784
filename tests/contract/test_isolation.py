"""A run that changes its environment, the store or uv's cache does not affect the next run."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.index_server import IndexServer
from support.session_notebook import Notebook, end_all

from uv_argo_magic import cli, submit
from uv_argo_magic._os import paths
from uv_argo_magic.guest.install import precompile

WAIT = "import pathlib, time\nwhile not pathlib.Path({file!r}).exists():\n    time.sleep(0.01)\n"
WRITE = """\
import os, pathlib, alpha
path = pathlib.Path(alpha.__file__)
os.chmod(path, 0o644)
path.write_text("VALUE = 22\\n")
"""
ADD = "import pathlib, alpha\npathlib.Path(alpha.__file__).with_name('sitecustomize.py').write_text('x = 1')\n"
REMOVE = "import os, alpha\nos.remove(alpha.__file__)\n"
REPLACE = "import os, alpha\nopen('new', 'w').write('VALUE = 22')\nos.replace('new', alpha.__file__)\n"
SHOW = "import alpha\nprint(alpha.VALUE, alpha.__file__)"

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="other kernels do not report changes in folders")


@pytest.fixture(scope="module")
def index():
    with IndexServer(max_age=3600) as server:  # uv uses its cache without asking the index
        server.add("alpha", "1.0", files={"alpha.py": "VALUE = 1\n", "beta/__init__.py": "", "beta/deep.py": ""})
        server.add("gamma", "1.0", files={"gamma.py": ""})
        yield server


def store():
    return paths.cache_dir() / "store"


def site():
    """The site folder of the only unchanged environment in the store."""
    (found,) = (path for path in store().glob("trees/*/site") if not (path.parent / ".changed").exists())
    return found


def hashes(folder):
    """The SHA-256 of each file, except byte code."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.suffix != ".pyc")
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.mark.parametrize("code", [WRITE, REMOVE, REPLACE], ids=["write", "remove", "replace"])
def test_changed_environment_is_reinstalled(run_cell, code):
    run_cell(SHOW)
    before = hashes(site())
    changing_run = run_cell(code)
    assert "Files of the shared environment changed during the run: alpha.py" in "".join(changing_run.state.notes)
    assert "The next run installs it again." in "".join(changing_run.state.notes)
    next_run = run_cell(SHOW)
    assert not next_run.state.installed.cached
    assert next_run.logs().startswith("1 ")
    assert hashes(site()) == before
    assert run_cell(SHOW).state.installed.cached


def test_added_file_is_removed_from_environment(run_cell):
    run_cell(SHOW)
    before = hashes(site())
    run = run_cell(ADD)
    assert run.state.notes == (
        "Files of the shared environment changed during the run: sitecustomize.py (added). They were removed.",
    )
    assert run_cell(SHOW).state.installed.cached
    assert hashes(site()) == before


def test_byte_code_does_not_change_environment(run_cell):
    run_cell("import beta.deep, alpha")
    run = run_cell("import beta.deep, alpha")
    assert run.state.installed.cached
    assert (run.state.notes, list(site().glob("__pycache__/alpha.*.pyc")) != []) == ((), True)


COMPILED = """\
import importlib, importlib.util, os
path = importlib.util.find_spec(MODULE).cached
before = os.path.exists(path) and os.stat(path)
importlib.import_module(MODULE)
print(bool(before), bool(before) and os.path.samestat(before, os.stat(path)))
"""


def is_compiled(run_cell, module, deps):
    """Whether an environment has byte code of a module before its import, and whether Python used it."""
    return run_cell(COMPILED.replace("MODULE", repr(module)), deps=deps).logs()


def test_byte_code_is_shared_between_environments(run_cell):
    assert is_compiled(run_cell, "beta.deep", "alpha") == "False False\n"
    assert is_compiled(run_cell, "beta.deep", "alpha gamma") == "True True\n"
    assert is_compiled(run_cell, "alpha", "alpha") == "False False\n"
    assert cli.main(["env", "prune", "--keep", "0"]) == 0
    assert is_compiled(run_cell, "beta.deep", "alpha") == "True True\n"


def test_byte_code_of_session_is_shared(run_cell, tmp_path, index, monkeypatch):
    monkeypatch.setenv("UV_ARGO_INDEX_URL", index.url)
    try:
        Notebook(tmp_path / "a.ipynb").run("import beta.deep", "-s --deps alpha")
        assert is_compiled(run_cell, "beta.deep", "alpha gamma") == "True True\n"
    finally:
        end_all()


def test_byte_code_of_changed_file_is_not_shared(run_cell):
    code = (
        "import os, importlib\n"
        "path = importlib.util.find_spec('alpha').origin\n"
        "os.chmod(path, 0o644)\n"
        "open(path, 'w').write('VALUE = 7\\n')\n"
        "importlib.import_module('alpha')\n"
        "open(path, 'w').write('VALUE = 1\\n')\n"
    )
    assert run_cell(code).status == "Succeeded"
    assert is_compiled(run_cell, "alpha", "alpha gamma") == "False False\n"
    assert run_cell(SHOW, "alpha gamma").logs().startswith("1 ")


WAIT_FOR_BYTE_CODE = """\
import importlib.util, os, time
path = importlib.util.find_spec("alpha").cached
deadline = time.monotonic() + 20
while not os.path.exists(path) and time.monotonic() < deadline:
    time.sleep(0.01)
print(os.path.exists(path))
def later():
    import alpha
"""


@pytest.mark.skipif(not precompile.has_free_core(), reason="another core compiles the modules")
def test_imported_modules_of_new_environment_are_compiled_in_advance(run_cell):
    first, second = run_cell(WAIT_FOR_BYTE_CODE), run_cell("import alpha")
    assert (first.logs(), first.state.notes) == ("True\n", ())
    assert (second.state.installed.cached, second.state.notes) == (True, ())
    assert is_compiled(run_cell, "alpha", "alpha gamma") == "True True\n"


def test_cell_does_not_wait_for_modules_that_are_compiled_in_advance(run_cell, index):
    index.add("big", "1.0", files={f"big{number}.py": "x = 1\n" * 20_000 for number in range(50)})
    run = run_cell("if False:\n    import " + ", ".join(f"big{number}" for number in range(50)), deps="big")
    assert (run.status, run.state.notes) == ("Succeeded", ())
    assert len(list(site().glob("__pycache__/*.pyc"))) < 50
    assert list(site().glob("__pycache__/*.pyc.*")) == []


def test_unused_byte_code_is_removed_after_a_month(run_cell, monkeypatch):
    run_cell(SHOW)
    assert [path.stat().st_nlink for path in store().glob("bytecode/*/*")] == [2]
    later = time.time() + 31 * 24 * 3600
    cli.main(["env", "prune", "--keep", "1"])
    monkeypatch.setattr("time.time", lambda: later)
    cli.main(["env", "prune", "--keep", "1"])
    assert len(list(store().glob("bytecode/*/*"))) == 1
    cli.main(["env", "prune", "--keep", "0"])
    assert list(store().glob("bytecode/*/*")) == []


def test_cell_cannot_write_to_environment(run_cell):
    run = run_cell("import alpha\ntry:\n    open(alpha.__file__, 'a')\nexcept PermissionError:\n    print('refused')")
    assert run.logs() == ("" if os.geteuid() == 0 else "refused\n")  # root ignores file modes
    assert run.state.notes == ()


def test_files_of_shared_environment_are_read_only(run_cell):
    run_cell(SHOW)
    assert [path for path in site().rglob("*.py") if path.stat().st_mode & 0o222] == []
    run = run_cell("import alpha, os\nprint(os.stat(alpha.__file__).st_mode & 0o200)", env="ephemeral")
    assert run.logs() == "128\n"


def test_environment_in_use_is_not_replaced(run_cell, tmp_path):
    run_cell(SHOW)
    gate = tmp_path / "gate"
    running = run_cell(WAIT.format(file=str(gate)) + "import beta.deep\nprint('imported')", start=submit)
    while running.state.phase != "running":
        running.wait(0.01)
    run_cell(WRITE)
    next_run = run_cell(SHOW)
    assert next_run.logs().startswith("1 ")
    assert not next_run.state.installed.cached
    assert len(list(store().glob("trees/*"))) == 2
    gate.touch()
    running.result(30)
    assert running.logs() == "imported\n"
    assert cli.main(["env", "prune", "--keep", "5"]) == 0
    assert run_cell(SHOW).state.installed.cached
    assert len(list(store().glob("trees/*"))) == 1


def test_damaged_uv_cache_is_downloaded_again(run_cell, tmp_path):
    run_cell(SHOW)
    before = hashes(site())
    assert cli.main(["env", "prune", "--keep", "0"]) == 0
    (cached,) = tmp_path.glob("uv-cache/archive-v0/*/alpha.py")
    cached.write_text("VALUE = 22\n")
    run = run_cell(SHOW)
    assert run.state.notes == ("uv's cache has damaged files of alpha. Downloading again.",)
    assert run.logs().startswith("1 ")
    assert hashes(site()) == before
    # The cache is repaired.
    assert run_cell(SHOW, env="ephemeral").state.notes == ()


def test_record_of_vendored_package_is_not_checked(run_cell, index):
    files = {"alpha.py": "", "_vendor/gamma.py": "", "_vendor/gamma-1.0.dist-info/RECORD": "gamma.py,sha256=abc,0\n"}
    index.add("vendoring", "1.0", files=files)
    run_cell("", deps="vendoring", env="ephemeral")  # uv has its files now
    run = run_cell("import alpha", deps="vendoring")
    assert (run.status, run.state.notes) == ("Succeeded", ())


def test_file_of_two_packages_is_not_damaged(run_cell, index):
    for name in ("one", "other"):
        index.add(name, "1.0", files={f"{name}.py": "", "tests/__init__.py": f"# of {name}\n"})
    run_cell("", deps="one other", env="ephemeral")  # uv has their files now
    assert run_cell("import one, other", deps="one other").state.notes == ()


@pytest.mark.parametrize("kind", ["ephemeral", "persistent"])
def test_damaged_uv_cache_is_not_used_for_any_environment(run_cell, tmp_path, kind):
    run_cell("", env="ephemeral")
    (cached,) = tmp_path.glob("uv-cache/archive-v0/*/alpha.py")
    cached.write_text("VALUE = 22\n")
    assert run_cell(SHOW, env=kind).logs().startswith("1 ")


def test_changed_runner_in_store_does_not_affect_next_run(run_cell):
    run_cell(SHOW)
    code = (
        "import os, pathlib\n"
        f"for path in pathlib.Path({str(store() / 'guest')!r}).rglob('*.py'):\n"
        "    path.chmod(0o644)\n"
        "    path.write_text('raise SystemExit(9)')\n"
        f"for path in pathlib.Path({str(store() / 'guest')!r}).glob('*'):\n"
        "    (path / 'json.py').write_text('raise SystemExit(9)')\n"
    )
    assert run_cell(code).status == "Succeeded"
    run = run_cell(SHOW)
    assert (run.status, run.logs()[:2]) == ("Succeeded", "1 ")


def test_session_keeps_changed_environment_but_others_do_not(run_cell, tmp_path, index, monkeypatch):
    monkeypatch.setenv("UV_ARGO_INDEX_URL", index.url)
    notebook = Notebook(tmp_path / "a.ipynb")
    try:
        notebook.run("import alpha", "-s --deps alpha")
        run = notebook.run(WRITE)
        assert "alpha.py (changed). The next run installs it again." in "".join(run.state.notes)
        assert notebook.text("import importlib\nprint(importlib.reload(alpha).VALUE)") == "22\n"
        assert run_cell(SHOW).logs().startswith("1 ")
    finally:
        end_all()


def run_env(capsys, *arguments, status=0):
    capsys.readouterr()
    assert cli.main(["env", *arguments]) == status
    return "".join(capsys.readouterr())


def test_env_verify_reports_changed_and_added_files(run_cell, capsys):
    run_cell(SHOW)
    assert "1 environment verified in the store of this machine" in run_env(capsys, "verify")
    key = site().parent.name[:12]
    path = site() / "beta" / "deep.py"
    path.chmod(0o644)
    path.write_text("bad")
    (site() / "new.py").touch()
    output = run_env(capsys, "verify", key, status=1)
    assert "beta/deep.py  changed" in output
    assert "new.py        added" in output
    assert "1 of 1 environment in the store of this machine has changed files." in output
    assert not run_cell(SHOW).state.installed.cached
    assert "1 environment verified" in run_env(capsys, "verify")


def test_manifest_can_be_checked_by_sha256sum(run_cell):
    run_cell("import beta.deep")
    subprocess.run(["sha256sum", "--quiet", "-c", "../files.sha256"], cwd=site(), check=True)
    listed = {line[66:] for line in Path(site().parent / "files.sha256").read_text().splitlines()}
    assert listed == set(hashes(site()))


@pytest.mark.parametrize("zone", ["UTC", "Pacific/Honolulu", "Pacific/Kiritimati"])
def test_files_can_be_zipped_in_every_time_zone(run_cell, zone):
    code = "import alpha, time, zipfile\nzipfile.ZipFile('a.zip', 'w').write(alpha.__file__)\nprint(time.tzname[0])"
    run = run_cell(code, variables=f"TZ={zone}")
    assert (run.status, run.logs() != "UTC\n") == ("Succeeded", zone != "UTC")
