"""Environments on a volume claim of a real cluster: shared by runs, and after a killed install.

The tests create a volume in a folder of the node. UV_ARGO_TEST_HOST is an address of this machine that pods reach.
"""

from __future__ import annotations

import os
import uuid

import pytest
from support import real_argo
from support.index_server import IndexServer
from support.waiting import until

from uv_argo_magic import InstallFailed, cli, run, submit
from uv_argo_magic.backends.argo import client
from uv_argo_magic.core.spec.run_spec import Settings

pytestmark = [
    *real_argo.CLUSTER_MARKS,
    pytest.mark.skipif("UV_ARGO_TEST_HOST" not in os.environ, reason="needs UV_ARGO_TEST_HOST"),
]
SHOW = "import sys, heavy\nprint(heavy.VALUE, sys.prefix)"
COMPILED = """\
import importlib.util, os
print(os.path.exists(importlib.util.find_spec("heavy").cached))
import heavy
"""


@pytest.fixture(scope="module", autouse=True)
def cluster(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        for name, value in real_argo.variables().items():
            patch.setenv(name, value)
        patch.setenv("UV_ARGO_HOME", str(tmp_path_factory.mktemp("home")))
        yield


@pytest.fixture(scope="module")
def index():
    with IndexServer(address=os.environ["UV_ARGO_TEST_HOST"], max_age=3600) as server:
        server.add("heavy", "1.0", files={"heavy.py": "VALUE = 7\n"})
        server.add("light", "1.0", files={"light.py": ""})
        yield server


@pytest.fixture
def api():
    return client.connect(Settings(kubeconfig=os.environ["UV_ARGO_TEST_KUBECONFIG"]))


def make_writable(api, volume):
    """Let all users write to a volume, since a folder of a node belongs to root."""
    pods = f"/api/v1/namespaces/{api.namespace}/pods"
    image = os.environ["UV_ARGO_TEST_IMAGE"].partition("=")[2]
    mount = {"name": "store", "mountPath": "/store"}
    command = ["python3", "-c", "import os; os.chmod('/store', 0o777)"]
    container = {"name": "main", "image": image, "command": command, "volumeMounts": [mount]}
    spec = {"restartPolicy": "Never", "containers": [container], "volumes": [{"name": "store", **volume}]}
    name = f"uv-argo-test-{uuid.uuid4().hex[:6]}"
    api.transport.request("POST", pods, body={"metadata": {"name": name}, "spec": spec})
    until(lambda: api.pod(name)["status"]["phase"] == "Succeeded")
    api.transport.request("DELETE", f"{pods}/{name}")


@pytest.fixture
def claim(api):
    """The name of an empty claim on a new volume."""
    name = f"uv-argo-test-{uuid.uuid4().hex[:6]}"
    size, claims = {"storage": "1Gi"}, f"/api/v1/namespaces/{api.namespace}/persistentvolumeclaims"
    common = {"accessModes": ["ReadWriteMany"], "storageClassName": ""}
    volume = {
        "metadata": {"name": name},
        "spec": common | {"capacity": size, "hostPath": {"path": f"/tmp/{name}", "type": "DirectoryOrCreate"}},
    }
    manifest = {"metadata": {"name": name}, "spec": common | {"resources": {"requests": size}, "volumeName": name}}
    api.transport.request("POST", "/api/v1/persistentvolumes", body=volume)
    api.transport.request("POST", claims, body=manifest)
    make_writable(api, {"persistentVolumeClaim": {"claimName": name}})
    yield name
    api.transport.request("DELETE", f"{claims}/{name}")
    api.transport.request("DELETE", f"/api/v1/persistentvolumes/{name}")


@pytest.fixture
def run_cell(index, claim):
    """Run code with packages of the index and the claim as its store."""

    def run_cell(code, deps="heavy", *, start=run, **settings):
        options = {"index_url": index.url, "store": f"claim/{claim}", "panel": "none", **settings}
        return start(code, deps=deps, settings=options)

    return run_cell


def was_cached(run):
    return run.state.installed.cached


def test_environment_is_installed_once(run_cell, index):
    first, second = run_cell(SHOW), run_cell(SHOW)
    assert (was_cached(first), was_cached(second)) == (False, True)
    assert first.logs() == f"7 /tmp/venv-{first.name}\n"
    assert second.logs() == f"7 /tmp/venv-{second.name}\n"
    downloads = [path for path in index.requests if path.endswith(".whl") and "heavy" in path]
    # Another set of packages uses uv's cache and the byte code of the first one.
    assert run_cell(COMPILED, "heavy light").logs() == "True\n"
    assert [path for path in index.requests if path.endswith(".whl") and "heavy" in path] == downloads


def test_cell_with_read_only_store_has_byte_code(run_cell):
    assert run_cell(COMPILED, shape="init").logs() == "True\n"


@pytest.mark.parametrize("shape", ["script", "init"])
def test_concurrent_runs_install_environment_once(run_cell, shape):
    runs = [run_cell(SHOW, start=submit, shape=shape) for _ in range(6)]
    for submitted in runs:
        submitted.result(300)
    assert sorted(map(was_cached, runs)) == [False, *[True] * 5]


@pytest.mark.parametrize("shape", ["script", "init"])
def test_install_in_deleted_pod_leaves_no_broken_environment(run_cell, index, api, shape):
    index.pause, before = 8.0, len(index.requests)
    killed = run_cell(SHOW, start=submit, shape=shape)
    try:
        until(lambda: killed.state.phase == "installing")
        until(lambda: any(path.endswith(".whl") for path in index.requests[before:]))
        pods, _ = api.pods(f"workflows.argoproj.io/workflow={killed.name}")
        for pod in pods:
            path = f"/api/v1/namespaces/{api.namespace}/pods/{pod['metadata']['name']}"
            api.transport.request("DELETE", path, query={"gracePeriodSeconds": "0"})
    finally:
        index.pause = 0.0
    assert killed.wait(120).outcome not in ("", "Succeeded")
    next_run = run_cell(SHOW, shape=shape)
    assert (next_run.logs()[:2], was_cached(next_run)) == ("7 ", False)
    assert was_cached(run_cell(SHOW, shape=shape))


def test_env_commands_list_verify_and_prune_the_store(run_cell, claim, capsys, monkeypatch):
    run_cell(SHOW)
    options = ("-b", "argo", "--set", f"store=claim/{claim}")
    expected = {"list": "; uv's cache: ", "verify": "1 environment verified", "prune": "Removed 1 environment"}
    for action, text in expected.items():
        limits = ("--keep", "0", "--cache") if action == "prune" else ()
        with monkeypatch.context() as patch:
            for name, value in (
                ("ENV", "persistent"),
                ("SHAPE", "init"),
                ("LOG_BUDGET", "100"),
            ):  # for the user's cells
                patch.setenv(f"UV_ARGO_{name}", value)
            assert cli.main(["env", action, *limits, *options]) == 0
        output = capsys.readouterr().out
        assert text in output
    assert "Removed uv's cache (" in output
    assert not was_cached(run_cell(SHOW))


def test_persistent_environment_on_volume_is_reused(run_cell, claim):
    volumes = f"/mnt/results=claim/{claim}"
    first = run_cell("import heavy, sys\nprint(sys.prefix)", env="persistent", volumes=volumes, store="")
    path = first.logs().strip()
    assert path == f"/mnt/results/.venv-{first.name}"
    second = run_cell("import heavy, sys\nprint(sys.prefix)", venv=path, volumes=volumes, store="")
    assert (second.logs().strip(), was_cached(second)) == (path, True)


def test_persistent_environment_in_use_is_refused(run_cell, claim):
    volumes = f"/mnt/results=claim/{claim}"
    first = run_cell("import time\ntime.sleep(60)", env="persistent", volumes=volumes, store="", start=submit)
    try:
        until(lambda: first.state.phase == "running")
        venv = f"/mnt/results/.venv-{first.name}"
        with pytest.raises(InstallFailed, match=rf"{venv} is in use by run {first.name}\."):
            run_cell("", venv=venv, volumes=volumes, store="")
    finally:
        first.stop()


def test_uv_cache_on_node_avoids_downloads(run_cell, index, api):
    path = f"/tmp/uv-argo-test-{uuid.uuid4().hex[:6]}"
    make_writable(api, {"hostPath": {"path": path, "type": "DirectoryOrCreate"}})
    folder = f"host{path}"
    assert run_cell(SHOW, cache=folder, store="").logs().startswith("7 ")
    downloads = len(index.requests)
    second = run_cell(SHOW, cache=folder, store="")
    assert (second.logs()[:2], was_cached(second)) == ("7 ", False)
    assert not any(path.endswith(".whl") for path in index.requests[downloads:])
