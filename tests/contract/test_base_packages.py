"""`base` and custom images: probes of their Python and packages, on this machine and with a fake API server."""

from __future__ import annotations

import subprocess
import sys

import pytest
from support.argo_server import ArgoServer

from uv_argo_magic.backends.argo.backend import ArgoBackend
from uv_argo_magic.backends.local import LocalBackend
from uv_argo_magic.core.resolution.base_packages import PROBE, read_probe
from uv_argo_magic.core.spec.run_spec import RunSpec, Settings
from uv_argo_magic.engine.preparation.prepare import prepare
from uv_argo_magic.engine.start_run import start
from uv_argo_magic.errors import SpecError

HERE = ".".join(map(str, sys.version_info[:3]))


def test_probe_lists_packages_of_this_python():
    completed = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, text=True, check=True)
    base = read_probe(completed.stdout)
    assert base.python == HERE
    assert "pytest" in {distribution.name for distribution in base.distributions}


def test_custom_image_is_probed_once(tmp_path, home):
    with ArgoServer(tmp_path) as server:
        backend, notes = ArgoBackend(), []
        settings = Settings(kubeconfig=str(server.kubeconfig), image="registry.example.com/mine:1", run_as_user=0)
        spec = RunSpec(cell="print(6 * 7)", settings=settings, backend="argo")
        # A dry run only runs the probe, since it needs the Python version of the image.
        prepared = prepare(spec, backend, dry_run=True, notify=notes.append)
        assert len(server.workflows) == 1
        assert (prepared.spec.python, prepared.interpreter.image) == (HERE, "registry.example.com/mine:1")
        assert notes == [
            "Inspecting registry.example.com/mine:1 (Python and installed packages); the result is cached."
        ]
        run = start(prepared, backend=backend)
        run.wait(60)
        assert run.logs() == "42\n"
        assert len(server.workflows) == 2
        assert prepare(spec, backend, dry_run=True).spec == prepared.spec
        assert len(server.workflows) == 2


def test_base_own_probes_the_default_image(tmp_path, home):
    with ArgoServer(tmp_path) as server:
        image = "registry.example.com/default:1"
        settings = Settings(kubeconfig=str(server.kubeconfig), base="own", images=((HERE, image),), run_as_user=0)
        spec = RunSpec(cell="pass", python=HERE, settings=settings, backend="argo")
        assert prepare(spec, ArgoBackend()).interpreter.image == image
        (workflow,) = server.workflows.values()
        assert workflow.manifest["spec"]["templates"][0]["script"]["image"] == image


def test_base_own_probes_local_python(home):
    backend = LocalBackend()
    spec = RunSpec(cell="import sys; print(*sys.path)", settings=Settings(base="own"))
    prepared = prepare(spec, backend)
    assert prepared.spec == spec
    assert prepared.interpreter.base.python == HERE
    assert prepared.resolution.base_digest == prepared.interpreter.base.digest
    run = start(prepared, backend=backend)
    run.wait(60)
    assert "-packages" in run.logs().replace("venv/lib", "")
    with pytest.raises(SpecError, match="the local backend cannot use the image x:1"):
        prepare(RunSpec(cell="pass", settings=Settings(base="x:1")), backend)
