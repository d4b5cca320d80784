"""Credentials of a private index work, and are not in anything that a run stores, sends or shows."""

from __future__ import annotations

import base64
import gzip
import json
import os
import re
from pathlib import Path

import pytest
from IPython.utils.capture import capture_output
from support.index_server import IndexServer

from uv_argo_magic._os import paths
from uv_argo_magic.backends.argo.manifests import workflow
from uv_argo_magic.core.requirements.parser import parse
from uv_argo_magic.core.spec.run_spec import RunSpec, Settings
from uv_argo_magic.engine import start_run
from uv_argo_magic.engine.preparation.prepare import prepare
from uv_argo_magic.errors import SpecError
from uv_argo_magic.history.store import History
from uv_argo_magic.renderers.panel import HtmlPanel
from uv_argo_magic.sessions.registry import Worker
from uv_argo_magic.testing import FakeBackend

SECRET = "hunter2hunter2"
CELL = """
import alpha, os, subprocess
everything = "".join(f"{k}={v}" for k, v in os.environ.items())
print("leaked" if "hunter2" + "hunter2" in everything else "clean", alpha.__version__)
"""


@pytest.fixture
def private_index(monkeypatch, tmp_path):
    monkeypatch.setenv("UV_ARGO_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv"))
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    with IndexServer() as public_index, IndexServer(credentials=f"me:{SECRET}") as private_server:
        monkeypatch.setenv("UV_DEFAULT_INDEX", public_index.url)
        private_server.add("alpha", "1.0", requires=["beta"])
        public_index.add("beta", "1.0")
        yield private_server


def encodings():
    """The secret in plain text and in base64, at every offset."""
    yield SECRET.encode()
    for prefix in (b"", b"x", b"xx", b"me:"):
        encoded = base64.b64encode(prefix + SECRET.encode())
        yield encoded[4:-4]


def has_secret(data):
    """Whether these bytes contain the secret, also in compressed data in base64."""
    if any(encoding in data for encoding in encodings()):
        return True
    for encoded in re.findall(rb"[A-Za-z0-9+/]{200,}={0,2}", data):
        decoded = base64.b64decode(encoded + b"=" * (-len(encoded) % 4), validate=False)
        if decoded[:2] == b"\x1f\x8b" and has_secret(gzip.decompress(decoded)):
            return True
    return False


def test_has_secret_finds_encoded_secrets():
    assert has_secret(json.dumps({"url": f"https://me:{SECRET}@index"}).encode())
    assert has_secret(b"Basic " + base64.b64encode(f"me:{SECRET}".encode()))
    packed = base64.b64encode(gzip.compress(b"x" * 50 + os.urandom(300) + SECRET.encode()))
    assert has_secret(b'payload = "' + packed + b'"')
    assert not has_secret(b"hunter")


def with_url(index):
    return {"indexes": (("corp", index.url.replace("://", f"://me:{SECRET}@")),)}


def with_environment(index, monkeypatch):
    monkeypatch.setenv("UV_INDEX_CORP_USERNAME", "me")
    monkeypatch.setenv("UV_INDEX_CORP_PASSWORD", SECRET)
    return {"indexes": (("corp", index.url),)}


@pytest.mark.parametrize("how", ["url", "default", "environment"])
def test_run_stores_and_shows_no_credentials(private_index, monkeypatch, tmp_path, how):
    if how == "default":
        private_index.add("beta", "1.0")
        settings = Settings(index_url=with_url(private_index)["indexes"][0][1])
    else:
        settings = Settings(
            **(with_url(private_index) if how == "url" else with_environment(private_index, monkeypatch))
        )
    spec = RunSpec(cell=CELL, requirements=parse("alpha"), settings=settings)
    prepared = prepare(spec, notebook="a.ipynb")
    run = start_run.start(prepared, history=History(paths.data_dir() / "runs"), notebook="a.ipynb")
    panel_displays, arguments = [], []
    panel = HtmlPanel(publish=lambda *args, **options: panel_displays.append(repr((args, options))), lock=run.lock)

    class Watch:
        """Records the command line of every process of this machine during the run."""

        def update(self, state):
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    arguments.append(path.read_bytes())
                except OSError:
                    continue

    state = run.follow(panel, Watch())
    assert state.outcome == "Succeeded", run.logs() + "".join(state.install_log)
    assert run.logs() == "clean 1.0\n"
    assert [item.index for item in run.lock().packages] == (["", ""] if how == "default" else ["corp", ""])
    run._is_read.wait(60)
    folders = [tmp_path / "home", tmp_path / "tmp"]
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    assert {path.name for path in files} >= {"spec.json", "lock.json", "log.txt", "state.json"}
    leaks = [path for path in files if has_secret(path.read_bytes())]
    assert leaks == []
    texts = [*panel_displays, prepared.describe(), repr(prepared.program.source)]
    assert not any(has_secret(text.encode()) for text in texts)
    assert arguments
    assert not any(has_secret(item) for item in arguments)


def test_workflow_contains_no_credentials(private_index, monkeypatch):
    settings = Settings(**with_environment(private_index, monkeypatch), index_secrets=(("corp", "corp-login"),))
    spec = RunSpec(cell="import alpha", requirements=parse("alpha"), settings=settings, backend="argo")
    local = prepare(RunSpec(cell="", requirements=parse("alpha"), settings=settings))
    text = json.dumps(workflow.build(local.program, spec, run_id="r1", image="example:1"), default=str)
    assert "corp-login" in text
    assert not has_secret(text.encode())


def test_index_url_with_password_is_not_sent(private_index):
    spec = RunSpec(cell="", requirements=parse("alpha"), settings=Settings(**with_url(private_index)))
    with pytest.raises(SpecError, match="would be sent to the cluster") as exc_info:
        prepare(spec, FakeBackend([]))
    assert "index_secrets=NAME=SECRET" in exc_info.value.hint
    assert SECRET not in f"{exc_info.value}{exc_info.value.hint}"
    assert private_index.requests == []


def test_notes_and_errors_contain_no_password(shell, private_index, monkeypatch):
    url = private_index.url.replace("://", f"://me:{SECRET}@")
    shell.user_ns["url"] = url
    with capture_output() as captured:
        shell.run_cell_magic("argo", "--deps alpha --set indexes=corp=$url --dry-run", "import alpha")
        shell.run_cell_magic("argo", "--deps alpha --set indexes=corp=$url", "import alpha")
        shell.run_line_magic("argo", "lock")
        shell.run_line_magic("argo", "packages")
    output_text = captured.stdout + captured.stderr + repr([output.data for output in captured.outputs])
    assert "corp" in output_text
    assert not has_secret(output_text.encode())
    with pytest.raises(Exception, match="requires authentication") as exc_info:
        shell.run_cell_magic("argo", "--deps beta --set indexes=corp=" + url.replace(SECRET, SECRET + "x"), "1")
    assert not has_secret(f"{exc_info.value}{exc_info.value.hint}".encode())


def test_policy_errors_and_audit_log_contain_no_credentials(shell, private_index, tmp_path, monkeypatch):
    url = private_index.url.replace("://", f"://me:{SECRET}@")
    monkeypatch.setenv("TOKEN", SECRET)
    shell.user_ns["url"] = url
    (tmp_path / "uv-argo-policy.toml").write_text('[indexes]\ntrusted = ["https://index.example.com/simple"]\n')
    line = f"--deps alpha --set indexes=corp=$url --set variables=TOKEN={SECRET}"
    with capture_output() as captured:
        error = shell.run_cell(f"%%argo {line}\nimport alpha").error_in_exec
        shell.run_cell("%argo policy")
        shell.run_cell("%argo policy explain alpha --set indexes=corp=" + url)
    assert "is not a trusted index" in str(error)
    output_text = captured.stdout + captured.stderr + repr([output.data for output in captured.outputs])
    output_text += f"{error!r}{error}{error.hint}"
    assert not has_secret(output_text.encode())
    (tmp_path / "uv-argo-policy.toml").write_text('[packages]\nblocked = ["beta"]\n')
    with capture_output() as captured:
        error = shell.run_cell(f"%%argo {line}\nimport alpha").error_in_exec
    assert "beta 1.0 is blocked" in str(error)
    assert not has_secret(f"{error!r}{error}{captured.stdout}".encode())
    files = [path for path in (tmp_path / "home").rglob("*") if path.is_file()]
    assert "audit.jsonl" in {path.name for path in files}
    assert [path for path in files if has_secret(path.read_bytes())] == []


def test_repr_contains_no_secret(private_index):
    settings = Settings(
        **with_url(private_index), index_url=f"https://me:{SECRET}@index", variables=(("TOKEN", SECRET),)
    )
    spec = RunSpec(cell="", requirements=parse("alpha"), settings=settings)
    worker = Worker(address="a", token=SECRET, host="h", boot="b", pid=1, started="s")
    for value in (settings, spec, worker):
        assert not has_secret(repr(value).encode())
