"""commands/export.py: export a run as a Workflow."""

from __future__ import annotations

import pytest
import yaml

from uv_argo_magic.commands import export
from uv_argo_magic.core.commands.table import read_argv
from uv_argo_magic.core.requirements.parser import parse
from uv_argo_magic.core.resolution.lock import Lock, Package, Target
from uv_argo_magic.core.spec.run_spec import Resources, RunSpec, Settings
from uv_argo_magic.history.store import History

LOCK = Lock(
    packages=(Package(name="numpy", version="2.0", sha256="ab", size=1),),
    target=Target(python="3.11.2", abi="cp311", platform="x86_64-manylinux_2_28"),
)


@pytest.fixture
def export_workflow(tmp_path, monkeypatch):
    """Export a run with these settings to x.yaml; returns the printed text and the file's text."""
    monkeypatch.setenv("UV_ARGO_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    history = History(tmp_path / "runs")

    def export_workflow(*arguments, **settings):
        spec = RunSpec(
            cell="print('{{x}}')",
            requirements=parse("numpy>=2"),
            backend="argo",
            python="3.11",
            resources=Resources(memory="2Gi"),
            settings=Settings(images=(("3.11.2", "example.com/uv:1"),), **settings),
        )
        history.begin("r1", spec=spec, resolution=LOCK, nonce="n")
        output = export.export_run(read_argv(["export", "--to", "x.yaml", *arguments]), history)
        return output, (tmp_path / "x.yaml").read_text(encoding="utf-8")

    return export_workflow


def test_run_is_exported_as_workflow_with_current_settings(export_workflow):
    output, text = export_workflow("--set", "namespace=other", "--set", "ttl=60")
    assert output.startswith("Wrote x.yaml. Run it with:   kubectl")
    assert text.startswith("# Exported by uv-argo-magic: the run r1.\n")
    workflow = yaml.safe_load(text)
    script = workflow["spec"]["templates"][0]["script"]
    assert (script["image"], script["resources"]["limits"]["memory"]) == ("example.com/uv:1", "2Gi")
    assert workflow["spec"]["ttlStrategy"]["secondsAfterCompletion"] == 60


def test_variables_of_the_run_are_not_exported(export_workflow):
    _, text = export_workflow("--set", "variables=A=2", variables=(("A", "swordfish"),))
    assert "swordfish" not in text
