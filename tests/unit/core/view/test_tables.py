"""core/view/tables.py: a table as text and as HTML."""

from __future__ import annotations

from uv_argo_magic.core.view.tables import Table, html, text

TABLE = Table(
    title="Two & more",
    head=("NAME", "SIZE"),
    rows=(("a", "5 kB"), ("  <b>", "500 MB")),
    notes=("Note.",),
    right=frozenset({1}),
)


def test_columns_are_aligned():
    assert text(TABLE).splitlines() == ["Two & more", "NAME     SIZE", "a        5 kB", "  <b>  500 MB", "Note."]
    assert text(Table(rows=(("a", "b"),))) == "a  b"
    assert text(Table()) == ""


def test_text_is_escaped_in_html():
    page = html(TABLE)
    assert "Two &amp; more" in page
    assert ">  &lt;b&gt;</td>" in page
    assert page.count("text-align:right") == 3
    assert "Note." in page
    assert "<table" not in html(Table(title="No rows"))
    assert "\x1b" not in html(Table(rows=(("\x1b[31mred",),)))


def test_wide_table_is_shortened_in_flexible_columns():
    wide = Table(
        title="A title that is longer than that",
        head=("RUN", "NEEDS", "CELL"),
        rows=(("20260101-120000", "numpy pandas", "import numpy"), ("x", "-", "y")),
        notes=("A note that continues after the last column.",),
        flexible=frozenset({1, 2}),
    )
    assert text(wide, 80) == text(wide)
    lines = text(wide, 34).splitlines()
    assert max(map(len, lines)) <= 34
    assert "20260101-120000  numpy\u2026  import n\u2026" in lines
    assert lines[-2:] == ["A note that continues after the", "last column."]
    assert text(Table(title="t"), 34) == "t"


def test_header_is_bold_with_colours():
    assert text(TABLE, bold=True).splitlines()[1:3] == ["\x1b[1mNAME     SIZE\x1b[0m", "a        5 kB"]
