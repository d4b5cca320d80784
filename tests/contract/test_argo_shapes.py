"""What only one shape of a workflow has to show: credentials that the cell never sees, an image without uv."""

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
from uv_argo_magic.engine.prepare import prepare
from uv_argo_magic.engine.run import Run, start
from uv_argo_magic.uv import runner
from uv_argo_magic.uv.resolver import Resolver

if TYPE_CHECKING:
    from collections.abc import Callable

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
def run(server) -> Callable[..., Run]:
    def begin(cell: str, index: IndexServer, image: str = "none", **settings) -> Run:
        url = settings.pop("index_url", index.url)
        wanted = Settings(kubeconfig=str(server.kubeconfig), images=((HERE, image),), index_url=url, **settings)
        spec = RunSpec(cell=cell, requirements=parser.parse("alpha"), settings=wanted, backend="argo")
        backend = ArgoBackend()
        return start(prepare(spec, backend), backend=backend)

    return begin


@pytest.mark.parametrize("log_in_here", [True, False])
def test_only_the_install_knows_who_asks_the_index(server, run, monkeypatch, log_in_here):
    server.secrets["login"] = {"username": "me", "password": PASSWORD}
    if log_in_here:
        monkeypatch.setenv("UV_INDEX_CORP_USERNAME", "me")
        monkeypatch.setenv("UV_INDEX_CORP_PASSWORD", PASSWORD)
    with IndexServer(credentials=f"me:{PASSWORD}") as index:
        index.add("alpha", "1.0", files={"alpha.py": "VERSION = 1\n"})
        one = run(CELL, index, index_secrets=(("corp", "login"),))
        state = one.wait(60)
        assert state.outcome == "Succeeded", "".join(state.install_log)
        assert one.logs().startswith("1\n[]\n")
        assert any("credentials" in note for note in state.notes)
        assert bool(state.locked) != log_in_here  # resolved over there
        (made,) = server.workflows.values()
        log = b"".join(line for log in made.logs.values() for _, line in log.lines)
        for text in (json.dumps(made.made), json.dumps(made.template), log.decode(), one.logs()):
            assert PASSWORD not in text


def test_without_the_secret_the_index_asks_who_it_is(tmp_path, home):
    with IndexServer(credentials="me:x") as index:
        settings = Settings(index_url=index.url, index_secrets=(("corp", "login"),))
        resolver = Resolver(interpreter=ArgoBackend().target(RunSpec(cell="")), settings=settings)
        found = resolver.lock(parser.parse("alpha"))
    assert isinstance(found, Unresolved)
    assert "401" in found.reason


def test_an_image_without_uv_gets_the_one_of_the_client(run, monkeypatch):
    monkeypatch.setattr(runner, "uv_version", lambda: "9.9.9")
    with IndexServer() as index:
        index.add("alpha", "1.0", files={"alpha.py": "VERSION = 1\n"})
        script = f'#!/bin/sh\nexec {find_uv_bin()} "$@"\n'
        index.add("uv", "9.9.9", files={"uv-9.9.9.data/scripts/uv": script})
        one = run(CELL, index, image=NO_UV, shape="runtime")
        state = one.wait(90)
        assert (state.outcome, one.logs()[:2]) == ("Succeeded", "1\n"), "".join(state.install_log)
        assert "uv-9.9.9" in "".join(state.install_log)


def test_a_large_program_installs_apart_from_a_config_map(server, run):
    with IndexServer() as index:
        index.add("alpha", "1.0", files={"alpha.py": "VERSION = 1\n"})
        numbers = [i * 7919 % 1_000_003 for i in range(30_000)]
        one = run(f"import alpha\nnumbers = {numbers}\nprint(alpha.VERSION, sum(numbers))", index, shape="init")
        assert (one.wait(60).outcome, one.logs()) == ("Succeeded", f"1 {sum(numbers)}\n")
        (made,) = server.config_maps.values()
        assert set(made["data"]) == {"install.py", "program.py"}
