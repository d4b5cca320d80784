"""Workflow shapes: index credentials that cells cannot read, images without uv, and large programs."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import pytest
from support.argo_server import NO_UV, ArgoServer
from support.index_server import IndexServer
from uv import find_uv_bin

from uv_argo_magic.backends.argo.backend import ArgoBackend
from uv_argo_magic.core.requirements import parser
from uv_argo_magic.core.resolution.lock import Unresolved
from uv_argo_magic.core.spec.run_spec import RunSpec, Settings
from uv_argo_magic.engine.preparation.prepare import prepare
from uv_argo_magic.engine.start_run import start
from uv_argo_magic.uv import runner
from uv_argo_magic.uv.resolver import Resolver

if TYPE_CHECKING:
    from collections.abc import Callable

    from uv_argo_magic.engine.run import Run

HERE = ".".join(map(str, sys.version_info[:3]))
PASSWORD = "swordfish"
CELL = """import alpha, os
print(alpha.VERSION)
print([name for name in os.environ if "INDEX" in name])
print(open(f"/proc/{os.getppid()}/environ").read() if os.path.exists("/proc") else "")
"""


@pytest.fixture
def server(tmp_path, home):
    with ArgoServer(tmp_path) as server:
        yield server


@pytest.fixture
def begin(server) -> Callable[..., Run]:
    def begin(cell: str, index: IndexServer, image: str = "none", **settings) -> Run:
        url = settings.pop("index_url", index.url)
        run_settings = Settings(kubeconfig=str(server.kubeconfig), images=((HERE, image),), index_url=url, **settings)
        spec = RunSpec(cell=cell, requirements=parser.parse("alpha"), settings=run_settings, backend="argo")
        backend = ArgoBackend()
        return start(prepare(spec, backend), backend=backend)

    return begin


@pytest.mark.parametrize("has_local_login", [True, False])
def test_cell_cannot_read_index_credentials(server, begin, monkeypatch, has_local_login):
    server.secrets["login"] = {"username": "me", "password": PASSWORD}
    if has_local_login:
        monkeypatch.setenv("UV_INDEX_CORP_USERNAME", "me")
        monkeypatch.setenv("UV_INDEX_CORP_PASSWORD", PASSWORD)
    with IndexServer(credentials=f"me:{PASSWORD}") as index:
        index.add("alpha", "1.0", files={"alpha.py": "VERSION = 1\n"})
        run = begin(CELL, index, index_secrets=(("corp", "login"),))
        state = run.wait(60)
        assert state.outcome == "Succeeded", "".join(state.install_log)
        assert run.logs().startswith("1\n[]\n")
        assert any("credentials" in note for note in state.notes)
        assert bool(state.locked) != has_local_login  # resolved in the pod
        (workflow,) = server.workflows.values()
        log = b"".join(line for log in workflow.logs.values() for _, line in log.lines)
        for text in (json.dumps(workflow.manifest), json.dumps(workflow.template), log.decode(), run.logs()):
            assert PASSWORD not in text


def test_index_without_local_credentials_is_unresolved(tmp_path, home):
    with IndexServer(credentials="me:x") as index:
        settings = Settings(index_url=index.url, index_secrets=(("corp", "login"),))
        resolver = Resolver(interpreter=ArgoBackend().target(RunSpec(cell="")), settings=settings)
        unresolved = resolver.lock(parser.parse("alpha"))
    assert isinstance(unresolved, Unresolved)
    assert "401" in unresolved.reason


def test_image_without_uv_gets_the_clients_version(begin, monkeypatch):
    monkeypatch.setattr(runner, "uv_version", lambda: "9.9.9")
    with IndexServer() as index:
        index.add("alpha", "1.0", files={"alpha.py": "VERSION = 1\n"})
        script = f'#!/bin/sh\nexec {find_uv_bin()} "$@"\n'
        index.add("uv", "9.9.9", files={"uv-9.9.9.data/scripts/uv": script})
        run = begin(CELL, index, image=NO_UV, shape="runtime")
        state = run.wait(90)
        assert (state.outcome, run.logs()[:2]) == ("Succeeded", "1\n"), "".join(state.install_log)
        assert "uv-9.9.9" in "".join(state.install_log)


def test_large_program_with_init_shape_uses_config_map(server, begin):
    with IndexServer() as index:
        index.add("alpha", "1.0", files={"alpha.py": "VERSION = 1\n"})
        numbers = [i * 7919 % 1_000_003 for i in range(30_000)]
        run = begin(f"import alpha\nnumbers = {numbers}\nprint(alpha.VERSION, sum(numbers))", index, shape="init")
        assert (run.wait(60).outcome, run.logs()) == ("Succeeded", f"1 {sum(numbers)}\n")
        (config_map,) = server.config_maps.values()
        assert set(config_map["data"]) == {"install.py", "program.py"}
