import ast
import base64
import json
import zlib
from pathlib import Path

from uv_argo_magic import guest
from uv_argo_magic.engine.guest_archive import guest_archive, notebook_modules, stripped

LIMIT = 64 * 1024
"""Every workflow carries the guest, and a template has room for 96 kB with the cell and its lock."""

SESSION_LIMIT = 80 * 1024
"""With the worker of sessions, which gets its cells and their locks by its channel."""


def test_the_guest_is_small_in_base64():
    assert len(base64.b64encode(guest_archive())) <= LIMIT


def unpacked(*parts):
    return json.loads(zlib.decompress(guest_archive(*parts)))


def test_the_archive_holds_every_module_of_the_guest_and_compiles_for_python_3_8():
    folder = Path(guest.__file__).parent
    modules = {path.relative_to(folder).as_posix() for path in (*folder.glob("*.py"), *folder.glob("install/*.py"))}
    assert {name.removeprefix("uv_argo_guest/") for name in unpacked()} == modules
    for name, text in unpacked("session", "persistent", "provision").items():
        ast.parse(text, name, feature_version=(3, 8))


def test_the_modules_of_a_notebooks_cell_leave_room_in_a_template():
    modules = notebook_modules()
    assert {"IPython/display.py", "ipykernel/zmqshell.py", "uv_argo_notebook/__init__.py"} <= set(modules)
    for name, text in modules.items():
        ast.parse(text, name, feature_version=(3, 8))
    sizes = [len(guest_archive()), len(zlib.compress(json.dumps(modules).encode(), 9))]
    assert sum(sizes) * 4 / 3 <= 79 * 1024


def test_comments_and_docstrings_stay_here_and_lines_keep_their_numbers():
    source = (
        '"""Doc\n\nstring."""\n# note\nx = "# text"  # note\ndef f():\n    """Doc."""\n'
        'class A:\n    y = 1\n    "about y"\n'
    )
    assert stripped(source) == '\n\n\n\nx = "# text"\ndef f():\n    pass\nclass A:\n    y = 1\n\n'


def test_the_archive_is_packed_once_for_each_version_of_the_guest(tmp_path, monkeypatch):
    monkeypatch.setenv("UV_ARGO_HOME", str(tmp_path))
    packed = guest_archive.__wrapped__()
    monkeypatch.setattr("uv_argo_magic.engine.guest_archive._pack", lambda modules: b"other")
    assert guest_archive.__wrapped__() == packed
    (cached,) = (tmp_path / "cache" / "guest").iterdir()
    cached.unlink()
    assert guest_archive.__wrapped__() == b"other"


def test_the_worker_of_sessions_travels_with_sessions_only():
    names, more = unpacked(), unpacked("session")
    assert set(more) - set(names) >= {"uv_argo_guest/session/__init__.py", "uv_argo_guest/session/worker.py"}
    assert not [name for name in names if "session" in name]
    assert len(base64.b64encode(guest_archive("session"))) <= SESSION_LIMIT
