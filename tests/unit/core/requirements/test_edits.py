"""core/requirements/edits.py: adding and removing requirements without other changes to the file."""

from __future__ import annotations

import pytest
from hypothesis import example, given
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


def parse_one(text):
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
def test_added_requirement_replaces_or_is_appended(typed, old, new):
    edited = edits.add(FILE, typed, "f")
    assert edited == (FILE.replace(old, new) if old else FILE + new)


@each(
    ("removed", "old", "new"),
    [
        ("numpy<3,>=2", "numpy>=2,<3   # arrays\n", ""),
        ("pandas", "pandas, scipy", "scipy"),
        ("scipy", "pandas, scipy", "pandas"),
        ('rich; python_version < "3.13"', 'rich; python_version < "3.13"  # tables\n', ""),
        ("nothing", "", ""),
    ],
)
def test_removed_requirement_loses_its_line_and_comment(removed, old, new):
    assert edits.remove(FILE, parse_one(removed), "f") == FILE.replace(old, new)


@each(
    ("text", "removed", "expected"),
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
def test_remove_handles_unusual_lines(text, removed, expected):
    assert edits.remove(text, parse_one(removed), "f") == expected


def test_add_normalizes_the_text():
    assert edits.add("a  # last", "b", "f") == "a  # last\nb\n"
    assert edits.add(' ["a", "b>=1"]', "c", "f") == "a\nb>=1\nc\n"
    assert edits.add("", "a", "f") == "a\n"


def test_invalid_files_are_not_changed():
    with pytest.raises(SpecError, match="f, line 2, character 3"):
        edits.add("a\nb = 1\n", "c", "f")
    with pytest.raises(SpecError, match="input"):
        edits.add("a\n", "pip install b", "f")
    with pytest.raises(SpecError):
        edits.remove("a = 1", parse_one("a"), "f")


def test_option_lines_are_preserved_and_listed():
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
def test_add_and_remove_change_only_one_requirement(text, typed):
    try:
        before = edits.items(text, "f")
    except SpecError:
        return
    bare = typed.split(" --hash")[0]
    new = parse_one(bare)
    edited = edits.add(text, bare, "f")
    items_after = edits.items(edited, "f")
    assert str(new) in map(str, items_after)
    names_and_markers = {(item.name, item.marker) for item in before} | {(new.name, new.marker)}
    assert {(item.name, item.marker) for item in items_after} == names_and_markers
    items_after_removal = edits.items(edits.remove(edited, new, "f"), "f")
    assert list(map(str, items_after_removal)) == [str(item) for item in items_after if str(item) != str(new)]
    assert edits.option_lines(edited) == edits.option_lines(text)
    assert all(line in edited for line in text.split("\n") if line.startswith("#"))


@given(files())
def test_cell_line_has_the_same_requirements(text):
    try:
        items = edits.items(text, "f")
    except SpecError:
        return
    line = cell_line(text, "f")
    if edits.option_lines(text) or any(item.hashes for item in items):
        assert line == "%%argo -r f"
    else:
        cell = read_cell(line.removeprefix("%%argo "), {})
        assert parse(cell.text("deps")).items == items


def test_normalize_line_ends():
    assert edits.normalize("\ufeffa\r\nb\rc\n") == "a\nb\nc\n"


@example(["undo", "redo", "a", "a", "b", "undo", "redo"])
@given(st.lists(st.one_of(st.sampled_from(["undo", "redo"]), st.text(max_size=3))))
def test_undo_and_redo(steps):
    history, texts, position = edits.Edits(text=""), [""], 0
    for step in steps:
        if step == "undo":
            history, position = history.undo(), max(0, position - 1)
        elif step == "redo":
            history, position = history.redo(), min(len(texts) - 1, position + 1)
        elif step != texts[position]:
            history = history.change(step)
            texts, position = [*texts[: position + 1], step], position + 1
        else:
            assert history.change(step) is history
        assert history.text == texts[position]
    assert history.past == tuple(texts[:position])


def test_undo_history_is_limited():
    history = edits.Edits(text="")
    for number in range(edits.DEPTH + 50):
        history = history.change(str(number))
    assert len(history.past) == edits.DEPTH


def test_items_compare_by_meaning():
    assert Requirement(name="a", specifier=">=1") in edits.items("A >= 1", "f")
