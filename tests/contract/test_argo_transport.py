"""The ways to an API, and its bad days: expired credentials, private authorities, proxies, prefixes, many at once."""

from __future__ import annotations

import json
import socket
import stat
import subprocess
import sys
import threading
import time

import pytest
from support.argo_server import ArgoServer
from support.waiting import until_printed

from uv_argo_magic.backends.argo import client
from uv_argo_magic.backends.argo.backend import ArgoBackend
from uv_argo_magic.backends.kubernetes import transport, watchers
from uv_argo_magic.core.spec.run_spec import RunSpec, Settings
from uv_argo_magic.engine.prepare import prepare
from uv_argo_magic.engine.run import Run, start
from uv_argo_magic.errors import BackendUnavailable

HERE = ".".join(map(str, sys.version_info[:3]))


@pytest.fixture(autouse=True)
def quick(monkeypatch, tmp_path):
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


def change(server, **user):
    """Another user in the kubeconfig."""
    kubeconfig = json.loads(server.kubeconfig.read_text())
    kubeconfig["users"][0]["user"] = user
    server.kubeconfig.write_text(json.dumps(kubeconfig))


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    """A certificate that vouches for itself, and its key."""
    folder = tmp_path_factory.mktemp("ca")
    cert, key = folder / "cert.pem", folder / "key.pem"
    line = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"]
    line += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(cert)]
    subprocess.run(line, check=True, capture_output=True)
    return cert, key


def test_who_has_logged_in_again_goes_on(server):
    one = begin(server, "import time\nfor i in range(60): print(i, flush=True); time.sleep(.05)")
    until_printed(one, "3")
    change(server, token="another")
    server.tokens = {"another"}
    server.cut = 10  # so that the log has to be asked for again
    time.sleep(0.1)
    server.cut = 0
    assert one.wait(60).outcome == "Succeeded"
    assert one.logs() == "".join(f"{i}\n" for i in range(60))
    assert not one.state.gaps
    assert server.seen[-1] == "another"


def test_who_is_not_known_any_more_is_told_so(server):
    server.tokens = {"another"}
    with pytest.raises(BackendUnavailable, match="not logged in to") as caught:
        client.connect(Settings(kubeconfig=str(server.kubeconfig))).workflow("x")
    assert "Log in" in caught.value.hint
    assert server.seen == ["secret"] * 2  # once more with what the file says now, and no more


def test_an_exec_plugin_runs_again_when_its_token_expires(server, tmp_path):
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
    change(server, exec={"apiVersion": "client.authentication.k8s.io/v1", "command": str(plugin), "args": []})
    server.tokens = {"t2"}
    door = client.connect(Settings(kubeconfig=str(server.kubeconfig)))
    assert door.workflows("a=b") == []
    assert door.workflows("a=b") == []
    assert server.seen == ["t2", "t2"]
    assert count.read_text() == "xx"
    # One whose token was withdrawn before its time is run again as well.
    server.tokens = {"t3"}
    assert door.workflows("a=b") == []
    assert server.seen == ["t2", "t2", "t2", "t3"]


def test_a_pods_own_rights_with_a_token_that_is_changed(tmp_path, authority, monkeypatch):
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
        door = client.connect(Settings())
        assert door.location == "this cluster, namespace nb"
        assert door.workflows("a=b") == []
        token.write_text("second")
        server.tokens = {"second"}
        assert door.workflows("a=b") == []
        assert server.seen == ["first", "first", "second"]


def test_a_private_authority_is_trusted_by_name_alone(tmp_path, authority):
    with ArgoServer(tmp_path, tls=authority) as server:
        one = begin(server, "print(1)")
        assert (one.wait(60).outcome, one.logs()) == ("Succeeded", "1\n")
        one._is_read.wait(60)
        kubeconfig = json.loads(server.kubeconfig.read_text())
        del kubeconfig["clusters"][0]["cluster"]["certificate-authority"]
        server.kubeconfig.write_text(json.dumps(kubeconfig))
        with pytest.raises(BackendUnavailable, match="CERTIFICATE_VERIFY_FAILED"):
            client.connect(Settings(kubeconfig=str(server.kubeconfig))).workflow("x")


def test_a_path_before_every_other(tmp_path):
    with ArgoServer(tmp_path, prefix="/k8s/clusters/c-1") as server:
        one = begin(server, "print(1)")
        assert (one.wait(60).outcome, one.logs()) == ("Succeeded", "1\n")
        one._is_read.wait(60)


@pytest.mark.parametrize("how", ["kubeconfig", "environment"])
def test_a_proxy_stands_in_between(server, monkeypatch, how):
    kubeconfig = json.loads(server.kubeconfig.read_text())
    cluster = kubeconfig["clusters"][0]["cluster"]
    proxy, cluster["server"] = cluster["server"], "http://cluster.example:6443"
    if how == "kubeconfig":
        cluster["proxy-url"] = proxy
    else:
        monkeypatch.setenv("http_proxy", proxy)
        monkeypatch.delenv("no_proxy", raising=False)
    server.kubeconfig.write_text(json.dumps(kubeconfig))
    assert client.connect(Settings(kubeconfig=str(server.kubeconfig))).workflows("a=b") == []
    assert server.calls


def test_an_api_that_says_later_is_asked_later(server, monkeypatch):
    waited = []
    monkeypatch.setattr(transport.time, "sleep", waited.append)
    door = client.connect(Settings(kubeconfig=str(server.kubeconfig)))
    server.fail("GET", 429, times=2, retry_after=4)
    assert door.workflows("a=b") == []
    server.fail("GET", 429, times=9, retry_after=600)
    with pytest.raises(BackendUnavailable, match="429"):
        door.workflows("a=b")
    assert waited == [4.0, 4.0, 10.0, 10.0, 10.0]


def test_what_is_no_answer_at_all(server):
    door = client.connect(Settings(kubeconfig=str(server.kubeconfig)))
    server.fail("GET", 0)
    with pytest.raises(BackendUnavailable, match="no response from"):
        door.workflows("a=b")
    assert door.workflows("a=b") == []


def test_a_refused_connection_is_not_reported_as_a_timeout(server, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    kubeconfig = tmp_path / "refusing"
    kubeconfig.write_text(server.kubeconfig.read_text().replace(server.url, f"http://127.0.0.1:{port}"))
    with pytest.raises(BackendUnavailable, match=r"no response from the API of test, namespace nb: .*refused"):
        client.connect(Settings(kubeconfig=str(kubeconfig))).workflows("a=b")


def test_every_bad_day_at_once_loses_nothing(server):
    one = begin(server, "import time\nfor i in range(60): print('line', i, flush=True); time.sleep(.03)")
    for status in (0, 401, 429, 500, 503):
        server.fail("GET /api", status, times=2)
    server.fail("watch=1", 410)
    server.cut = 2500
    state = one.wait(60)
    assert state.outcome == "Succeeded"
    assert one.logs() == "".join(f"line {i}\n" for i in range(60))
    assert not state.gaps


@pytest.mark.parametrize("count", [8, pytest.param(50, marks=pytest.mark.slow)])
def test_of_runs_at_once_none_is_lost_and_none_mixed_up(server, count):
    backend = ArgoBackend()
    settings = Settings(kubeconfig=str(server.kubeconfig), images=((HERE, "none"),))
    prepared = [
        prepare(RunSpec(cell=f"for i in range(20): print('run {n} line', i)", settings=settings), backend)
        for n in range(count)
    ]
    runs: list[Run] = []
    server.most = threading.Semaphore(4)  # processes of this machine at one time
    threads = [threading.Thread(target=lambda one=one: runs.append(start(one, backend=backend))) for one in prepared]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len({run.name for run in runs}) == count
    assert {run.wait(240).outcome for run in runs} == {"Succeeded"}
    wanted = {"".join(f"run {n} line {i}\n" for i in range(20)) for n in range(count)}
    assert {run.logs() for run in runs} == wanted
    for run in runs:
        run._is_read.wait(60)
