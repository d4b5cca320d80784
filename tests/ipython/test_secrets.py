"""What logs in at a private index: it works, and stands in nothing that a run leaves behind, sends or shows."""

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
from uv_argo_magic.engine import run as engine
from uv_argo_magic.engine.prepare import prepare
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
def private(monkeypatch, tmp_path):
    monkeypatch.setenv("UV_ARGO_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv"))
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    with IndexServer() as public, IndexServer(credentials=f"me:{SECRET}") as corp:
        monkeypatch.setenv("UV_DEFAULT_INDEX", public.url)
        corp.add("alpha", "1.0", requires=["beta"])
        public.add("beta", "1.0")
        yield corp


def encodings():
    """The secret as it could stand somewhere: plain, and in the base64 of a header, whatever stands before it."""
    yield SECRET.encode()
    for before in (b"", b"x", b"xx", b"me:"):
        coded = base64.b64encode(before + SECRET.encode())
        yield coded[4:-4]


def found_in(data):
    """Whether the secret is in these bytes, or in what is packed inside of them."""
    if any(one in data for one in encodings()):
        return True
    for packed in re.findall(rb"[A-Za-z0-9+/]{200,}={0,2}", data):
        inside = base64.b64decode(packed + b"=" * (-len(packed) % 4), validate=False)
        if inside[:2] == b"\x1f\x8b" and found_in(gzip.decompress(inside)):
            return True
    return False


def test_the_search_finds_it():
    assert found_in(json.dumps({"url": f"https://me:{SECRET}@index"}).encode())
    assert found_in(b"Basic " + base64.b64encode(f"me:{SECRET}".encode()))
    packed = base64.b64encode(gzip.compress(b"x" * 50 + os.urandom(300) + SECRET.encode()))
    assert found_in(b'payload = "' + packed + b'"')
    assert not found_in(b"hunter")


def with_url(corp):
    return {"indexes": (("corp", corp.url.replace("://", f"://me:{SECRET}@")),)}


def with_environment(corp, monkeypatch):
    monkeypatch.setenv("UV_INDEX_CORP_USERNAME", "me")
    monkeypatch.setenv("UV_INDEX_CORP_PASSWORD", SECRET)
    return {"indexes": (("corp", corp.url),)}


@pytest.mark.parametrize("how", ["url", "default", "environment"])
def test_a_run_leaves_no_credentials_behind(private, monkeypatch, tmp_path, how):
    if how == "default":
        private.add("beta", "1.0")
        settings = Settings(index_url=with_url(private)["indexes"][0][1])
    else:
        settings = Settings(**(with_url(private) if how == "url" else with_environment(private, monkeypatch)))
    spec = RunSpec(cell=CELL, requirements=parse("alpha"), settings=settings)
    prepared = prepare(spec, notebook="a.ipynb")
    run = engine.start(prepared, history=History(paths.data_dir() / "runs"), notebook="a.ipynb")
    seen, arguments = [], []
    panel = HtmlPanel(publish=lambda *told, **more: seen.append(repr((told, more))), lock=run.lock)

    class Watch:
        """Looks at the command line of every process of this machine while the run goes on."""

        def update(self, state):
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    arguments.append(path.read_bytes())
                except OSError:
                    continue

    state = run.follow(panel, Watch())
    assert state.outcome == "Succeeded", run.logs() + "".join(state.install_log)
    assert run.logs() == "clean 1.0\n"
    assert [one.index for one in run.lock().packages] == (["", ""] if how == "default" else ["corp", ""])
    run._is_read.wait(60)
    places_looked_at = [tmp_path / "home", tmp_path / "tmp"]
    files = [path for place in places_looked_at for path in place.rglob("*") if path.is_file()]
    assert {path.name for path in files} >= {"spec.json", "lock.json", "log.txt", "state.json"}
    leaks = [path for path in files if found_in(path.read_bytes())]
    assert leaks == []
    shown = [*seen, prepared.describe(), repr(prepared.program.source)]
    assert not any(found_in(text.encode()) for text in shown)
    assert arguments
    assert not any(found_in(one) for one in arguments)


def test_nothing_that_is_sent_to_a_cluster_holds_credentials(private, monkeypatch):
    settings = Settings(**with_environment(private, monkeypatch), index_secrets=(("corp", "corp-login"),))
    spec = RunSpec(cell="import alpha", requirements=parse("alpha"), settings=settings, backend="argo")
    local = prepare(RunSpec(cell="", requirements=parse("alpha"), settings=settings))
    text = json.dumps(workflow.build(local.program, spec, run_id="r1", image="example:1"), default=str)
    assert "corp-login" in text
    assert not found_in(text.encode())


def test_an_address_with_a_password_stays_here(private):
    spec = RunSpec(cell="", requirements=parse("alpha"), settings=Settings(**with_url(private)))
    with pytest.raises(SpecError, match="would be sent to the cluster") as caught:
        prepare(spec, FakeBackend([]))
    assert "index_secrets=NAME=SECRET" in caught.value.hint
    assert SECRET not in f"{caught.value}{caught.value.hint}"
    assert private.requests == []


def test_the_line_is_not_repeated_with_its_password(shell, private, monkeypatch):
    url = private.url.replace("://", f"://me:{SECRET}@")
    shell.user_ns["url"] = url
    with capture_output() as shown:
        shell.run_cell_magic("argo", "--deps alpha --set indexes=corp=$url --dry-run", "import alpha")
        shell.run_cell_magic("argo", "--deps alpha --set indexes=corp=$url", "import alpha")
        shell.run_line_magic("argo", "lock")
        shell.run_line_magic("argo", "packages")
    printed = shown.stdout + shown.stderr + repr([one.data for one in shown.outputs])
    assert "corp" in printed
    assert not found_in(printed.encode())
    with pytest.raises(Exception, match="requires authentication") as caught:
        shell.run_cell_magic("argo", "--deps beta --set indexes=corp=" + url.replace(SECRET, SECRET + "x"), "1")
    assert not found_in(f"{caught.value}{caught.value.hint}".encode())


def test_a_refusal_and_its_record_have_no_credentials(shell, private, tmp_path, monkeypatch):
    url = private.url.replace("://", f"://me:{SECRET}@")
    monkeypatch.setenv("TOKEN", SECRET)
    shell.user_ns["url"] = url
    (tmp_path / "uv-argo-policy.toml").write_text('[indexes]\ntrusted = ["https://index.example.com/simple"]\n')
    line = f"--deps alpha --set indexes=corp=$url --set variables=TOKEN={SECRET}"
    with capture_output() as shown:
        error = shell.run_cell(f"%%argo {line}\nimport alpha").error_in_exec
        shell.run_cell("%argo policy")
        shell.run_cell("%argo policy explain alpha --set indexes=corp=" + url)
    assert "is not a trusted index" in str(error)
    printed = f"{error!r}{error}{error.hint}{shown.stdout}{shown.stderr}{[one.data for one in shown.outputs]!r}"
    assert not found_in(printed.encode())
    (tmp_path / "uv-argo-policy.toml").write_text('[packages]\nblocked = ["beta"]\n')
    with capture_output() as shown:
        error = shell.run_cell(f"%%argo {line}\nimport alpha").error_in_exec
    assert "beta 1.0 is blocked" in str(error)
    assert not found_in(f"{error!r}{error}{shown.stdout}".encode())
    written = [path for path in (tmp_path / "home").rglob("*") if path.is_file()]
    assert "audit.jsonl" in {path.name for path in written}
    assert [path for path in written if found_in(path.read_bytes())] == []


def test_no_repr_has_a_secret(private):
    settings = Settings(**with_url(private), index_url=f"https://me:{SECRET}@index", variables=(("TOKEN", SECRET),))
    spec = RunSpec(cell="", requirements=parse("alpha"), settings=settings)
    worker = Worker(address="a", token=SECRET, host="h", boot="b", pid=1, started="s")
    for value in (settings, spec, worker):
        assert not found_in(repr(value).encode())
