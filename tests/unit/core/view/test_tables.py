"""core/view/tables.py: a table as text and as HTML."""

from __future__ import annotations

from uv_argo_magic.core.view.tables import Table, html, text

TABLE = Table(
    title="Two & more",
    head=("NAME", "SIZE"),
    rows=(("a", "5 kB"), ("  <b>", "500 MB")),
    notes=("Said.",),
    right=frozenset({1}),
)


def test_columns():
    assert text(TABLE).splitlines() == ["Two & more", "NAME     SIZE", "a        5 kB", "  <b>  500 MB", "Said."]
    assert text(Table(rows=(("a", "b"),))) == "a  b"
    assert text(Table()) == ""


def test_what_stands_in_a_table_is_no_markup():
    shown = html(TABLE)
    assert "Two &amp; more" in shown
    assert ">  &lt;b&gt;</td>" in shown
    assert shown.count("text-align:right") == 3
    assert "Said." in shown
    assert "<table" not in html(Table(title="No rows"))
    assert "\x1b" not in html(Table(rows=(("\x1b[31mred",),)))
