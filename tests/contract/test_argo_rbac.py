"""The Role for users grants exactly the permissions that this package uses."""

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
from uv_argo_magic.engine.preparation.prepare import prepare
from uv_argo_magic.engine.start_run import start

HERE = ".".join(map(str, sys.version_info[:3]))
PATH = re.compile(
    r"/(?:api/v1|apis/(?P<group>[\w.]+)/\w+)/namespaces/nb/(?P<kind>\w+)(?:/(?P<name>[^/]+))?(?P<log>/log)?"
)


def permission(method: str, path: str, query: str) -> tuple[str, str, str]:
    """Return the (group, resource, verb) that a call needs."""
    match = PATH.fullmatch(path)
    assert match, path
    resource = f"{match['kind']}{match['log'] or ''}"
    if method == "GET" and not match["name"]:
        verb = "watch" if "watch=1" in query else "list"
    else:
        verb = {"GET": "get", "POST": "create", "PATCH": "patch", "DELETE": "delete"}[method]
    return match["group"] or "", resource, verb


@pytest.fixture
def server(tmp_path, home, monkeypatch):
    monkeypatch.setattr(watchers, "POLL", 0.1)
    with ArgoServer(tmp_path) as server:
        manifest = template_manifests.cell()
        manifest["metadata"]["annotations"][template_manifests.PYTHON_NOTE] = HERE
        server.templates["cell"] = manifest
        yield server


def test_role_matches_the_calls(server):
    backend = ArgoBackend()
    # Early output needs the Role for sessions.
    settings = Settings(kubeconfig=str(server.kubeconfig), images=((HERE, "none"),), early_output=False)

    def begin(cell, **changes):
        run_settings = Settings(**{**vars(settings), **changes})
        return start(prepare(RunSpec(cell=cell, settings=run_settings, backend="argo"), backend), backend=backend)

    prepare(RunSpec(cell="pass", settings=settings, backend="argo"), backend).describe(backend)
    # A pod that waits long enough for its events to be requested; then a large program, from a template.
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
    needed = {permission(*call) for call in server.calls}
    assert needed == {(group, resource, verb) for group, resource, verbs, _ in role.ROLE for verb in verbs}
