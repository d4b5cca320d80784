"""The generated files of deploy/ (UV_ARGO_TEST_GOLDEN=write writes them again), and their properties."""

from __future__ import annotations

import base64
import gzip
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from support.requirement_lists import ACCEPTED

from uv_argo_magic.backends.argo.manifests import processor_template, template_manifests, yaml_output
from uv_argo_magic.backends.kubernetes import images
from uv_argo_magic.core.requirements import parser

DEPLOY = Path(__file__).parents[2] / "deploy"
HEAD = (
    "# Generated from uv_argo_magic/backends/argo/manifests/template_manifests.py; a test compares them. "
    "See docs/administrators.md.\n"
)


@pytest.mark.parametrize("name", template_manifests.FILES)
def test_the_templates_are_golden(name):
    text = HEAD + yaml_output.dump(*(make() for make in template_manifests.FILES[name]))
    if os.environ.get("UV_ARGO_TEST_GOLDEN") == "write":
        (DEPLOY / name).write_text(text)
    assert text == (DEPLOY / name).read_text()


@pytest.mark.parametrize("make", [template_manifests.cell, template_manifests.processor])
def test_parameters_stand_in_variables_and_in_one_volumes_choice_alone(make):
    made = make()
    (template,) = made["spec"]["templates"]
    for variable in template["script"]["env"]:
        assert re.fullmatch(r"[^{]*|(?:/tmp/venv-)?\{\{[\w.]+\}\}", variable["value"])
        variable["value"] = ""
    for volume in template["volumes"]:
        # No parameter is part of its name: one only chooses between two that the template names.
        if config_map := volume.pop("configMap", None):
            assert config_map["name"] == (
                "{{=workflow.parameters.largeProgram == 'true' "
                "? 'uv-argo-program-' + workflow.name : 'uv-argo-no-program'}}"
            )
    assert "{{" not in json.dumps(made, separators=(",", ":"))


def test_the_python_is_declared_as_it_is():
    assert template_manifests.cell()["metadata"]["annotations"][template_manifests.PYTHON_NOTE] in images.IMAGES


@pytest.mark.parametrize("small", [True, False])
def test_the_cells_template_runs_a_program_given_in_either_way(tmp_path, small):
    source = "print('{{ran}}', sorted(name for name in os.environ if name.startswith('UV_ARGO')))"
    (tmp_path / "program.py").write_text(source)
    opened = template_manifests.cell()["spec"]["templates"][0]["script"]["source"].replace("/uv-argo", str(tmp_path))
    given = base64.b64encode(gzip.compress(source.encode())).decode() if small else ""
    ran = subprocess.run(
        [sys.executable, "-I", "-S", "-c", opened],
        env={"UV_ARGO_PROGRAM": given}, capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    assert ran.stdout == "{{ran}} []\n"


# What only the whole grammar knows; the small reader of the pod leaves it to uv.
LEFT = {"comment after continuation", "list of Python", "list with other quotes"}


@pytest.mark.parametrize("what", sorted(set(ACCEPTED) - LEFT))
def test_the_pod_takes_lists_apart_as_the_grammar_does(what):
    text, wanted = ACCEPTED[what]
    found = [parser.parse(one, file=True).lines for one in processor_template.requirements(text)]
    assert list(dict.fromkeys(line for lines in found for line in lines)) == wanted
    assert all(len(lines) == 1 for lines in found)


@pytest.mark.parametrize(
    ("dependencies", "file", "lines"),
    [
        ("", "", []),
        (" \n", "# nothing\n\n", []),
        ("numpy pandas>=2", "", ["numpy", "pandas>=2"]),
        ("", "numpy==2.0 \\\n  --hash=sha256:00\n", ["numpy==2.0 \\\n  --hash=sha256:00\n"]),
        ("numpy", "pandas\n", ["numpy", "pandas\n"]),
        ("numpy num/py; x\nrich", "", ["numpy", "num/py; x rich"]),
        ("[numpy", "", ["[numpy"]),
        ('["numpy", 2]', "", ["numpy", "2"]),
    ],
)
def test_both_parameters_make_one_file(dependencies, file, lines):
    assert processor_template.lines(dependencies, file) == lines


def test_the_pods_program_is_python_3_8():
    import ast

    ast.parse(Path(processor_template.__file__).read_text(), feature_version=(3, 8))
    assert "{{" not in Path(processor_template.__file__).read_text()
    assert yaml.safe_load((DEPLOY / "python-processor-with-deps.yaml").read_text())["kind"] == "WorkflowTemplate"
