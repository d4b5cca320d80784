"""core/requirements/pep723.py: the script block of a cell, and errors with their line."""

from __future__ import annotations

from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.cases import each

from uv_argo_magic.core.requirements.model import Requirements
from uv_argo_magic.core.requirements.pep723 import KEYS, UNKNOWN, UNKNOWN_TOP, Script, parse_script, satisfies
from uv_argo_magic.core.spec.run_spec import Settings
from uv_argo_magic.errors import SpecError

COMPLETE_CELL = """\
import numpy

# /// script
# requires-python = ">=3.11, <3.14"
# dependencies = [
#   "numpy>=2",  # arrays
#   "rich ; python_version < '3.13'",
# ]
#
# [tool.uv]
# exclude-newer = "2026-06-01T00:00:00Z"
# prerelease = "allow"
# resolution = "lowest-direct"
# constraint-dependencies = ["Pandas < 3"]
# override-dependencies = ["six==1.17.0", "attrs"]
# no-build = true
# offline = false
# index-url = "https://index.example.com/simple"
#
# [tool.ruff]
# line-length = 120
# ///

print(numpy.pi)
"""


def script_block(*lines):
    return "\n".join(("# /// script", *(f"# {line}" if line else "#" for line in lines), "# ///", "pass", ""))


def uv_block(*lines):
    return script_block("[tool.uv]", *lines)


def error_of(cell):
    with pytest.raises(SpecError) as exc_info:
        parse_script(cell)
    message = exc_info.value.message
    assert "\n" not in message
    assert message.isascii()
    assert message.startswith("script block, line ")
    assert "; " in message
    assert exc_info.value.hint
    return exc_info.value


def test_all_supported_keys_are_read():
    script = parse_script(COMPLETE_CELL)
    assert script == Script(
        requirements=script.requirements,
        requires_python="<3.14,>=3.11",
        settings=(
            ("constraints", ("pandas<3",)),
            ("exclude_newer", "2026-06-01T00:00:00Z"),
            ("index_url", "https://index.example.com/simple"),
            ("offline", False),
            ("only_binary", True),
            ("overrides", ("six==1.17.0", "attrs")),
            ("prerelease", "allow"),
            ("resolution", "lowest-direct"),
        ),
        line=3,
    )
    assert script.requirements.lines == ("numpy>=2", 'rich; python_version < "3.13"')


@each(
    "cell",
    [
        "",
        "print(1)",
        "# a comment\n# /// other\n# x = 1\n# ///",
        "x = 1  # /// script",
        "    # /// script\n    # ///",
        "# /// scripts\n# ///",
        "# ///",
        "# /// SCRIPT",
    ],
)
def test_cell_without_a_block(cell):
    assert parse_script(cell) is None


def test_empty_dependencies():
    assert parse_script(script_block("dependencies = []")) == Script(requirements=Requirements())


def test_dependencies_are_optional():
    assert parse_script(script_block()) == Script()
    assert parse_script(script_block('requires-python = ">=3.12"')).requirements is None


def test_windows_line_ends():
    assert parse_script(COMPLETE_CELL.replace("\n", "\r\n")) == parse_script(COMPLETE_CELL)


def test_last_marker_of_the_comment_closes_the_block():
    cell = '# /// script\n# x = """\n# ///\n# """\n# ///\n# A comment below.\n'
    assert '"x" is not supported' in error_of(cell).message
    assert parse_script('# /// script\n# dependencies = ["numpy"]\n# ///\n# A comment below.\n').requirements.lines == (
        "numpy",
    )


def test_block_at_the_end_of_the_cell():
    assert parse_script('# /// script\n# dependencies = ["numpy"]\n# ///').requirements.lines == ("numpy",)


def test_requirements_have_warnings():
    assert len(parse_script(script_block('dependencies = ["sklearn"]')).requirements.warnings) == 1


@each(
    ("cell", "position", "message"),
    [
        (script_block() + script_block(), "line 4", "a second script block (the first is on line 1)"),
        ("# /// script\n# dependencies = []\n# /// script\n# ///", "line 1", "is not closed"),
        ("# /// script\n# ///\n# /// script\n# ///", "line 3", "a second script block"),
        ("pass\n# /// script\n# dependencies = []\npass", "line 2", "the script block is not closed"),
        ("# /// script", "line 1", "is not closed"),
        ("# /// script\n#dependencies = []\n# ///", "line 1", "is not closed"),
        ("# /// script\n# ///  ", "line 1", "is not closed"),
        ("#/// script\n# ///", "line 1", '"#/// script" does not open a block; write exactly "# /// script"'),
        ("pass\n# ///script\n# ///", "line 2", "does not open a block"),
        ("# /// script \n# ///", "line 1", "does not open a block"),
        (script_block("#" * 70000), "line 1", "70000 characters, but a script block has at most 65536"),
        (script_block("dependencies = [numpy]"), "line 2, character 19", "this is not TOML (Invalid value)"),
        ("pass\n" + script_block("", "dependencies = ["), "line 4", "this is not TOML"),
        (script_block("a = 1", "a = 2"), "line 3", "Cannot overwrite a value"),
        (script_block("a = " + "[" * 5000), "line 2", "this is not TOML"),
        (script_block("a = " + "9" * 5000), "line 2", "this is not TOML"),
        (script_block("dependencies = ['x']", "other = 1"), "line 3", '"other" is not supported in a script block'),
        (script_block('requires_python = ">=3.11"'), "line 2", "write requires-python"),
        (script_block('"\u00e9\\n" = 1'), "line 1", '"\\xe9\\n" is not supported'),
        (script_block("[project]", "name = 'x'"), "line 2", '"project" is not supported in a script block'),
        (script_block('dependencies = "numpy"'), "line 2", '"dependencies" is not a list'),
        (
            script_block("", 'dependencies = ["numpy", "pandas=2"]'),
            "line 3, dependencies, item 2, character 7",
            "use ==",
        ),
        (script_block("dependencies = [1]"), "line 2, dependencies, item 1", "a value of type int is not a string"),
        (
            script_block("dependencies = [2026-01-01]"),
            "line 2, dependencies, item 1",
            "a value of type date is not a string",
        ),
        (script_block("requires-python = 3.11"), "line 2", '"requires-python" is not a string'),
        (script_block('requires-python = "3.11"'), "line 2", '"3.11" is not a version specifier'),
        (script_block('requires-python = "^3.11"'), "line 2", "is not a version specifier"),
        (script_block('requires-python = "===3.11"'), "line 2", "is not a version specifier"),
        (script_block("tool = 1"), "line 2", '"tool" is not a table'),
        (script_block("[tool]", "uv = 1"), "line 2", '"tool" is not a table'),
        (uv_block('sources = { x = { git = "https://git.example.com/x" } }'), "line 3", 'write "name @ https://..."'),
        (script_block("[tool.uv.sources]", "x = 1"), "line 2", '"sources" of [tool.uv] is not supported'),
        (script_block('tool.uv.cache-dir = "x"'), "line 2", "set UV_CACHE_DIR instead"),
        (
            uv_block('extra-index-url = ["https://index.example.com"]'),
            "line 3",
            "write a table [[tool.uv.index]] for each index",
        ),
        (uv_block("frobnicate = 1"), "line 3", '"frobnicate" of [tool.uv] is not supported'),
        (uv_block('prerelease = "maybe"'), "line 3", "use one of disallow, allow, if-necessary, explicit"),
        (uv_block("prerelease = true"), "line 3", '"prerelease" has an unknown value'),
        (uv_block('resolution = "newest"'), "line 3", "use one of highest, lowest, lowest-direct"),
        (uv_block('no-build = "yes"'), "line 3", '"no-build" is neither true nor false'),
        (uv_block("offline = 1"), "line 3", "write offline = true"),
        (uv_block("exclude-newer = 2026-06-01"), "line 3", "is not a quoted date or span"),
        (uv_block('exclude-newer = "--offline"'), "line 3", "is not a quoted date or span"),
        (uv_block('exclude-newer = "30\\ndays"'), "line 3", "is not a quoted date or span"),
        (uv_block('index-url = "http://index.example.com"'), "line 3", "is not an https URL"),
        (uv_block("index-url = 1"), "line 3", "is not an https URL"),
        (uv_block('index-url = "https://user:secret@index.example.com"'), "line 3", "contains a user name or token"),
        (uv_block('index-url = "user:secret@index.example.com"'), "line 3", "contains a user name or token"),
        (script_block("[[tool.uv.index]]", 'name = "x"'), "line 2", "[[tool.uv.index]] has no url"),
        (
            script_block("[[tool.uv.index]]", 'url = "https://user@index.example.com"'),
            "line 3",
            "contains a user name or token",
        ),
        (script_block("[[tool.uv.index]]", "format = 1"), "line 3", '"format" of an index is not supported'),
        (uv_block('index = "https://index.example.com"'), "line 3", "is not a list of tables"),
        (uv_block("index = [1]"), "line 3", "is not a list of tables"),
        (
            script_block(*["[[tool.uv.index]]", 'url = "https://index.example.com"', "default = true"] * 2),
            "line 4",
            "two indexes are the default one",
        ),
        (uv_block('constraint-dependencies = "numpy<2"'), "line 3", 'write constraint-dependencies = ["numpy<2"]'),
        (
            uv_block("", 'override-dependencies = ["numpy=2"]'),
            "line 4, override-dependencies, item 1, character 6",
            "use ==",
        ),
    ],
)
def test_invalid_blocks_are_rejected(cell, position, message):
    error = error_of(cell)
    assert error.message.startswith(f"script block, {position}")
    assert error.message[len(f"script block, {position}")] in ":,"
    assert message in error.message
    assert "secret" not in error.message + error.hint


@each(
    ("lines", "setting"),
    [
        (['exclude-newer = "30 days"'], ("exclude_newer", "30 days")),
        (['exclude-newer = "P30D"'], ("exclude_newer", "P30D")),
        (["no-build = false"], ("only_binary", False)),
        (["offline = true"], ("offline", True)),
        (["constraint-dependencies = []"], ("constraints", ())),
        (
            [
                "[[tool.uv.index]]",
                'name = "own"',
                'url = "https://index.example.com:8443/a/+simple/"',
                "default = true",
            ],
            ("index_url", "https://index.example.com:8443/a/+simple/"),
        ),
        (
            ['[[tool.uv.index]]\n# url = "https://index.example.com"'],
            ("indexes", (("index1", "https://index.example.com"),)),
        ),
        (
            [
                *("[[tool.uv.index]]", 'name = "own"', 'url = "https://index.example.com/own"'),
                *("[[tool.uv.index]]", 'name = "torch"', 'url = "https://index.example.com/torch"', "explicit = true"),
            ],
            ("indexes", (("own", "https://index.example.com/own"),)),
        ),
    ],
)
def test_settings_are_read(lines, setting):
    assert parse_script(uv_block(*lines)).settings == (setting,)


def test_keys_have_the_type_of_their_setting():
    defaults = {field.name: field.default for field in fields(Settings)}
    assert {name for name, _ in KEYS.values()} <= set(defaults)
    for name, value in parse_script(COMPLETE_CELL).settings:
        assert type(value) is type(defaults[name])


@each(("key", "advice"), UNKNOWN.items())
def test_unsupported_uv_keys_are_rejected(key, advice):
    error = error_of(uv_block(f"{key} = 1"))
    assert error.message == f'script block, line 3: "{key}" of [tool.uv] is not supported; {advice}'
    assert "exclude-newer" in error.hint


@each(("key", "advice"), UNKNOWN_TOP.items())
def test_misspelled_keys_are_rejected_with_the_correct_one(key, advice):
    assert error_of(script_block(f"{key} = 1")).message.endswith(f"; {advice}")


@each(
    ("requires", "version", "expected"),
    [
        ("", "3.12.1", True),
        (">=3.11", "3.11.0", True),
        (">=3.11", "3.10.14", False),
        (">=3.11,<3.13", "3.13.0", False),
        ("==3.12.*", "3.12.7", True),
        ("~=3.12.1", "3.12.0", False),
        (">=3.13", "3.14.0rc1", True),
        (">=3.14", "3.14.0a2", False),
        (">=3.13", "3.13.0+", True),
        ("!=3.12.3", "3.12.3", False),
    ],
)
def test_satisfies_compares_versions(requires, version, expected):
    assert satisfies(requires, version) is expected


@pytest.mark.parametrize(("requires", "version"), [(">=3.11", "three"), ("3.11", "3.11.0")])
def test_satisfies_rejects_invalid_arguments(requires, version):
    with pytest.raises(ValueError, match=r"(?i)invalid"):
        satisfies(requires, version)


PIECES = st.sampled_from(
    [
        "# /// script",
        "# ///",
        "#",
        "# dependencies = [",
        '#  "numpy",',
        "# ]",
        "# [tool.uv]",
        "# offline = true",
        "pass",
        "# [[tool.uv.index]]",
        '# url = "https://index.example.com"',
        '# requires-python = ">=3"',
        "# x",
        "",
        "\r",
    ]
)


def parse_or_error(cell):
    try:
        return parse_script(cell)
    except SpecError as error:
        return error


@given(st.one_of(st.text(), st.lists(PIECES, max_size=12).map("\n".join), st.text().map(script_block)))
def test_any_cell_is_read_or_rejected(cell):
    result = parse_or_error(cell)
    if isinstance(result, SpecError):
        assert "\n" not in result.message
        assert result.message.isascii()
    else:
        assert result is None or cell.split("\n")[result.line - 1].rstrip("\r") == "# /// script"


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "cell",
    [
        "# /// script\n" * 20000,
        "# ///\n" * 50000,
        "# /// script\n" + "# ///\n" * 50000,
        "# /// script\n" + "#\n" * 50000 + "# ///",
        script_block(*[f"k{n} = 1" for n in range(5000)]),
        script_block("a." * 1500 + "a = 1"),
        script_block("a" * 100000 + " = 1"),
        "#" + " " * 100000 + "///",
    ],
    ids=lambda cell: cell[:20].replace("\n", "|"),
)
def test_long_cells_are_parsed_in_linear_time(cell):
    result = parse_or_error(cell)
    assert result in (None, Script()) or result.message.startswith("script block, line ")
