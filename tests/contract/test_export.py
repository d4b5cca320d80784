"""Exported scripts and workflows run without this package: with `uv run`, and with any client of the API."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request

import pytest
import yaml
from support.argo_server import ArgoServer
from support.index_server import IndexServer
from uv import find_uv_bin

from uv_argo_magic import cli

HERE = ".".join(map(str, sys.version_info[:3]))


@pytest.fixture
def index():
    with IndexServer() as server:
        server.add("alpha", "1.0", files={"alpha.py": "VERSION = 1\n"})
        server.add("alpha", "2.0", files={"alpha.py": "VERSION = 2\n"})
        yield server


def test_dry_run_writes_script_and_workflow(home, tmp_path, index, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cell.py").write_text("import alpha\nalpha")
    command = ["run", "cell.py", "--deps", "alpha<2", "--set", f"index_url={index.url}", "--dry-run", "--to"]
    assert cli.main([*command, "plan.py"]) == 0
    assert (
        capsys.readouterr().out
        == "Wrote plan.py. Run it with:   uv run plan.py\nA script does not display its last expression: print it.\n"
    )
    assert '"alpha==1.0"' in (tmp_path / "plan.py").read_text()
    assert cli.main([*command, "plan.yaml", "-b", "argo", "--set", f"images={HERE}=none"]) == 0
    assert yaml.safe_load((tmp_path / "plan.yaml").read_text())["kind"] == "Workflow"
    assert cli.main(["export"]) == 2
    assert "the history has no runs" in capsys.readouterr().err


def test_exported_script_and_workflow_run(home, tmp_path, index, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cell.py").write_text("import alpha\nprint('{{workflow.name}}', alpha.VERSION)\n")
    assert cli.main(["run", "cell.py", "--deps", "alpha<2", "--set", f"index_url={index.url}"]) == 0
    assert cli.main(["export", "--to", "out.py"]) == 0
    completed = subprocess.run(
        [find_uv_bin(), "run", "--no-config", "out.py"],
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    assert completed.stdout == "{{workflow.name}} 1\n"
    with ArgoServer(tmp_path) as server:
        assert cli.main(["export", "--to", "out.yaml", "-b", "argo", "--set", f"images={HERE}=none"]) == 0
        body = json.dumps(yaml.safe_load((tmp_path / "out.yaml").read_text())).encode()
        request = urllib.request.Request(
            f"http://127.0.0.1:{server.http.server_port}/apis/argoproj.io/v1alpha1/namespaces/nb/workflows",
            data=body, headers={"Authorization": "Bearer secret"},
        )  # fmt: skip
        with urllib.request.urlopen(request, timeout=30) as response:
            workflow = server.workflows[json.load(response)["metadata"]["name"]]
        workflow.thread.join(60)
        assert b"{{workflow.name}} 1\n" in [line for _, line in workflow.logs["main"].lines]
