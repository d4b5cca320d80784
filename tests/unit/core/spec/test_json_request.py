"""core/spec/json_request.py: requests as JSON are read completely or rejected."""

from __future__ import annotations

import json

import pytest
from support.cases import each

from uv_argo_magic.core.spec import json_request
from uv_argo_magic.errors import SpecError

HASH = "--hash=sha256:" + "0" * 64


@each(
    ("fields", "requirements"),
    [
        ({}, ()),
        ({"dependencies": None, "requirementsFile": None}, ()),
        ({"dependencies": "", "requirementsFile": "# nothing\n"}, ()),
        ({"dependencies": "numpy pandas>=2"}, ("numpy", "pandas>=2")),
        ({"dependencies": "numpy, pandas >= 2"}, ("numpy", "pandas>=2")),
        ({"dependencies": ["numpy", "pandas>=2"]}, ("numpy", "pandas>=2")),
        ({"dependencies": '["numpy"]'}, ("numpy",)),
        ({"requirementsFile": f"numpy==2.0 {HASH}  # why\n\npandas\n"}, ("numpy==2.0", "pandas")),
        ({"dependencies": "numpy scipy", "requirementsFile": "pandas\nnumpy\n"}, ("numpy", "scipy", "pandas")),
    ],
)
def test_dependencies_and_requirements_file_are_merged(fields, requirements):
    request = json_request.read(json.dumps({"pythonCode": "print('{{x}}')\n"} | fields), source="r.json")
    assert (request.code, request.requirements.lines) == ("print('{{x}}')\n", requirements)


@each(
    ("text", "message"),
    [
        ("{", "r.json is not JSON: "),
        ("[" * 100_000, "r.json is not a valid request"),
        ("[]", "r.json is not a JSON object"),
        ("{}", "r.json has no pythonCode"),
        ('{"pythonCode": " "}', "r.json has a pythonCode that is empty or not a string"),
        ('{"pythonCode": 1}', "r.json has a pythonCode that is empty or not a string"),
        ('{"pythonCode": "1", "dependecies": "numpy"}', "unknown key dependecies; did you mean dependencies?"),
        (
            '{"pythonCode": "1", "dependencies": {"numpy": "2"}}',
            "dependencies of r.json are neither a string nor a list",
        ),
        ('{"pythonCode": "1", "dependencies": ["numpy", 2]}', "dependencies of r.json, item 2"),
        ('{"pythonCode": "1", "dependencies": "num/py"}', "dependencies of r.json"),
        ('{"pythonCode": "1", "requirementsFile": ["numpy"]}', "requirementsFile of r.json is not a string"),
        ('{"pythonCode": "1", "requirementsFile": "-e ."}', "requirementsFile of r.json"),
    ],
)
def test_invalid_requests_are_rejected(text, message):
    with pytest.raises(SpecError) as exc_info:
        json_request.read(text, source="r.json")
    assert message in exc_info.value.message
    assert exc_info.value.hint
