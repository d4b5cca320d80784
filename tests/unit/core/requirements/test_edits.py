"""core/requirements/edits.py: a requirements file changes where it was asked to, and nowhere else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.cases import each

from uv_argo_magic.core.commands.cell_line import cell_line
from uv_argo_magic.core.commands.table import read_cell
from uv_argo_magic.core.requirements import edits
from uv_argo_magic.core.requirements.model import Requirement
from uv_argo_magic.core.requirements.parser import parse
from uv_argo_magic.errors import SpecError

FILE = """# What the study needs.
-c limits.txt
numpy>=2,<3   # arrays
pandas, scipy

rich; python_version < "3.13"  # tables
rich>=14; python_version >= "3.13"
--extra-line
"""
HASH = f"--hash=sha256:{'a' * 64}"


def one(text):
    return parse(text).items[0]


@each(
    ("typed", "old", "new"),
    [
        ("polars", "", "polars\n"),
        ("numpy", "numpy>=2,<3   # arrays", "numpy   # arrays"),
        ("Pandas >=2 SciPy", "pandas, scipy", "pandas>=2, scipy"),
        ('rich<15; python_version < "3.13"', 'rich; python_version < "3.13"', 'rich<15; python_version < "3.13"'),
        ("rich", "", "rich\n"),
        ("pandas", "", ""),
        ("a b>=1, c", "", "a\nb>=1\nc\n"),
    ],
)
def test_what_is_added_takes_its_place_or_the_end(typed, old, new):
    made = edits.add(FILE, typed, "f")
    assert made == (FILE.replace(old, new) if old else FILE + new)


@each(
    ("gone", "old", "new"),
    [
        ("numpy<3,>=2", "numpy>=2,<3   # arrays\n", ""),
        ("pandas", "pandas, scipy", "scipy"),
        ("scipy", "pandas, scipy", "pandas"),
        ('rich; python_version < "3.13"', 'rich; python_version < "3.13"  # tables\n', ""),
        ("nothing", "", ""),
    ],
)
def test_what_is_removed_takes_its_line_and_comment_along(gone, old, new):
    assert edits.remove(FILE, one(gone), "f") == FILE.replace(old, new)


@each(
    ("text", "gone", "left"),
    [
        ("a b # two\n", "b", "a # two\n"),
        ("a", "a", ""),
        ("a\nb\na\n", "a", "b\n"),
        ("a,\nb", "b", "a,\n"),
        ("a\n,b\n,c\n", "b", "a\n,c\n"),
        (f"a \\\n  {HASH}\nb\n", "a", "b\n"),
        ("a \\\nb", "b", "a \\\n"),
        ("-r x.txt\na,\nb\n,c\n", "b", "-r x.txt\na\nc\n"),
        ('["a", "b"]', "a", "b\n"),
    ],
)
def test_awkward_lines(text, gone, left):
    assert edits.remove(text, one(gone), "f") == left


def test_a_line_without_an_end_gets_one_and_a_json_list_becomes_lines():
    assert edits.add("a  # last", "b", "f") == "a  # last\nb\n"
    assert edits.add(' ["a", "b>=1"]', "c", "f") == "a\nb>=1\nc\n"
    assert edits.add("", "a", "f") == "a\n"


def test_what_cannot_be_read_is_not_changed():
    with pytest.raises(SpecError, match="f, line 2, character 3"):
        edits.add("a\nb = 1\n", "c", "f")
    with pytest.raises(SpecError, match="input"):
        edits.add("a\n", "pip install b", "f")
    with pytest.raises(SpecError):
        edits.remove("a = 1", one("a"), "f")


def test_options_are_kept_and_named():
    assert edits.option_lines(FILE) == ("-c limits.txt", "--extra-line")
    assert [item.name for item in edits.items(FILE, "f")] == ["numpy", "pandas", "scipy", "rich", "rich"]


NAMES = st.sampled_from(["numpy", "Pandas>=2", "rich[x]", 'six; os_name == "nt"', "numpy<3", f"b==1 {HASH}"])
GAPS = st.sampled_from(["\n", " ", ", ", ",\n", "  # note\n", "\n# alone\n", " \\\n", "\n\n", ",", "\n-r other.txt\n"])


@st.composite
def files(draw):
    text = draw(st.sampled_from(["", "# first\n", "\n"]))
    for name in draw(st.lists(NAMES, max_size=6)):
        text += name + draw(GAPS)
    return text


@given(files(), NAMES)
def test_adding_and_removing_says_what_was_asked_and_keeps_the_rest(text, typed):
    try:
        before = edits.items(text, "f")
    except SpecError:
        return
    bare = typed.split(" --hash")[0]
    new = one(bare)
    made = edits.add(text, bare, "f")
    listed = edits.items(made, "f")
    assert str(new) in map(str, listed)
    places = {(item.name, item.marker) for item in before} | {(new.name, new.marker)}
    assert {(item.name, item.marker) for item in listed} == places
    again = edits.items(edits.remove(made, new, "f"), "f")
    assert list(map(str, again)) == [str(item) for item in listed if str(item) != str(new)]
    assert edits.option_lines(made) == edits.option_lines(text)
    assert all(line in made for line in text.split("\n") if line.startswith("#"))


@given(files())
def test_the_cells_line_asks_for_the_same(text):
    try:
        items = edits.items(text, "f")
    except SpecError:
        return
    line = cell_line(text, "f")
    if edits.option_lines(text) or any(item.hashes for item in items):
        assert line == "%%argo -r f"
    else:
        read = read_cell(line.removeprefix("%%argo "), {})
        assert parse(read.text("deps")).items == items


def test_line_ends_are_plain():
    assert edits.normalize("\ufeffa\r\nb\rc\n") == "a\nb\nc\n"


@given(st.lists(st.one_of(st.sampled_from(["undo", "redo"]), st.text(max_size=3))))
def test_undo_and_redo_walk_one_line_of_texts(steps):
    made, texts, at = edits.Edits(text=""), [""], 0
    for step in steps:
        if step == "undo":
            made, at = made.undo(), max(0, at - 1)
        elif step == "redo":
            made, at = made.redo(), min(len(texts) - 1, at + 1)
        elif step != texts[at]:
            made = made.change(step)
            texts, at = [*texts[: at + 1], step], at + 1
        else:
            assert made.change(step) is made
        assert made.text == texts[at]
    assert made.past == tuple(texts[:at])


def test_the_way_back_is_bounded():
    made = edits.Edits(text="")
    for number in range(edits.DEPTH + 50):
        made = made.change(str(number))
    assert len(made.past) == edits.DEPTH


def test_a_requirement_is_named_as_it_stands():
    assert Requirement(name="a", specifier=">=1") in edits.items("A >= 1", "f")
