"""The Role that users get is what this package really asks of the API: no right is missing, and none is too many."""

from __future__ import annotations

import re
import sys

import pytest
from support.argo_server import ArgoServer
from support.waiting import until_printed

from uv_argo_magic.backends.argo import role
from uv_argo_magic.backends.argo.backend import ArgoBackend
from uv_argo_magic.backends.argo.manifests import template_manifests
from uv_argo_magic.backends.kubernetes import watchers
from uv_argo_magic.core.spec.run_spec import RunSpec, Settings
from uv_argo_magic.engine.prepare import prepare
from uv_argo_magic.engine.run import start

HERE = ".".join(map(str, sys.version_info[:3]))
PATH = re.compile(
    r"/(?:api/v1|apis/(?P<group>[\w.]+)/\w+)/namespaces/nb/(?P<kind>\w+)(?:/(?P<name>[^/]+))?(?P<log>/log)?"
)


def right(method: str, path: str, query: str) -> tuple[str, str, str]:
    """(group, resource, verb) that a call needs."""
    found = PATH.fullmatch(path)
    assert found, path
    resource = f"{found['kind']}{found['log'] or ''}"
    if method == "GET" and not found["name"]:
        verb = "watch" if "watch=1" in query else "list"
    else:
        verb = {"GET": "get", "POST": "create", "PATCH": "patch", "DELETE": "delete"}[method]
    return found["group"] or "", resource, verb


@pytest.fixture
def server(tmp_path, home, monkeypatch):
    monkeypatch.setattr(watchers, "POLL", 0.1)
    with ArgoServer(tmp_path) as server:
        made = template_manifests.cell()
        made["metadata"]["annotations"][template_manifests.PYTHON_NOTE] = HERE
        server.templates["cell"] = made
        yield server


def test_the_role_is_what_the_calls_need(server):
    backend = ArgoBackend()
    # Early output is for users with the Role of sessions.
    settings = Settings(kubeconfig=str(server.kubeconfig), images=((HERE, "none"),), early_output=False)

    def begin(cell, **more):
        made = Settings(**{**vars(settings), **more})
        return start(prepare(RunSpec(cell=cell, settings=made, backend="argo"), backend), backend=backend)

    prepare(RunSpec(cell="pass", settings=settings, backend="argo"), backend).describe(backend)
    # A pod that waits long enough for its events to be asked for; then a large program, by a template.
    server.start_after = 1.0
    first = begin("print(1)")
    server.start_after = 0.05
    numbers = [i * 7919 % 1_000_003 for i in range(30_000)]
    second = begin(f"print(len({numbers}))", template="cell")
    third = begin("import time; print('begun', flush=True); time.sleep(1000)")
    until_printed(third, "begun")
    third.stop()
    for run in (first, second, third):
        run.wait(60)
        run._is_read.wait(60)
    found = backend.find(third.id, settings)
    assert found
    assert found.name == third.name
    needed = {right(*call) for call in server.calls}
    assert needed == {(group, resource, verb) for group, resource, verbs, _ in role.ROLE for verb in verbs}
