"""uv's own parser agrees with every list that we accept: asked of the real uv, without network."""

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

# 0: every marker excludes what it marks; 1: parsed, and not found without network; 2: not parsed.
PARSED = (0, 1)
SAID_OF_SYNTAX = ("parse", "is invalid", "does not match")


@pytest.fixture(scope="session")
def ask(tmp_path_factory):
    """A function: text of a requirements file -> (exit status, stderr) of uv."""
    folder = tmp_path_factory.mktemp("uv")
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("UV_", "PIP_", "PYTHON"))}
    file = folder / "requirements.txt"

    def run(text):
        file.write_text(text, encoding="utf-8")
        command = [find_uv_bin(), "pip", "install", "--dry-run", "--offline", "--no-deps", "--no-config"]
        command += ["--no-build", "--python", sys.executable, "--target", str(folder / "target")]
        command += ["--cache-dir", str(folder / "cache"), "-r", str(file)]
        done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
        return done.returncode, done.stderr

    return run


def agrees(ask, found):
    code, stderr = ask(found.text)
    assert code in PARSED, stderr
    assert not any(words in stderr for words in SAID_OF_SYNTAX), stderr


def test_uv_says_so_when_it_cannot_parse(ask):
    code, stderr = ask("numpy 2.0\n")
    assert code == 2
    assert "parse" in stderr


@pytest.mark.parametrize("text", [text for text, _ in ACCEPTED.values()], ids=ACCEPTED)
def test_uv_parses_what_we_accept(ask, text):
    agrees(ask, parse(text))


@pytest.mark.parametrize("text", [text for text, _ in ACCEPTED_IN_FILES.values()], ids=ACCEPTED_IN_FILES)
def test_uv_parses_what_we_accept_in_files(ask, text):
    agrees(ask, parse(text, file=True))


def test_uv_parses_all_of_them_together(ask):
    agrees(ask, merge(*(parse(text) for text, _ in ACCEPTED.values())))


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


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(PIECES, min_size=1, max_size=6).map("".join), min_size=60, max_size=60))
def test_uv_parses_what_we_accept_of_many_random_lists(ask, texts):
    found = []
    for text in texts:
        try:
            found.append(parse(text))
        except SpecError:
            continue
    # One call of uv for many lists: two URLs of one name would be a conflict, which comes after parsing.
    whole = merge(*found)
    names = {item.name: item for item in whole.items}
    agrees(ask, Requirements(items=tuple(names.values())))
