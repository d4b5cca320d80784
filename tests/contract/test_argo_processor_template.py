"""What the WorkflowTemplate python-processor-with-deps runs, as a process here: requests in, output and status out."""

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
def process(tmp_path, index):
    def process(code: str, dependencies: str = "", file: str = "", uv: str = "") -> subprocess.CompletedProcess:
        template = template_manifests.processor()["spec"]["templates"][0]
        script = template["script"]
        source = tmp_path / "script"
        source.write_text(script["source"].replace("/tmp/", f"{tmp_path}/"))
        given = {
            "{{inputs.parameters.pythonCode}}": code,
            "{{inputs.parameters.dependencies}}": dependencies,
            "{{inputs.parameters.requirementsFile}}": file,
            "{{workflow.name}}": "wf",
        }
        env = {one["name"]: given.get(one["value"], one["value"]).replace("/tmp", str(tmp_path), 1)
               for one in script["env"]}  # fmt: skip
        python = Path(sys.executable).resolve()
        return subprocess.run(
            [python, *script["command"][1:], source],
            env=env | {"PATH": uv or f"{Path(find_uv_bin()).parent}{os.pathsep}/usr/bin:/bin",
                       "UV_DEFAULT_INDEX": index.url},
            capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip

    return process


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
def test_requirements_of_either_parameter_are_installed(process, dependencies, file, version):
    done = process("import alpha, beta, sys\nprint(alpha.VERSION, sys.prefix[-7:])", dependencies, file)
    assert (done.stdout, done.returncode) == (f"{version} venv-wf\n", 0), done.stderr


def test_without_requirements_nothing_is_installed(process, tmp_path):
    done = process(
        "import sys; print('{{x}} \\'\" $(id)', sys.prefix == sys.base_prefix)", " \n", "# none\n", uv="/nope"
    )
    assert (done.stdout, done.stderr, done.returncode) == ("{{x}} '\" $(id) True\n", "", 0)
    assert not (tmp_path / "venv-wf").exists()


def test_what_goes_wrong_is_said_and_is_the_status(process):
    done = process("print('ran')", "alpha==3")
    assert "alpha==3" in done.stderr
    assert "The packages could not be installed; the code did not run.\n" in done.stderr
    assert (done.stdout, done.returncode) == ("", 1)
    done = process("print('ran')", "alpha num/py")
    assert "num/py" in done.stderr
    assert done.stdout == ""
    assert process("import sys; sys.exit(3)").returncode == 3
    assert "ZeroDivisionError" in process("1 / 0").stderr


def test_the_code_has_an_empty_working_folder_of_its_own(process, tmp_path):
    done = process("import os; print(os.getcwd(), os.listdir()); open('x', 'w').close()")
    assert (done.stdout, done.returncode) == (f"{tmp_path}/venv-wf-work []\n", 0), done.stderr


def test_parameters_are_not_the_codes_variables(process):
    done = process("import os; print(sorted(name for name in os.environ if 'CODE' in name or 'REQ' in name))")
    assert done.stdout == "[]\n"
