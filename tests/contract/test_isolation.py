"""What a run does to its environment, to the store or to uv's cache changes nothing for the next run."""

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

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="elsewhere the kernel does not report changes of folders"
)


@pytest.fixture(scope="module")
def index():
    with IndexServer(max_age=3600) as server:  # so that uv takes from its cache what it has
        server.add("alpha", "1.0", files={"alpha.py": "VALUE = 1\n", "beta/__init__.py": "", "beta/deep.py": ""})
        server.add("gamma", "1.0", files={"gamma.py": ""})
        yield server


def store():
    return paths.cache_dir() / "store"


def site():
    """The folder of the only environment that runs use."""
    (found,) = (path for path in store().glob("trees/*/site") if not (path.parent / ".changed").exists())
    return found


def hashes(folder):
    """SHA-256 of each file, without byte code."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.suffix != ".pyc")
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.mark.parametrize("code", [WRITE, REMOVE, REPLACE])
def test_an_environment_that_a_cell_changed_is_installed_again(cell, code):
    cell(SHOW)
    before = hashes(site())
    changed = cell(code)
    assert "Files of the shared environment changed during the run: alpha.py" in "".join(changed.state.notes)
    assert "The next run installs it again." in "".join(changed.state.notes)
    after = cell(SHOW)
    assert not after.state.installed.cached
    assert after.logs().startswith("1 ")
    assert hashes(site()) == before
    assert cell(SHOW).state.installed.cached


def test_a_file_that_a_cell_adds_to_its_environment_is_removed(cell):
    cell(SHOW)
    before = hashes(site())
    added = cell(ADD)
    assert added.state.notes == (
        "Files of the shared environment changed during the run: sitecustomize.py (added). They were removed.",
    )
    assert cell(SHOW).state.installed.cached
    assert hashes(site()) == before


def test_byte_code_is_no_change(cell):
    cell("import beta.deep, alpha")
    again = cell("import beta.deep, alpha")
    assert again.state.installed.cached
    assert (again.state.notes, list(site().glob("__pycache__/alpha.*.pyc")) != []) == ((), True)


COMPILED = """\
import importlib, importlib.util, os
path = importlib.util.find_spec(MODULE).cached
before = os.path.exists(path) and os.stat(path)
importlib.import_module(MODULE)
print(bool(before), bool(before) and os.path.samestat(before, os.stat(path)))
"""


def is_compiled(cell, module, deps):
    """Whether an environment has byte code of a module before its import, and whether Python uses it."""
    return cell(COMPILED.replace("MODULE", repr(module)), deps=deps).logs()


def test_a_new_environment_has_the_byte_code_of_files_that_another_one_has(cell):
    assert is_compiled(cell, "beta.deep", "alpha") == "False False\n"
    assert is_compiled(cell, "beta.deep", "alpha gamma") == "True True\n"
    assert is_compiled(cell, "alpha", "alpha") == "False False\n"
    assert cli.main(["env", "prune", "--keep", "0"]) == 0
    assert is_compiled(cell, "beta.deep", "alpha") == "True True\n"


def test_a_session_keeps_byte_code_for_other_environments(cell, tmp_path, index, monkeypatch):
    monkeypatch.setenv("UV_ARGO_INDEX_URL", index.url)
    try:
        Notebook(tmp_path / "a.ipynb").run("import beta.deep", "-s --deps alpha")
        assert is_compiled(cell, "beta.deep", "alpha gamma") == "True True\n"
    finally:
        end_all()


def test_byte_code_of_another_text_of_a_file_is_not_kept(cell):
    code = (
        "import os, importlib.util\n"
        "path = importlib.util.find_spec('alpha').origin\n"
        "os.chmod(path, 0o644)\n"
        "open(path, 'w').write('VALUE = 7\\n')\n"
        "import alpha\n"
        "open(path, 'w').write('VALUE = 1\\n')\n"
    )
    assert cell(code).status == "Succeeded"
    assert is_compiled(cell, "alpha", "alpha gamma") == "False False\n"
    assert cell(SHOW, "alpha gamma").logs().startswith("1 ")


def test_byte_code_that_no_environment_uses_is_removed_after_a_month(cell, monkeypatch):
    cell(SHOW)
    assert [path.stat().st_nlink for path in store().glob("bytecode/*/*")] == [2]
    later = time.time() + 31 * 24 * 3600
    cli.main(["env", "prune", "--keep", "1"])
    monkeypatch.setattr("time.time", lambda: later)
    cli.main(["env", "prune", "--keep", "1"])
    assert len(list(store().glob("bytecode/*/*"))) == 1
    cli.main(["env", "prune", "--keep", "0"])
    assert list(store().glob("bytecode/*/*")) == []


def test_a_file_of_an_environment_is_read_only(cell):
    done = cell("import alpha\ntry:\n    open(alpha.__file__, 'a')\nexcept PermissionError:\n    print('refused')")
    assert done.logs() == ("" if os.geteuid() == 0 else "refused\n")  # root ignores the mode of files
    assert done.state.notes == ()


def test_no_file_of_an_environment_has_a_bit_to_write(cell):
    cell(SHOW)
    assert [path for path in site().rglob("*.py") if path.stat().st_mode & 0o222] == []
    own = cell("import alpha, os\nprint(os.stat(alpha.__file__).st_mode & 0o200)", env="ephemeral")
    assert own.logs() == "128\n"


def test_an_environment_in_use_stays_beside_the_new_one(cell, tmp_path):
    cell(SHOW)
    done = tmp_path / "done"
    other = cell(WAIT.format(file=str(done)) + "import beta.deep\nprint('imported')", start=submit)
    while other.state.phase != "running":
        other.wait(0.01)
    cell(WRITE)
    later = cell(SHOW)
    assert later.logs().startswith("1 ")
    assert not later.state.installed.cached
    assert len(list(store().glob("trees/*"))) == 2
    done.touch()
    other.result(30)
    assert other.logs() == "imported\n"
    assert cli.main(["env", "prune", "--keep", "5"]) == 0
    assert cell(SHOW).state.installed.cached
    assert len(list(store().glob("trees/*"))) == 1


def test_damaged_files_in_the_cache_of_uv_are_downloaded_again(cell, tmp_path):
    cell(SHOW)
    before = hashes(site())
    assert cli.main(["env", "prune", "--keep", "0"]) == 0
    (cached,) = tmp_path.glob("uv-cache/archive-v0/*/alpha.py")
    cached.write_text("VALUE = 22\n")
    after = cell(SHOW)
    assert after.state.notes == ("uv's cache has damaged files of alpha. Downloading again.",)
    assert after.logs().startswith("1 ")
    assert hashes(site()) == before
    # The cache is in order again.
    assert cell(SHOW, env="ephemeral").state.notes == ()


@pytest.mark.parametrize("kind", ["ephemeral", "persistent"])
def test_no_kind_of_environment_gets_damaged_files(cell, tmp_path, kind):
    cell("", env="ephemeral")
    (cached,) = tmp_path.glob("uv-cache/archive-v0/*/alpha.py")
    cached.write_text("VALUE = 22\n")
    assert cell(SHOW, env=kind).logs().startswith("1 ")


def test_a_cell_that_changes_the_runner_in_the_store_changes_only_that_file(cell):
    cell(SHOW)
    code = (
        "import os, pathlib\n"
        f"for path in pathlib.Path({str(store() / 'guest')!r}).rglob('*.py'):\n"
        "    path.chmod(0o644)\n"
        "    path.write_text('raise SystemExit(9)')\n"
        f"for path in pathlib.Path({str(store() / 'guest')!r}).glob('*'):\n"
        "    (path / 'json.py').write_text('raise SystemExit(9)')\n"
    )
    assert cell(code).status == "Succeeded"
    after = cell(SHOW)
    assert (after.status, after.logs()[:2]) == ("Succeeded", "1 ")


def test_a_session_keeps_what_its_cell_changed_and_others_get_a_new_environment(cell, tmp_path, index, monkeypatch):
    monkeypatch.setenv("UV_ARGO_INDEX_URL", index.url)
    notebook = Notebook(tmp_path / "a.ipynb")
    try:
        notebook.run("import alpha", "-s --deps alpha")
        changed = notebook.run(WRITE)
        assert "alpha.py (changed). The next run installs it again." in "".join(changed.state.notes)
        assert notebook.text("import importlib\nprint(importlib.reload(alpha).VALUE)") == "22\n"
        assert cell(SHOW).logs().startswith("1 ")
    finally:
        end_all()


def output_of(capsys, *words, status=0):
    capsys.readouterr()
    assert cli.main(["env", *words]) == status
    return "".join(capsys.readouterr())


def test_environments_are_verified_by_their_hashes(cell, capsys):
    cell(SHOW)
    assert "1 environment verified in the store of this machine" in output_of(capsys, "verify")
    key = site().parent.name[:12]
    path = site() / "beta" / "deep.py"
    path.chmod(0o644)
    path.write_text("bad")
    (site() / "new.py").touch()
    output = output_of(capsys, "verify", key, status=1)
    assert "beta/deep.py  changed" in output
    assert "new.py        added" in output
    assert "1 of 1 environment in the store of this machine differs from what was installed." in output
    assert not cell(SHOW).state.installed.cached
    assert "1 environment verified" in output_of(capsys, "verify")


def test_the_manifest_is_for_sha256sum(cell):
    cell("import beta.deep")
    subprocess.run(["sha256sum", "--quiet", "-c", "../files.sha256"], cwd=site(), check=True)
    listed = {line[66:] for line in Path(site().parent / "files.sha256").read_text().splitlines()}
    assert listed == set(hashes(site()))


@pytest.mark.parametrize("zone", ["UTC", "Pacific/Honolulu", "Pacific/Kiritimati"])
def test_the_files_of_an_environment_can_be_archived_in_every_time_zone(cell, zone):
    code = "import alpha, time, zipfile\nzipfile.ZipFile('a.zip', 'w').write(alpha.__file__)\nprint(time.tzname[0])"
    archived = cell(code, variables=f"TZ={zone}")
    assert (archived.status, archived.logs() != "UTC\n") == ("Succeeded", zone != "UTC")
