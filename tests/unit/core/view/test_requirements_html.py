"""core/view/requirements_html.py: the HTML of the editor."""

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
RESOLVED = CheckResult(lock=LOCK, target="Python 3.12.1")
CONFLICT = CheckResult(problem="numpy <and> six conflict.", hint="Remove one.", blamed=("numpy",))
UNREACHABLE = CheckResult(problem="The index is away.", unreachable=True)


@pytest.mark.parametrize(
    ("result", "word"), [(None, "Checking"), (RESOLVED, "Resolved"), (CONFLICT, "Problem"), (UNREACHABLE, "Unchecked")]
)
def test_badge_is_one_word(result, word):
    assert requirements_html.badge(result) == word
    assert f">{word}</span>" in requirements_html.status(result, 0)


def test_chip_shows_requirement_and_version():
    numpy, six = parse("numpy>=2 six==1.17").items
    chip = requirements_html.chip(numpy, RESOLVED)
    assert "numpy<span>&gt;=2</span>" in chip
    assert '<span class="uv-dim">2.3.4</span>' in chip
    assert "uv-dim" not in requirements_html.chip(six, RESOLVED)
    assert "uv-dim" not in requirements_html.chip(numpy, None)


def test_conflicting_chip_shows_the_problem():
    numpy, six = parse("numpy six").items
    chip = requirements_html.chip(numpy, CONFLICT)
    assert "problem</span>" in chip
    assert 'title="numpy &lt;and&gt; six conflict. Remove one."' in chip
    assert "problem" not in requirements_html.chip(six, CONFLICT)


def test_status_shows_problem_hint_and_warnings():
    assert "numpy &lt;and&gt; six conflict." in requirements_html.status(CONFLICT, 0)
    assert "Remove one." in requirements_html.status(CONFLICT, 0)
    assert "extra &lt;x&gt;." in requirements_html.status(RESOLVED, 0)
    assert "Not checked" in requirements_html.status(UNREACHABLE, 0)


def test_static_form():
    text = '-r "<b>.txt"\nnumpy>=2\nsix\n'
    items = edits.items(text, "f")
    html = requirements_html.static_html(items, text, "<f>", RESOLVED)
    assert all(part in html for part in ("numpy&gt;=2", "2.3.4", "&lt;f&gt;", "-r &quot;&lt;b&gt;.txt&quot;"))
    assert "<script" not in html
    assert requirements_html.static_html(items, text, "f", CONFLICT).count("color:#cf222e") == 1
    assert "Checking" not in requirements_html.static_html(items, text, "f", None)
    assert requirements_html.static_text(items, "f") == "argo edit f: numpy>=2, six"
    assert requirements_html.static_text((), "f") == "argo edit f: no requirements"
