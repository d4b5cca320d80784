"""The script of the WorkflowTemplate python-processor-with-deps, run as a local process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.index_server import IndexServer
from uv import find_uv_bin

from uv_argo_magic.backends.argo.manifests import template_manifests


@pytest.fixture(scope="module")
def index():
    with IndexServer() as server:
        server.add("alpha", "1.0", files={"alpha.py": "VERSION = 1\n"})
        server.add("alpha", "2.0", files={"alpha.py": "VERSION = 2\n"})
        server.add("beta", "1.0", files={"beta.py": ""})
        yield server


@pytest.fixture
def run_template(tmp_path, index):
    def run_template(code: str, dependencies: str = "", file: str = "", uv: str = "") -> subprocess.CompletedProcess:
        template = template_manifests.processor()["spec"]["templates"][0]
        script = template["script"]
        source = tmp_path / "script"
        source.write_text(script["source"].replace("/tmp/", f"{tmp_path}/"))
        parameters = {
            "{{inputs.parameters.pythonCode}}": code,
            "{{inputs.parameters.dependencies}}": dependencies,
            "{{inputs.parameters.requirementsFile}}": file,
            "{{workflow.name}}": "wf",
        }
        env = {entry["name"]: parameters.get(entry["value"], entry["value"]).replace("/tmp", str(tmp_path), 1)
               for entry in script["env"]}  # fmt: skip
        python = Path(sys.executable).resolve()
        return subprocess.run(
            [python, *script["command"][1:], source],
            env=env | {"PATH": uv or f"{Path(find_uv_bin()).parent}{os.pathsep}/usr/bin:/bin",
                       "UV_DEFAULT_INDEX": index.url},
            capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip

    return run_template


@pytest.mark.sample(2)
@pytest.mark.parametrize(
    ("dependencies", "file", "version"),
    [
        ("alpha beta", "", 2),
        ("alpha<2, beta", "", 1),
        ('["alpha>=1,<2", "beta"]', "", 1),
        ("", "# why\nalpha==1.0\nbeta\n", 1),
        ("beta", "alpha==1.0", 1),
    ],
)
def test_requirements_of_both_parameters_are_installed(run_template, dependencies, file, version):
    completed = run_template("import alpha, beta, sys\nprint(alpha.VERSION, sys.prefix[-7:])", dependencies, file)
    assert (completed.stdout, completed.returncode) == (f"{version} venv-wf\n", 0), completed.stderr


def test_nothing_is_installed_without_requirements(run_template, tmp_path):
    completed = run_template(
        "import sys; print('{{x}} \\'\" $(id)', sys.prefix == sys.base_prefix)", " \n", "# none\n", uv="/nope"
    )
    assert (completed.stdout, completed.stderr, completed.returncode) == ("{{x}} '\" $(id) True\n", "", 0)
    assert not (tmp_path / "venv-wf").exists()


def test_errors_are_printed_and_set_exit_status(run_template):
    completed = run_template("print('ran')", "alpha==3")
    assert "alpha==3" in completed.stderr
    assert "The packages could not be installed; the code did not run.\n" in completed.stderr
    assert (completed.stdout, completed.returncode) == ("", 1)
    completed = run_template("print('ran')", "alpha num/py")
    assert "num/py" in completed.stderr
    assert completed.stdout == ""
    assert run_template("import sys; sys.exit(3)").returncode == 3
    assert "ZeroDivisionError" in run_template("1 / 0").stderr


def test_code_runs_in_empty_working_folder(run_template, tmp_path):
    completed = run_template("import os; print(os.getcwd(), os.listdir()); open('x', 'w').close()")
    assert (completed.stdout, completed.returncode) == (f"{tmp_path}/venv-wf-work []\n", 0), completed.stderr


def test_parameters_are_not_environment_variables_of_code(run_template):
    completed = run_template("import os; print(sorted(name for name in os.environ if 'CODE' in name or 'REQ' in name))")
    assert completed.stdout == "[]\n"
