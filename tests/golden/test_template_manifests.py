"""The generated files in deploy/, and their properties. UV_ARGO_TEST_GOLDEN=write writes the files again."""

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
def test_templates_are_golden(name):
    text = HEAD + yaml_output.dump(*(make() for make in template_manifests.FILES[name]))
    if os.environ.get("UV_ARGO_TEST_GOLDEN") == "write":
        (DEPLOY / name).write_text(text)
    assert text == (DEPLOY / name).read_text()


@pytest.mark.parametrize("make", [template_manifests.cell, template_manifests.processor])
def test_parameters_are_only_used_in_variables_and_one_volume(make):
    manifest = make()
    (template,) = manifest["spec"]["templates"]
    for variable in template["script"]["env"]:
        assert re.fullmatch(r"[^{]*|(?:/tmp/venv-)?\{\{[\w.]+\}\}", variable["value"])
        variable["value"] = ""
    for volume in template["volumes"]:
        # The parameter only selects one of two ConfigMaps that the template names.
        if config_map := volume.pop("configMap", None):
            assert config_map["name"] == (
                "{{=workflow.parameters.largeProgram == 'true' "
                "? 'uv-argo-program-' + workflow.name : 'uv-argo-no-program'}}"
            )
    assert "{{" not in json.dumps(manifest, separators=(",", ":"))


def test_annotated_python_is_in_the_image_table():
    assert template_manifests.cell()["metadata"]["annotations"][template_manifests.PYTHON_NOTE] in images.IMAGES


@pytest.mark.parametrize("small", [True, False])
def test_cell_template_runs_program_from_parameter_or_file(tmp_path, small):
    source = "print('{{ran}}', sorted(name for name in os.environ if name.startswith('UV_ARGO')))"
    (tmp_path / "program.py").write_text(source)
    code = template_manifests.cell()["spec"]["templates"][0]["script"]["source"].replace("/uv-argo", str(tmp_path))
    program = base64.b64encode(gzip.compress(source.encode())).decode() if small else ""
    completed = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code],
        env={"UV_ARGO_PROGRAM": program}, capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    assert completed.stdout == "{{ran}} []\n"


# Lists that only our full parser splits; the reader in the pod leaves them to uv.
UNSUPPORTED = {"comment after continuation", "list of Python", "list with other quotes"}


@pytest.mark.parametrize("name", sorted(set(ACCEPTED) - UNSUPPORTED))
def test_pod_splits_lists_like_the_parser(name):
    text, expected = ACCEPTED[name]
    parsed = [parser.parse(requirement, file=True).lines for requirement in processor_template.requirements(text)]
    assert list(dict.fromkeys(line for lines in parsed for line in lines)) == expected
    assert all(len(lines) == 1 for lines in parsed)


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
def test_both_parameters_are_combined_into_one_file(dependencies, file, lines):
    assert processor_template.lines(dependencies, file) == lines


def test_processor_program_is_python_3_8():
    import ast

    ast.parse(Path(processor_template.__file__).read_text(), feature_version=(3, 8))
    assert "{{" not in Path(processor_template.__file__).read_text()
    assert yaml.safe_load((DEPLOY / "python-processor-with-deps.yaml").read_text())["kind"] == "WorkflowTemplate"
