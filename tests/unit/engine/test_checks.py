"""engine/checks.py: checks apply to everything that reaches a backend, and no module bypasses them."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import uv_argo_magic
from uv_argo_magic.backends.base import PolicyText
from uv_argo_magic.core.requirements.parser import parse
from uv_argo_magic.core.resolution.lock import Lock, Package, Target
from uv_argo_magic.core.spec.run_spec import RunSpec, Settings
from uv_argo_magic.engine import checks
from uv_argo_magic.engine.preparation import build, image_probe
from uv_argo_magic.engine.preparation.prepare import prepare
from uv_argo_magic.errors import BackendUnavailable, PolicyError
from uv_argo_magic.testing import FakeBackend

LOCK = Lock(packages=(Package(name="leftpad", version="1.0"),), target=Target(python="3.12.1"))


@pytest.fixture
def proposals(monkeypatch, tmp_path):
    """The proposals seen by a check that refuses everything."""
    monkeypatch.setenv("UV_ARGO_HOME", str(tmp_path))
    proposals = []

    def refuse(proposal):
        proposals.append(proposal)
        raise PolicyError("leftpad is not allowed", hint="Ask your administrator for it.")

    monkeypatch.setattr(checks, "CHECKS", [refuse])
    return proposals


def test_run_is_refused_before_it_is_submitted(proposals):
    spec, backend = RunSpec(cell="1", requirements=parse("leftpad")), FakeBackend()
    with pytest.raises(PolicyError, match="leftpad is not allowed"):
        prepare(spec, backend, resolution=LOCK)
    assert backend.submitted == []
    (proposal,) = proposals
    assert (proposal.spec, proposal.resolution, proposal.purpose) == (spec, LOCK, "run")


def test_probe_and_export_are_refused(proposals, tmp_path):
    backend = FakeBackend()
    with pytest.raises(PolicyError):
        image_probe.inspect_image(RunSpec(cell="", settings=Settings(base="own")), backend, tmp_path)
    with pytest.raises(PolicyError):
        build.build(checks.Proposal(spec=RunSpec(cell=""), resolution=LOCK, purpose="export"))
    assert [proposal.purpose for proposal in proposals] == ["probe", "export"]
    assert backend.submitted == []


def test_run_needs_the_policy_of_its_backend():
    class Unavailable(FakeBackend):
        def policy(self, settings):
            problem = BackendUnavailable("no response")
            return PolicyText(origin="ConfigMap", problem=str(problem), unavailable=problem)

    spec, backend = RunSpec(cell="1"), Unavailable()
    with pytest.raises(BackendUnavailable, match="no response"):
        prepare(spec, backend, resolution=LOCK)
    assert prepare(spec, backend, resolution=LOCK, dry_run=True)


def test_nothing_is_refused_without_checks():
    checks.enforce(checks.Proposal(spec=RunSpec(cell=""), resolution=LOCK))


def modules_that_call(*methods):
    """The modules of the package that call one of these methods, given as in the source: `backend.submit`."""
    root = Path(uv_argo_magic.__file__).parent
    names = {method.rpartition(".")[2] for method in methods}
    for path in root.rglob("*.py"):
        source = path.read_text(encoding="utf-8")
        if any(f".{name}(" in source for name in names):
            for node in ast.walk(ast.parse(source)):
                match node:
                    case ast.Call(func=ast.Attribute(attr=name) as method) if name in names:
                        if ast.unparse(method) in methods:
                            yield path.relative_to(root).as_posix()


def test_only_known_modules_build_and_submit_programs():
    assert set(modules_that_call("program.build", "programs.build")) == {"engine/preparation/build.py"}
    assert set(modules_that_call("backend.submit", "chosen.submit", "self._backend.submit")) <= {
        "engine/start_run.py",
        "engine/preparation/image_probe.py",
    }
