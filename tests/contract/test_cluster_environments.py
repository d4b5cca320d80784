"""Environments on a claim of a real cluster: what runs share there, and what a killed install leaves.

The tests create a volume in a folder of the node. UV_ARGO_TEST_HOST is an address of this machine that pods reach.
"""

from __future__ import annotations

import os
import uuid

import pytest
from support import real_argo
from support.index_server import IndexServer
from support.waiting import until

from uv_argo_magic import cli, run, submit
from uv_argo_magic.backends.argo import client
from uv_argo_magic.core.spec.run_spec import Settings

pytestmark = [
    *real_argo.MARKS,
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


def open_to_all(api, volume):
    """Let every user write to a volume: a folder of a node is root's."""
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
    """The name of an empty claim, on a volume of its own."""
    name = f"uv-argo-test-{uuid.uuid4().hex[:6]}"
    size, claims = {"storage": "1Gi"}, f"/api/v1/namespaces/{api.namespace}/persistentvolumeclaims"
    common = {"accessModes": ["ReadWriteMany"], "storageClassName": ""}
    volume = {
        "metadata": {"name": name},
        "spec": common | {"capacity": size, "hostPath": {"path": f"/tmp/{name}", "type": "DirectoryOrCreate"}},
    }
    wanted = {"metadata": {"name": name}, "spec": common | {"resources": {"requests": size}, "volumeName": name}}
    api.transport.request("POST", "/api/v1/persistentvolumes", body=volume)
    api.transport.request("POST", claims, body=wanted)
    open_to_all(api, {"persistentVolumeClaim": {"claimName": name}})
    yield name
    api.transport.request("DELETE", f"{claims}/{name}")
    api.transport.request("DELETE", f"/api/v1/persistentvolumes/{name}")


@pytest.fixture
def cell(index, claim):
    """Runs code with packages of the index, and the claim as its store."""

    def cell(code, deps="heavy", *, start=run, **settings):
        options = {"index_url": index.url, "store": f"claim/{claim}", "panel": "none", **settings}
        return start(code, deps=deps, settings=options)

    return cell


def was_cached(done):
    return done.state.installed.cached


def test_an_environment_is_installed_once(cell, index):
    first, second = cell(SHOW), cell(SHOW)
    assert (was_cached(first), was_cached(second)) == (False, True)
    assert first.logs() == f"7 /tmp/venv-{first.name}\n"
    assert second.logs() == f"7 /tmp/venv-{second.name}\n"
    downloads = [path for path in index.requests if path.endswith(".whl") and "heavy" in path]
    # Another set of packages takes what uv's cache has, and the byte code of the first.
    assert cell(COMPILED, "heavy light").logs() == "True\n"
    assert [path for path in index.requests if path.endswith(".whl") and "heavy" in path] == downloads


def test_a_cell_that_cannot_write_to_the_store_has_its_byte_code(cell):
    assert cell(COMPILED, shape="init").logs() == "True\n"


@pytest.mark.parametrize("shape", ["script", "init"])
def test_runs_that_start_at_once_install_once(cell, shape):
    started = [cell(SHOW, start=submit, shape=shape) for _ in range(6)]
    for one in started:
        one.result(300)
    assert sorted(map(was_cached, started)) == [False, *[True] * 5]


@pytest.mark.parametrize("shape", ["script", "init"])
def test_an_install_in_a_pod_that_is_deleted_leaves_nothing_broken(cell, index, api, shape):
    index.pause, before = 8.0, len(index.requests)
    killed = cell(SHOW, start=submit, shape=shape)
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
    after = cell(SHOW, shape=shape)
    assert (after.logs()[:2], was_cached(after)) == ("7 ", False)
    assert was_cached(cell(SHOW, shape=shape))


def test_the_store_of_a_cluster_is_listed_verified_and_pruned(cell, claim, capsys):
    cell(SHOW)
    place = ("-b", "argo", "--set", f"store=claim/{claim}")
    expected = {"list": "heavy", "verify": "1 environment verified", "prune": "Removed 1 environment"}
    for action, text in expected.items():
        keep = ("--keep", "0") if action == "prune" else ()
        assert cli.main(["env", action, *keep, *place]) == 0
        assert text in capsys.readouterr().out
    assert not was_cached(cell(SHOW))


def test_a_persistent_environment_stays_on_its_volume(cell, claim):
    volumes = f"/mnt/results=claim/{claim}"
    first = cell("import heavy, sys\nprint(sys.prefix)", env="persistent", volumes=volumes, store="")
    path = first.logs().strip()
    assert path == f"/mnt/results/.venv-{first.name}"
    second = cell("import heavy, sys\nprint(sys.prefix)", venv=path, volumes=volumes, store="")
    assert (second.logs().strip(), was_cached(second)) == (path, True)


def test_a_folder_of_the_node_keeps_what_was_downloaded(cell, index, api):
    path = f"/tmp/uv-argo-test-{uuid.uuid4().hex[:6]}"
    open_to_all(api, {"hostPath": {"path": path, "type": "DirectoryOrCreate"}})
    folder = f"host{path}"
    assert cell(SHOW, cache=folder, store="").logs().startswith("7 ")
    downloads = len(index.requests)
    again = cell(SHOW, cache=folder, store="")
    assert (again.logs()[:2], was_cached(again)) == ("7 ", False)
    assert not any(path.endswith(".whl") for path in index.requests[downloads:])
