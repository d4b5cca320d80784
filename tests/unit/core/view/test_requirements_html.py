"""core/view/requirements_html.py: what the editor shows, as strings."""

from __future__ import annotations

import pytest

from uv_argo_magic.core.requirements import edits
from uv_argo_magic.core.requirements.parser import parse
from uv_argo_magic.core.resolution.check_result import CheckResult
from uv_argo_magic.core.resolution.lock import Lock, Package, Target
from uv_argo_magic.core.view import requirements_html

LOCK = Lock(
    packages=(Package(name="numpy", version="2.3.4", size=1), Package(name="six", version="1.17", size=1)),
    target=Target(python="3.12.1"),
    warnings=("six has no extra <x>.",),
)
FINE = CheckResult(lock=LOCK, target="Python 3.12.1")
BAD = CheckResult(problem="numpy <and> six quarrel.", hint="Part them.", blamed=("numpy",))
AWAY = CheckResult(problem="The index is away.", unreachable=True)


@pytest.mark.parametrize(
    ("verdict", "word"), [(None, "Checking"), (FINE, "Resolved"), (BAD, "Problem"), (AWAY, "Unchecked")]
)
def test_one_word(verdict, word):
    assert requirements_html.badge(verdict) == word
    assert f">{word}</span>" in requirements_html.status(verdict, 0)


def test_a_chip_shows_what_was_asked_and_what_was_found():
    numpy, six = parse("numpy>=2 six==1.17").items
    shown = requirements_html.chip(numpy, FINE)
    assert "numpy<span>&gt;=2</span>" in shown
    assert '<span class="uv-dim">2.3.4</span>' in shown
    assert "uv-dim" not in requirements_html.chip(six, FINE)
    assert "uv-dim" not in requirements_html.chip(numpy, None)


def test_a_chip_that_is_to_blame_says_so_and_why():
    numpy, six = parse("numpy six").items
    shown = requirements_html.chip(numpy, BAD)
    assert "problem</span>" in shown
    assert 'title="numpy &lt;and&gt; six quarrel. Part them."' in shown
    assert "problem" not in requirements_html.chip(six, BAD)


def test_the_status_gives_reason_hint_and_warnings_as_text():
    assert "numpy &lt;and&gt; six quarrel." in requirements_html.status(BAD, 0)
    assert "Part them." in requirements_html.status(BAD, 0)
    assert "extra &lt;x&gt;." in requirements_html.status(FINE, 0)
    assert "Not checked" in requirements_html.status(AWAY, 0)


def test_the_static_form():
    text = '-r "<b>.txt"\nnumpy>=2\nsix\n'
    items = edits.items(text, "f")
    html = requirements_html.static_html(items, text, "<f>", FINE)
    assert all(part in html for part in ("numpy&gt;=2", "2.3.4", "&lt;f&gt;", "-r &quot;&lt;b&gt;.txt&quot;"))
    assert "<script" not in html
    assert requirements_html.static_html(items, text, "f", BAD).count("color:#cf222e") == 1
    assert "Checking" not in requirements_html.static_html(items, text, "f", None)
    assert requirements_html.static_text(items, "f") == "argo edit f: numpy>=2, six"
    assert requirements_html.static_text((), "f") == "argo edit f: no requirements"
