import ast
import base64
import json
import zlib
from pathlib import Path

from uv_argo_magic import guest
from uv_argo_magic.engine.preparation.guest_archive import guest_archive, notebook_modules, stripped

LIMIT = 64 * 1024
"""Every workflow contains the guest; a template has room for 96 kB, including the cell and its lock."""

SESSION_LIMIT = 80 * 1024
"""With the worker of sessions, which receives cells and their locks through its channel."""


def test_guest_is_small_in_base64():
    assert len(base64.b64encode(guest_archive())) <= LIMIT


def read_archive(*parts):
    return json.loads(zlib.decompress(guest_archive(*parts)))


def test_archive_has_all_modules_and_supports_python_3_8():
    folder = Path(guest.__file__).parent
    modules = {
        path.relative_to(folder).as_posix()
        for part in ("", "install/", "pip_command/")
        for path in folder.glob(f"{part}*.py")
    }
    assert {name.removeprefix("uv_argo_guest/") for name in read_archive()} == modules
    for name, text in read_archive("session", "persistent", "provision").items():
        ast.parse(text, name, feature_version=(3, 8))


def test_notebook_modules_fit_into_a_template():
    modules = notebook_modules()
    assert {"IPython/display.py", "ipykernel/zmqshell.py", "uv_argo_notebook/__init__.py"} <= set(modules)
    for name, text in modules.items():
        ast.parse(text, name, feature_version=(3, 8))
    sizes = [len(guest_archive()), len(zlib.compress(json.dumps(modules).encode(), 9))]
    assert sum(sizes) * 4 / 3 <= 85 * 1024


def test_stripped_source_keeps_its_line_numbers():
    source = (
        '"""Doc\n\nstring."""\n# note\nx = "# text"  # note\ndef f():\n    """Doc."""\n'
        'class A:\n    y = 1\n    "about y"\n'
    )
    assert stripped(source) == '\n\n\n\nx = "# text"\ndef f():\n    pass\nclass A:\n    y = 1\n\n'


def test_archive_is_cached_per_version_of_the_guest(tmp_path, monkeypatch):
    monkeypatch.setenv("UV_ARGO_HOME", str(tmp_path))
    archive = guest_archive.__wrapped__()
    monkeypatch.setattr("uv_argo_magic.engine.preparation.guest_archive._pack", lambda modules: b"other")
    assert guest_archive.__wrapped__() == archive
    (cached,) = (tmp_path / "cache" / "guest").iterdir()
    cached.unlink()
    assert guest_archive.__wrapped__() == b"other"


def test_session_worker_is_sent_only_for_sessions():
    names, more = read_archive(), read_archive("session")
    assert set(more) - set(names) >= {"uv_argo_guest/session/__init__.py", "uv_argo_guest/session/worker.py"}
    assert not [name for name in names if "session" in name]
    assert len(base64.b64encode(guest_archive("session"))) <= SESSION_LIMIT
