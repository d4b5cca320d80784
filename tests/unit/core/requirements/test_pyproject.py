"""core/requirements/pyproject.py: the requirements and settings of a pyproject.toml."""

from __future__ import annotations

import pytest
from support.cases import each

from uv_argo_magic.core.requirements.pyproject import read_pyproject
from uv_argo_magic.errors import SpecError

COMPLETE_PYPROJECT = """
[project]
name = "My.Study"
requires-python = ">=3.11, <4"
dependencies = ["numpy>=2", "rich; sys_platform == 'linux'"]

[project.optional-dependencies]
plot = ["matplotlib"]
Fast_Math = ["numba>=0.60"]
all = ["my-study[plot,fast-math]", "my_study[all]", "attrs"]

[dependency-groups]
dev = ["pytest>=8", {include-group = "Lint"}]
lint = ["ruff"]
"""


def read(text, extras=(), groups=()):
    return read_pyproject(text, source="pyproject.toml", extras=extras, groups=groups)


@each(
    ("extras", "groups", "lines"),
    [
        ((), (), ("numpy>=2", 'rich; sys_platform == "linux"')),
        (("plot",), (), ("numpy>=2", 'rich; sys_platform == "linux"', "matplotlib")),
        (("ALL",), (), ("numpy>=2", 'rich; sys_platform == "linux"', "attrs", "numba>=0.60", "matplotlib")),
        ((), ("dev",), ("pytest>=8", "ruff")),
        ((), ("lint", "dev"), ("ruff", "pytest>=8")),
        (("plot",), ("lint",), ("numpy>=2", 'rich; sys_platform == "linux"', "matplotlib", "ruff")),
    ],
)
def test_dependencies_extras_and_groups_are_read(extras, groups, lines):
    parsed = read(COMPLETE_PYPROJECT, extras, groups)
    assert parsed.requirements.lines == lines
    assert parsed.requires_python == (("<4,>=3.11", "pyproject.toml"),)
    assert parsed.notes == ()


def test_uv_settings_are_read():
    parsed = read(
        "[project]\nname = 'x'\n[tool.uv]\nconstraint-dependencies = ['numpy<3']\noverride-dependencies = ['six==1']\n"
        "prerelease = 'allow'\nindex-url = 'https://index.example.com/simple'\npackage = false\n"
    )
    assert (parsed.constraints, parsed.overrides, parsed.requires_python) == (("numpy<3",), ("six==1",), ())
    assert dict(parsed.settings) == {"prerelease": "allow", "index_url": "https://index.example.com/simple"}
    assert parsed.notes == ()


UV_HEAD = "[project]\nname = 'x'\n[tool.uv]\n"
URL = "https://index.example.com/simple"


def test_indexes_are_settings():
    tables = [
        f"[[tool.uv.index]]\nname = 'corp'\nurl = '{URL}'\ndefault = true",
        f"[[tool.uv.index]]\nname = 'extra'\nurl = '{URL}/a'",
        f"[[tool.uv.index]]\nurl = '{URL}/b'\npublish-url = 'x'",
        f"[[tool.uv.index]]\nname = 'torch'\nurl = '{URL}/c'\nexplicit = true",
    ]
    parsed = read(UV_HEAD + "\n".join(tables))
    assert dict(parsed.settings) == {"index_url": URL, "indexes": (("extra", f"{URL}/a"), ("index3", f"{URL}/b"))}


@each(
    ("text", "problem"),
    [
        ("find-links = ['x']", '"find-links" of [tool.uv] is not supported; use --set find_links=FOLDER'),
        ("no-binary = true", '"no-binary" of [tool.uv] is not supported; use no-build = false'),
        ("index-strategy = 'x'", '"index-strategy" of [tool.uv] is not supported'),
        ("exclude-dependencies = ['six']", '"exclude-dependencies" of [tool.uv] is not supported; remove it'),
        ("resolution = 'x'", '"resolution" has an unknown value'),
        ("index = 'x'", "[[tool.uv.index]] is not a list of tables"),
        ("index = ['x']", "[[tool.uv.index]] is not a list of tables"),
        ("index = [{ format = 'flat' }]", '"format" of an index is not supported'),
        ("index = [{ name = 'x' }]", "[[tool.uv.index]] has no url"),
        ("index = [{ url = 'https://u:p@h.example.com' }]", '"url" contains a user name or token'),
    ],
)
def test_unsupported_uv_settings_are_rejected(text, problem):
    with pytest.raises(SpecError) as exc_info:
        read(UV_HEAD + text)
    assert exc_info.value.message.startswith(f"pyproject.toml: {problem}")
    assert exc_info.value.hint


def test_group_can_include_the_project_itself():
    text = (
        "[project]\nname = 'my-pkg'\ndependencies = ['idna']\n[project.optional-dependencies]\na = ['sniffio']\n"
        "[dependency-groups]\nbase = ['six']\ndev = [{include-group = 'base'}, 'my_pkg[a]']\nown = ['my-pkg']\n"
    )
    assert read(text, groups=("dev",)).requirements.lines == ("six", "idna", "sniffio")
    with pytest.raises(SpecError, match="my-pkg is the project itself"):
        read(text, groups=("own",))


def test_url_requirement_overrides_its_source():
    url = "https://index.example.com/idna-3.10-py3-none-any.whl"
    text = f"[project]\nname = 'x'\ndependencies = ['idna @ {url}', 'six']\n"
    text += f"[tool.uv.sources]\nidna = {{ url = '{url}' }}\n"
    assert read(text).requirements.lines == (f"idna @ {url}", "six")


@each(
    ("text", "extras", "groups", "message"),
    [
        ("[project", (), (), "is not TOML"),
        ("x = " + "[" * 5000, (), (), "is not TOML"),
        (COMPLETE_PYPROJECT, ("plots",), (), "unknown extra plots; did you mean plot?"),
        (COMPLETE_PYPROJECT, (), ("deb",), "unknown group deb; did you mean dev?"),
        ("[build-system]\nrequires = []", (), (), "it has no [project] table"),
        ("[project]\nname = 'x'\ndynamic = ['dependencies']", (), (), "its dependencies are dynamic"),
        ("[tool.poetry.dependencies]\nnumpy = '^2'", (), (), "in Poetry's own format"),
        ("[project]\nname = 'x'\ndependencies = ['x']", (), (), "x is the project itself"),
        ("[project]\nname = 'x'\ndependencies = ['six', 'numpy=2']", (), (), "dependencies, item 2, character 6"),
        ("[project]\ndependencies = 'six'", (), (), "dependencies is not a list"),
        ("[project]\nname = 'x'\nrequires-python = '3'", (), (), "invalid requires-python '3'"),
        ("[project]\nname = 'x'\nrequires-python = 3", (), (), "invalid requires-python 3"),
        ("project = 1", (), (), "project is not a table"),
        ("[dependency-groups]\na = [{include-group = 'b'}]\nb = [{include-group = 'a'}]", (), ("a",), "a -> b -> a"),
        ("[dependency-groups]\na = [{include-group = 1}]", (), ("a",), "group a, 1, item 1: a value of type dict"),
        (
            "[project]\nname = 1\ndependencies = ['idna']\n[tool.uv.sources]\nIDNA = { git = 'x' }",
            (),
            (),
            "idna has a custom source",
        ),
    ],
)
def test_invalid_files_are_rejected(text, extras, groups, message):
    with pytest.raises(SpecError) as exc_info:
        read(text, extras, groups)
    assert exc_info.value.message.startswith("pyproject.toml")
    assert message in exc_info.value.message
    assert exc_info.value.hint
