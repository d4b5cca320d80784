"""The real uv parses each requirements list that we accept; without network."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.requirement_lists import ACCEPTED, ACCEPTED_IN_FILES
from uv import find_uv_bin

from uv_argo_magic.core.requirements.model import Requirements
from uv_argo_magic.core.requirements.parser import merge, parse
from uv_argo_magic.errors import SpecError

# 0: all requirements are excluded by markers; 1: parsed, but not found without network; 2: not parsed.
PARSED = (0, 1)
SYNTAX_ERRORS = ("parse", "is invalid", "does not match")


@pytest.fixture(scope="session")
def run_uv(tmp_path_factory):
    """A function that runs uv on the text of a requirements file and returns its exit status and stderr."""
    folder = tmp_path_factory.mktemp("uv")
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("UV_", "PIP_", "PYTHON"))}
    file = folder / "requirements.txt"

    def run(text):
        file.write_text(text, encoding="utf-8")
        command = [find_uv_bin(), "pip", "install", "--dry-run", "--offline", "--no-deps", "--no-config"]
        command += ["--no-build", "--python", sys.executable, "--target", str(folder / "target")]
        command += ["--cache-dir", str(folder / "cache"), "-r", str(file)]
        completed = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
        return completed.returncode, completed.stderr

    return run


def check_uv_parses(run_uv, requirements):
    status, stderr = run_uv(requirements.text)
    assert status in PARSED, stderr
    assert not any(words in stderr for words in SYNTAX_ERRORS), stderr


def test_uv_reports_syntax_errors(run_uv):
    status, stderr = run_uv("numpy 2.0\n")
    assert status == 2
    assert "parse" in stderr


@pytest.mark.sample(20)
@pytest.mark.parametrize("text", [text for text, _ in ACCEPTED.values()], ids=ACCEPTED)
def test_uv_parses_accepted_lists(run_uv, text):
    check_uv_parses(run_uv, parse(text))


@pytest.mark.parametrize("text", [text for text, _ in ACCEPTED_IN_FILES.values()], ids=ACCEPTED_IN_FILES)
def test_uv_parses_accepted_files(run_uv, text):
    check_uv_parses(run_uv, parse(text, file=True))


def test_uv_parses_all_lists_merged(run_uv):
    check_uv_parses(run_uv, merge(*(parse(text) for text, _ in ACCEPTED.values())))


PIECES = st.sampled_from(
    [
        "numpy",
        "Foo_Bar",
        "2to3",
        "[x]",
        "[a.b,C]",
        " ",
        ",",
        ";",
        "==",
        ">=",
        "~=",
        "!=",
        "<",
        "2.0",
        "1.*",
        "1!2",
        "v3.1",
        "2rc1",
        "1.0.post2",
        "+loc.1",
        "00.10",
        "(",
        ")",
        " @ https://index.example.com/",
        "x-1.zip",
        "x%20y-1.tgz",
        ".tar",
        "numpy-2.0-py3-none-any.whl",
        "#sha256=00",
        "?a=b",
        ";os_name=='nt'",
        ' ; python_version>="3.9"',
        " and ",
        " or ",
        "python_full_version<'4'",
        "extra=='y'",
        "'a' in platform_version",
        "implementation_version!='1'",
        "!",
        "/../",
        "%",
    ]
)


@pytest.mark.slow
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(PIECES, min_size=1, max_size=6).map("".join), min_size=60, max_size=60))
def test_uv_parses_random_lists(run_uv, texts):
    accepted = []
    for text in texts:
        try:
            accepted.append(parse(text))
        except SpecError:
            continue
    # One call of uv for all lists. Two URLs for one name would be a conflict, so each name is used once.
    merged = merge(*accepted)
    names = {item.name: item for item in merged.items}
    check_uv_parses(run_uv, Requirements(items=tuple(names.values())))
