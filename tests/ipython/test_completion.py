"""notebook/completion.py, through both interfaces of IPython: `complete` for readline, `completions` for kernels."""

from __future__ import annotations

import warnings

import pytest
from IPython.core.completer import provisionalcompleter
from support.cases import each

from uv_argo_magic.core.resolution.lock import Lock, Package, Target
from uv_argo_magic.core.spec.run_spec import RunSpec
from uv_argo_magic.history.store import History
from uv_argo_magic.sessions.registry import Registry, SessionEntry, SessionKey

LINES = [
    ("%%argo --de", {"--deps", "--detach"}),
    ("%%argo --dry-run --py", {"--python"}),
    ("%%argo --python 3.1", {"3.10", "3.11", "3.12", "3.13", "3.14"}),
    ("%%argo -b lo", {"local"}),
    ("%%argo --set pan", {"panel="}),
    ("%%argo --set panel=st", {"static"}),
    ("%%argo --set offline=", {"true", "false"}),
    ("%%argo --push alp", {"alpha", "alpine"}),
    ("%%argo --push alpha,alp", {"alpine"}),
    ("%%argo --push alpha alp", {"alpine"}),
    ("%%argo --out alp", {"alpha", "alpine", "alpaca"}),
    ("%%argo --deps scikit-", {"scikit-image", "scikit-learn"}),
    ('%%argo --deps "numpy scikit-l', {"scikit-learn"}),
    ("%%argo -d numpy,scikit-l", {"scikit-learn"}),
    ("%%argo --deps zod", {"zodiac-from-history"}),
    ("%%argo --deps imp", set()),
    ("%%argo --deps pandas>=", set()),
    ("%%argo --timeout ", set()),
    ("%%argo -r need", {"needs.txt"}),
    ("%%argo -r sub", {"sub/"}),
    ("%%argo -r sub/mo", {"sub/more.in"}),
    ("%%argo -r data", {"data.csv"}),
    ("%%argo --env-file .e", {".env"}),
    ("%argo lock --to nee", {"needs.txt", "needy.csv"}),
    ("%argo log", {"logs"}),
    ("%argo logs 2026", {"20260101-one"}),
    ("%argo help pa", {"packages"}),
    ("%argo runs --co", {"--count"}),
    ("%%argo -s pl", {"plots"}),
    ("%argo restart p", {"plots"}),
]


@pytest.fixture
def completion_shell(shell, tmp_path, monkeypatch):
    monkeypatch.setattr("uv_argo_magic.notebook.completion.lookup.names", lambda: ("local",))
    shell.user_ns.update(alpha=1, alpine=2, _hidden=3, alpaca=print)
    package = Package(name="zodiac-from-history", version="1", sha256="a" * 64)
    History(tmp_path / "home" / "data" / "runs").begin(
        "20260101-one", spec=RunSpec(cell="1"), resolution=Lock(packages=(package,), target=Target(python="3.12"))
    )
    key = SessionKey(name="plots", notebook="a.ipynb")
    Registry.of_this_user().write(SessionEntry(key=key, backend="local", python="3.12.1"))
    for name in ("needs.txt", "needy.csv", "data.csv", ".env", "sub/more.in"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return shell


def kernel_completions(shell, text, cursor):
    """Complete like ipykernel: the completions, and the texts that they result in."""
    with provisionalcompleter(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        completions = list(shell.Completer.completions(text, cursor))
    return {completion.text for completion in completions}, {
        text[: completion.start] + completion.text + text[completion.end :] for completion in completions
    }


@pytest.mark.parametrize("jedi", [False, True])
@each(("line", "expected"), LINES)
def test_kernel_completes(completion_shell, line, expected, jedi):
    completion_shell.Completer.use_jedi = jedi
    completions, completed = kernel_completions(completion_shell, line, len(line))
    assert completions == expected
    assert all(text.startswith(line) for text in completed)


@each(("line", "expected"), LINES)
def test_readline_completes(completion_shell, line, expected):
    completion_shell.Completer.use_jedi = False
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PendingDeprecationWarning)
        _, completions = completion_shell.complete(None, line, len(line))
    assert set(completions) == expected


def test_pull_completes_names_assigned_in_the_cell(completion_shell):
    text = "%%argo --pull tot\nimport x\ntotal = 1\ntotals: int = 2\ndef totally(): ...\ntot == 3\n"
    completions, _ = kernel_completions(completion_shell, text, len("%%argo --pull tot"))
    assert completions == {"total", "totals"}
    body = "import x\nfor row, col in z:\n    a, *b = q\nwith f() as g: c: int = 2\ndef fn(p):\n    inner = 1\n"
    text = f"%%argo --pull \n{body}[n for n in z]\n(w := 1)"
    completions, _ = kernel_completions(completion_shell, text, len("%%argo --pull "))
    assert {"row", "col", "a", "b", "g", "c", "w"} == {name for name in completions if not name.startswith("--")}


def test_options_are_only_completed_on_the_magic_line(completion_shell):
    for text in ("%%argo --deps numpy\n%%argo --de", "x = 1\n%%argo --de", "%%time --de", "%%argonaut --de"):
        completions, _ = kernel_completions(completion_shell, text, len(text))
        assert "--deps" not in completions


def test_cell_body_completes_names(completion_shell):
    text = "%%argo --deps numpy\nalp"
    completions, _ = kernel_completions(completion_shell, text, len(text))
    assert {"alpha", "alpine"} <= completions
