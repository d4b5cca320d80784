"""Connections to the API server: credentials, certificates, proxies, path prefixes, errors and concurrent runs."""

from __future__ import annotations

import json
import socket
import stat
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest
from support.argo_server import ArgoServer
from support.waiting import until_printed

from uv_argo_magic.backends.argo import client
from uv_argo_magic.backends.argo.backend import ArgoBackend
from uv_argo_magic.backends.kubernetes import transport, watchers
from uv_argo_magic.core.spec.run_spec import RunSpec, Settings
from uv_argo_magic.engine.preparation.prepare import prepare
from uv_argo_magic.engine.start_run import start
from uv_argo_magic.errors import BackendUnavailable

if TYPE_CHECKING:
    from uv_argo_magic.engine.run import Run

HERE = ".".join(map(str, sys.version_info[:3]))


@pytest.fixture(autouse=True)
def short_intervals(monkeypatch, tmp_path):
    monkeypatch.setenv("UV_ARGO_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(watchers, "POLL", 0.1)
    monkeypatch.setattr(watchers, "RETRY", (0.02, 0.1))


@pytest.fixture
def server(tmp_path):
    with ArgoServer(tmp_path) as server:
        yield server


def begin(server, cell, backend=None) -> Run:
    backend = backend or ArgoBackend()
    settings = Settings(kubeconfig=str(server.kubeconfig), images=((HERE, "none"),))
    return start(prepare(RunSpec(cell=cell, settings=settings, backend="argo"), backend), backend=backend)


def set_user(server, **user):
    """Replace the user in the kubeconfig."""
    kubeconfig = json.loads(server.kubeconfig.read_text())
    kubeconfig["users"][0]["user"] = user
    server.kubeconfig.write_text(json.dumps(kubeconfig))


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    """A self-signed certificate and its key."""
    folder = tmp_path_factory.mktemp("ca")
    cert, key = folder / "cert.pem", folder / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(cert)]
    subprocess.run(command, check=True, capture_output=True)
    return cert, key


def test_run_continues_after_new_login(server):
    run = begin(server, "import time\nfor i in range(60): print(i, flush=True); time.sleep(.05)")
    until_printed(run, "3")
    set_user(server, token="another")
    server.tokens = {"another"}
    server.cut_logs_after = 10  # so that the log must be requested again
    time.sleep(0.1)
    server.cut_logs_after = 0
    assert run.wait(60).outcome == "Succeeded"
    assert run.logs() == "".join(f"{i}\n" for i in range(60))
    assert not run.state.gaps
    assert server.tokens_seen[-1] == "another"


def test_expired_login_is_reported(server):
    server.tokens = {"another"}
    with pytest.raises(BackendUnavailable, match="not logged in to") as caught:
        client.connect(Settings(kubeconfig=str(server.kubeconfig))).workflow("x")
    assert "Log in" in caught.value.hint
    assert server.tokens_seen == ["secret"] * 2  # retried once with the current kubeconfig


def test_exec_plugin_runs_again_when_token_expires(server, tmp_path):
    count = tmp_path / "count"
    plugin = tmp_path / "plugin"
    plugin.write_text(
        f"#!{sys.executable}\n"
        "import json, pathlib, datetime\n"
        f"count = pathlib.Path({str(count)!r})\n"
        "count.write_text(count.read_text() + 'x' if count.exists() else 'x')\n"
        "n = len(count.read_text())\n"
        "until = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=-60 if n == 1 else 600)\n"
        "print(json.dumps({'apiVersion': 'client.authentication.k8s.io/v1', 'kind': 'ExecCredential',\n"
        "    'status': {'token': f't{n}', 'expirationTimestamp': until.strftime('%Y-%m-%dT%H:%M:%SZ')}}))\n"
    )
    plugin.chmod(plugin.stat().st_mode | stat.S_IEXEC)
    set_user(server, exec={"apiVersion": "client.authentication.k8s.io/v1", "command": str(plugin), "args": []})
    server.tokens = {"t2"}
    argo_client = client.connect(Settings(kubeconfig=str(server.kubeconfig)))
    assert argo_client.workflows("a=b") == []
    assert argo_client.workflows("a=b") == []
    assert server.tokens_seen == ["t2", "t2"]
    assert count.read_text() == "xx"
    # Also if its token was revoked before it expired.
    server.tokens = {"t3"}
    assert argo_client.workflows("a=b") == []
    assert server.tokens_seen == ["t2", "t2", "t2", "t3"]


def test_in_cluster_token_is_read_again_after_rotation(tmp_path, authority, monkeypatch):
    from kubernetes.config import incluster_config

    token = tmp_path / "token"
    token.write_text("first")
    (tmp_path / "namespace").write_text("nb\n")
    with ArgoServer(tmp_path, tls=authority) as server:
        server.tokens = {"first"}
        monkeypatch.delenv("KUBECONFIG", raising=False)
        monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
        monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(server.http.server_port))
        monkeypatch.setattr(incluster_config, "SERVICE_TOKEN_FILENAME", str(token))
        monkeypatch.setattr(incluster_config, "SERVICE_CERT_FILENAME", str(authority[0]))
        monkeypatch.setattr("uv_argo_magic.backends.kubernetes.client.NAMESPACE_FILE", str(tmp_path / "namespace"))
        argo_client = client.connect(Settings())
        assert argo_client.location == "this cluster, namespace nb"
        assert argo_client.workflows("a=b") == []
        token.write_text("second")
        server.tokens = {"second"}
        assert argo_client.workflows("a=b") == []
        assert server.tokens_seen == ["first", "first", "second"]


def test_certificate_authority_of_kubeconfig_is_trusted(tmp_path, authority):
    with ArgoServer(tmp_path, tls=authority) as server:
        run = begin(server, "print(1)")
        assert (run.wait(60).outcome, run.logs()) == ("Succeeded", "1\n")
        run._is_read.wait(60)
        kubeconfig = json.loads(server.kubeconfig.read_text())
        del kubeconfig["clusters"][0]["cluster"]["certificate-authority"]
        server.kubeconfig.write_text(json.dumps(kubeconfig))
        with pytest.raises(BackendUnavailable, match="CERTIFICATE_VERIFY_FAILED"):
            client.connect(Settings(kubeconfig=str(server.kubeconfig))).workflow("x")


def test_server_with_path_prefix_is_supported(tmp_path):
    with ArgoServer(tmp_path, prefix="/k8s/clusters/c-1") as server:
        run = begin(server, "print(1)")
        assert (run.wait(60).outcome, run.logs()) == ("Succeeded", "1\n")
        run._is_read.wait(60)


@pytest.mark.parametrize("source", ["kubeconfig", "environment"])
def test_proxy_of_kubeconfig_or_environment_is_used(server, monkeypatch, source):
    kubeconfig = json.loads(server.kubeconfig.read_text())
    cluster = kubeconfig["clusters"][0]["cluster"]
    proxy, cluster["server"] = cluster["server"], "http://cluster.example:6443"
    if source == "kubeconfig":
        cluster["proxy-url"] = proxy
    else:
        monkeypatch.setenv("http_proxy", proxy)
        monkeypatch.delenv("no_proxy", raising=False)
    server.kubeconfig.write_text(json.dumps(kubeconfig))
    assert client.connect(Settings(kubeconfig=str(server.kubeconfig))).workflows("a=b") == []
    assert server.calls


def test_retry_after_is_respected_up_to_a_limit(server, monkeypatch):
    delays = []
    monkeypatch.setattr(transport.time, "sleep", delays.append)
    argo_client = client.connect(Settings(kubeconfig=str(server.kubeconfig)))
    server.fail("GET", 429, times=2, retry_after=4)
    assert argo_client.workflows("a=b") == []
    server.fail("GET", 429, times=9, retry_after=600)
    with pytest.raises(BackendUnavailable, match="429"):
        argo_client.workflows("a=b")
    assert delays == [4.0, 4.0, 10.0, 10.0, 10.0]


def test_closed_connection_is_reported(server):
    argo_client = client.connect(Settings(kubeconfig=str(server.kubeconfig)))
    server.fail("GET", 0)
    with pytest.raises(BackendUnavailable, match="no response from"):
        argo_client.workflows("a=b")
    assert argo_client.workflows("a=b") == []


def test_refused_connection_is_not_reported_as_timeout(server, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    kubeconfig = tmp_path / "refusing"
    kubeconfig.write_text(server.kubeconfig.read_text().replace(server.url, f"http://127.0.0.1:{port}"))
    with pytest.raises(BackendUnavailable, match=r"no response from the API of test, namespace nb: .*refused"):
        client.connect(Settings(kubeconfig=str(kubeconfig))).workflows("a=b")


def test_combined_api_errors_lose_no_output(server):
    run = begin(server, "import time\nfor i in range(60): print('line', i, flush=True); time.sleep(.03)")
    for status in (0, 401, 429, 500, 503):
        server.fail("GET /api", status, times=2)
    server.fail("watch=1", 410)
    server.cut_logs_after = 2500
    state = run.wait(60)
    assert state.outcome == "Succeeded"
    assert run.logs() == "".join(f"line {i}\n" for i in range(60))
    assert not state.gaps


@pytest.mark.parametrize("count", [8, pytest.param(50, marks=pytest.mark.slow)])
def test_concurrent_runs_keep_their_own_output(server, count):
    backend = ArgoBackend()
    settings = Settings(kubeconfig=str(server.kubeconfig), images=((HERE, "none"),))
    prepared = [
        prepare(RunSpec(cell=f"for i in range(20): print('run {n} line', i)", settings=settings), backend)
        for n in range(count)
    ]
    runs: list[Run] = []
    server.pod_limit = threading.Semaphore(4)  # at most four processes at a time
    threads = [
        threading.Thread(target=lambda item=item: runs.append(start(item, backend=backend))) for item in prepared
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len({run.name for run in runs}) == count
    assert {run.wait(240).outcome for run in runs} == {"Succeeded"}
    outputs = {"".join(f"run {n} line {i}\n" for i in range(20)) for n in range(count)}
    assert {run.logs() for run in runs} == outputs
    for run in runs:
        run._is_read.wait(60)
