"""core/requirements/parser.py: accepted and rejected requirements, round trips and very long texts."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from packaging.requirements import Requirement as Parsed
from support.cases import each
from support.requirement_lists import ACCEPTED, ACCEPTED_IN_FILES, REFUSED, REFUSED_IN_FILES, parse_error

from uv_argo_magic.core.requirements.model import Requirement, Requirements
from uv_argo_magic.core.requirements.parser import merge, parse, parse_items
from uv_argo_magic.errors import SpecError


def test_tables_have_enough_cases():
    assert len(ACCEPTED) + len(ACCEPTED_IN_FILES) >= 56
    assert len(REFUSED) + len(REFUSED_IN_FILES) >= 84


@each(("text", "lines"), ACCEPTED.values())
@each("file", [False, True])
def test_valid_requirements_are_accepted(text, lines, file):
    requirements = parse(text, file=file)
    assert list(requirements.lines) == lines
    assert bool(requirements) == bool(lines)
    assert [str(Parsed(line)) for line in requirements.lines] == lines, "packaging reads and writes the same"


@each(("text", "lines"), ACCEPTED_IN_FILES.values())
def test_valid_requirements_in_files_are_accepted(text, lines):
    requirements = parse(text, source="-r", file=True)
    assert requirements.text.splitlines() == lines
    assert parse(requirements.text, file=True) == requirements


@each(("text", "position", "message"), REFUSED.values())
def test_invalid_requirements_are_rejected(text, position, message):
    error = parse_error(text)
    assert error.message.startswith(position if position == "--deps" else f"--deps, {position}")
    assert position in {"--deps", "character"} or error.message.startswith(f"--deps, {position}:")
    assert message in error.message
    assert "secret" not in error.message + error.hint


@each(("text", "position", "message"), REFUSED_IN_FILES.values())
def test_invalid_requirements_in_files_are_rejected(text, position, message):
    error = parse_error(text, source="-r", file=True)
    assert error.message.startswith(position if position == "-r" else f"-r, {position}:")
    assert message in error.message


@each(
    ("text", "warned"),
    [
        ("numpy numpy>=2", True),
        ("numpy<2 numpy>=1", True),
        ("numpy numpy", False),
        ("numpy>=1,<2 numpy<2,>=1", False),
        ('numpy<2; os_name == "nt"\nnumpy>=2; os_name != "nt"', False),
        ('numpy<2; os_name == "nt"\nnumpy>=2; os_name == "nt"', True),
        ('numpy numpy>=2; os_name == "nt"', True),
        ("numpy numpy[x]", True),
    ],
)
def test_repeated_names_are_accepted_with_a_warning(text, warned):
    requirements = parse(text)
    assert any(warning.startswith("numpy is listed 2 times (numpy") for warning in requirements.warnings) == warned
    assert len(requirements.items) == 2 or not warned


@pytest.mark.parametrize(
    "marker", ['extra == "x"', '"x" == extra', 'os_name == "nt" and (extra != "x" or os_name == "a")']
)
def test_extra_markers_are_accepted_with_a_warning(marker):
    (warning,) = parse(f"rich; {marker}").warnings
    assert "tests for an extra" in warning


def test_merge_is_an_ordered_union():
    first, second, third = parse("numpy rich"), parse("pandas numpy"), parse("numpy>=2")
    assert merge(first, second).lines == ("numpy", "rich", "pandas")
    assert merge(first, second).warnings == ()
    assert len(merge(first, third).warnings) == 1
    assert merge() == Requirements()
    assert merge(parse("sklearn"), parse("sklearn")).warnings == parse("sklearn").warnings


def test_merge_keeps_hashes():
    pinned = parse(ACCEPTED_IN_FILES["hash"][0], file=True)
    assert merge(parse("six==1.17.0"), pinned) == pinned
    assert merge(pinned, parse("six==1.17.0")) == pinned


def test_parse_items_accepts_a_list():
    assert parse_items(["numpy", "pandas >= 2"], source="dependencies").lines == ("numpy", "pandas>=2")


def test_requirement_as_text():
    requirement = Requirement(
        name="x", extras=("a", "b"), specifier=">=1", marker='os_name == "nt"', hashes=("sha256:0",)
    )
    assert str(requirement) == 'x[a,b]>=1; os_name == "nt"'
    assert requirement.line == 'x[a,b]>=1; os_name == "nt" --hash=sha256:0'


# Round trips.

NAMES = st.from_regex(r"[A-Za-z]([A-Za-z0-9._-]{0,8}[A-Za-z0-9])?", fullmatch=True).filter(
    lambda name: (
        name.lower() not in {"and", "or", "not", "in", "import", "from", "install", "add"}
        and not name.lower().endswith((".zip", ".txt", ".whl", ".tgz", ".tar", ".tbz", ".tlz", ".txz", ".tar.gz"))
        and not re.fullmatch(r"v[0-9]+[._-].*", name, re.IGNORECASE)
    )
)
RELEASES = st.lists(st.integers(0, 99), min_size=2, max_size=4).map(lambda parts: ".".join(map(str, parts)))
VERSIONS = st.builds(
    "{}{}{}".format, st.sampled_from(["", "1!", "v"]), RELEASES, st.sampled_from(["", "rc1", ".post2", ".dev3", "-A.1"])
)
CLAUSES = st.one_of(
    st.builds("{}{}".format, st.sampled_from(["==", "!=", ">=", "<=", ">", "<", "~=", ">= ", " == "]), VERSIONS),
    st.builds("{}{}.*".format, st.sampled_from(["==", "!="]), RELEASES),
)
SPECIFIERS = st.one_of(st.just(""), st.lists(CLAUSES, min_size=1, max_size=3).map(" , ".join))
COMPARISONS = st.sampled_from(
    [
        'python_version < "3.13"',
        "os_name=='posix'",
        '"win" not in sys_platform',
        'platform_machine in "arm64, x86_64"',
        "(os_name == 'nt' or sys_platform == \"linux\")",
        'python_full_version >= "3.11.4"',
    ]
)
MARKERS = st.lists(st.tuples(COMPARISONS, st.sampled_from([" and ", " or "])), max_size=3).map(
    lambda pairs: (
        " ; " + "".join(part for pair in pairs for part in pair).rpartition(" ")[0].rpartition(" ")[0] if pairs else ""
    )
)
EXTRAS = st.lists(NAMES, max_size=3).map(lambda names: f"[{', '.join(names)}]" if names else "")
URLS = st.sampled_from(["x/y-1.zip", "a,b/c-2.tar.gz#egg=c", "d-1.tgz?token=1"]).map(
    "@ https://index.example.com/{}".format
)
REQUIREMENTS = st.builds("{}{} {}{}".format, NAMES, EXTRAS, st.one_of(SPECIFIERS, URLS), MARKERS)
JOINS = st.sampled_from([" ", ", ", " , ", "\n", "\r\n", "\n\n", ",\n", "\t", " # comment, here\n", " \\\n"])


@given(st.lists(REQUIREMENTS, max_size=6), st.lists(JOINS, min_size=6, max_size=6))
def test_requirements_survive_a_round_trip(lines, joins):
    requirements = parse("\n".join(lines))
    joined = "".join(line + join for line, join in zip(requirements.lines, joins, strict=False))
    joined = joined.removesuffix(" \\\n")
    assert parse(joined) == requirements
    assert parse(requirements.text, file=True) == requirements
    assert merge(requirements) == requirements
    for line in requirements.lines:
        assert str(Parsed(line)) == line


@each("join", [" ", ", ", "\n"])
@each("case", ACCEPTED)
def test_accepted_lists_survive_a_round_trip(case, join):
    requirements = parse(ACCEPTED[case][0])
    assert parse(join.join(requirements.lines)) == requirements


FRAGMENTS = st.sampled_from(
    [
        "numpy",
        "pandas",
        " ",
        ",",
        "\n",
        "==",
        ">=",
        "<",
        "~",
        "^",
        "2.0",
        "1.*",
        "[",
        "]",
        "(",
        ")",
        ";",
        "@",
        '"',
        "'",
        "https://",
        "git+",
        "index.example.com",
        "/x-1.zip",
        ".whl",
        "os_name",
        "and",
        "or",
        "not in",
        "--hash",
        "-e",
        "#",
        "sha256:",
        "\\",
        "\\\n",
        "$",
        "{{",
        "\u00a0",
        "\ufeff",
        "\r",
        "\t",
        "extra",
        "python_version",
        '"3.9"',
        "!",
        ":",
    ]
)


def parse_or_error(text, *, file):
    try:
        return parse(text, file=file)
    except SpecError as error:
        return error


def check_parse(text, *, file=False):
    result = parse_or_error(text, file=file)
    if isinstance(result, SpecError):
        assert "\n" not in result.message
        assert result.message.isascii()
        return
    assert parse(result.text, file=True) == result
    assert parse(" ".join(item.line for item in result.items), file=True) == result
    for line in result.lines:
        assert str(Parsed(line)) == line


@given(st.text(), st.booleans())
@example(text="[]", file=False)
def test_any_text_is_accepted_or_rejected(text, file):
    check_parse(text, file=file)


@given(st.lists(FRAGMENTS, max_size=12).map("".join), st.booleans())
@example(text="1-_2 v2_0 1--0", file=False)
def test_any_fragments_are_accepted_or_rejected(text, file):
    check_parse(text, file=file)


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "text",
    [
        "a" * 60000,
        "1" * 60000,
        "-" * 50000,
        "a" + "-" * 50000,
        "." * 60000,
        "/" * 60000,
        "@" * 60000,
        "!" * 60000,
        "^" + "1." * 30000,
        "a" + "<" * 60000,
        "a" + " " * 60000 + "b",
        "a, " * 20000,
        "a " * 30000,
        "," * 60000,
        "\n" * 60000,
        "\\\n" * 30000,
        " #" * 30000,
        "# \\\n" * 16000,
        "python " * 9000,
        "!" + " " * 60000 + "pip",
        "numpy==" + "9" * 60000,
        "numpy==" + "1." * 30000,
        "numpy==1+" + "a." * 30000,
        "numpy" + ",<1" * 3000,
        "numpy>=1" + ",<1" * 3000,
        "numpy[" + ",".join(["a"] * 8000) + "]",
        "numpy[" + "a " * 20000,
        "numpy[" + "[" * 60000,
        "numpy" + "(" * 60000,
        "numpy; " + " and ".join(['os_name == "nt"'] * 500),
        "numpy; " + "(" * 5000,
        "numpy; " + "'" * 60000,
        "numpy; os_name " + "not " * 15000,
        "numpy; os_name == '" + "a" * 60000,
        "x @ https://" + "a" * 60000 + "/x-1.zip",
        "x @ https://" + "a." * 30000 + "/x-1.zip",
        "x @ https://" + "/" * 60000 + "x-1.zip",
        "x @ https://index.example.com/" + "%" * 60000,
        "x @ https://index.example.com/x-1-" + ".".join(map(str, range(900))) + "-none-any.whl",
        "x @ " + "//" * 30000,
        "x @ " + "://@" * 15000,
        ",".join(["a//b"] * 12000),
        ",".join(f"p{n}x" for n in range(200)),
        '["' + "a" * 60000 + '"]',
        "[" + '"a",' * 16000,
    ],
    ids=lambda text: text[:24] + f" ({len(text)})",
)
@pytest.mark.parametrize("file", [False, True])
def test_long_texts_are_parsed_in_linear_time(text, file):
    check_parse(text, file=file)


@pytest.mark.timeout(20)
def test_large_lock_is_parsed():
    hashes = " ".join(f"--hash=sha256:{number:064x}" for number in range(30))
    text = "\n".join(f"package-{number}x==1.{number} {hashes}" for number in range(184))
    requirements = parse(text, source="-r", file=True)
    assert len(requirements.items) == 184
    assert {len(item.hashes) for item in requirements.items} == {30}
    assert parse(requirements.text, file=True) == requirements


def test_package_imports_its_parser_lazily():
    from uv_argo_magic.core import requirements

    assert requirements.parse is parse
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = requirements.nonsense
