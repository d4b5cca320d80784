"""The cell's output as Jupyter shows it."""

from __future__ import annotations

import os
import pathlib
import sys

import nbclient
import nbformat
import pytest
from IPython.core.interactiveshell import InteractiveShell

from uv_argo_magic.core.spec.run_spec import Settings
from uv_argo_magic.core.view.truncate import OutputTruncator
from uv_argo_magic.renderers.cell_output import CellOutput, OutputSink, RemoteResult
from uv_argo_magic.renderers.choose import renderers
from uv_argo_magic.testing import play, states, write

LOG = write(
    "out\n",
    ("text", {"stream": "stderr", "text": "err\n"}),
    ("display", {"data": {"text/plain": "one", "text/html": "<b>1</b>"}, "metadata": {"a": 1}, "display_id": "d"}),
    ("display", {"data": {"text/plain": "two"}, "display_id": "d", "update": True}),
    ("display", {"data": {"text/plain": "bare"}}),
    ("skipped", {"lines": 3, "bytes": 9}),
    ("result", {"data": {"text/plain": "42", "application/json": {"a": [1]}}, "metadata": {"m": True}}),
    ("exit", {"reason": "ok"}),
)


class Seen(OutputSink):
    """What was published and cleared, in order."""

    def __init__(self):
        self.calls = []

    def publish(self, data, metadata, *, transient, update):
        self.calls.append(("publish", data, metadata, transient, update))

    def result(self, data, metadata):
        self.calls.append(("result", data, metadata))

    def clear(self, *, wait):
        self.calls.append(("clear", wait))


def emit(log, cap=None, **given):
    seen = Seen()
    output = CellOutput(truncator=cap, sink=seen, **given)
    for state in states(log):
        output.update(state)
    output.update(state)
    return seen.calls


def test_streams_and_displays_come_out_unchanged(capsys):
    calls = emit(LOG)
    captured = capsys.readouterr()
    assert captured.out == "out\n"
    assert captured.err == "err\n[3 lines omitted]\n"
    (_, data, metadata, transient, update), (_, new, _, again, updated), (*_, bare, _), result = calls
    assert (data, metadata, update) == ({"text/plain": "one", "text/html": "<b>1</b>"}, {"a": 1}, False)
    assert (new, updated) == ({"text/plain": "two"}, True)
    assert transient == again
    assert bare == {}
    assert result == ("result", {"text/plain": "42", "application/json": {"a": [1]}}, {"m": True})


def test_the_display_of_another_cell_can_be_updated(capsys):
    assert {call[3]["display_id"] for call in emit(LOG)[:2]} == {"d"}


def test_unpaired_surrogates_in_displays_and_results_are_escaped():
    data = {"text/plain": "half \ud83d", "application/json": {"\ud83d": ["\udc00"]}}
    log = write(("display", {"data": data, "metadata": {"t": "\ud800"}}), ("result", {"data": data}))
    (_, shown, metadata, *_), (_, value, _) = emit(log)
    assert shown == value == {"text/plain": "half \\ud83d", "application/json": {"\\ud83d": ["\\udc00"]}}
    assert metadata == {"t": "\\ud800"}


def test_what_is_held_back_comes_at_the_end(capsys):
    emit(write("1\n2\n3\n4\n", ("exit", {"reason": "ok"})), OutputTruncator(head=1, tail=1, full_log="%argo logs x"))
    captured = capsys.readouterr()
    assert captured.out == "1\n4\n"
    assert captured.err == "[2 lines omitted; full log: %argo logs x]\n"


def test_many_lines_at_once_are_one_message():
    written = []

    class To(OutputSink):
        def write(self, stream, text):
            written.append((stream, text))

    output = CellOutput(truncator=OutputTruncator(head=2, tail=500), sink=To())
    output.update(play("".join(f"{i}\n" for i in range(5000)) + write(("exit", {"reason": "ok"}), n=5000)))
    (first, start), (between, _), (last, rest) = written
    assert (first, start, between, last) == ("stdout", "0\n1\n", "stderr", "stdout")
    assert rest == "".join(f"{i}\n" for i in range(4500, 5000))


def test_after_clearing_the_panel_is_asked_to_come_again():
    asked = []
    log = write(("clear", {"wait": True}), ("clear", {"wait": False}))
    assert emit(log, on_clear=lambda: asked.append(1)) == [("clear", True), ("clear", False)]
    assert asked == [1, 1]
    assert emit(log) == [("clear", True), ("clear", False)]


def test_lone_surrogates_can_be_sent(capsys):
    emit(write(("text", {"stream": "stdout", "text": "a\ud800b"})))
    assert capsys.readouterr().out == "a\\ud800b"


@pytest.fixture
def shell():
    yield InteractiveShell.instance()
    InteractiveShell.clear_instance()


def test_the_result_goes_through_pythons_display_hook(shell, monkeypatch):
    values = []
    monkeypatch.setattr(sys, "displayhook", values.append)
    CellOutput().update(play(LOG))
    data, metadata = shell.display_formatter.format(*values)
    assert data == {"text/plain": "42", "application/json": {"a": [1]}}
    assert metadata == {"m": True}


class Plain:
    """A publisher that has neither transient data nor updates."""

    def __init__(self):
        self.data = []

    def publish(self, data, metadata=None):
        self.data.append(data["text/plain"])


class Refusing(Plain):
    def publish(self, data, metadata=None, **_options):
        if data["text/plain"] == "one":
            raise ValueError("half an emoji: \ud83d")
        super().publish(data)


def test_a_publisher_without_updates_shows_each_as_a_display(shell, capsys):
    shell.display_pub = Plain()
    output = CellOutput()
    for state in states(LOG):
        output.update(state)
    assert shell.display_pub.data == ["one", "two", "bare"]


def test_a_display_that_fails_loses_nothing_after_it(shell, capsys):
    shell.display_pub = Refusing()
    CellOutput().update(play(LOG))
    captured = capsys.readouterr()
    assert shell.display_pub.data == ["two", "bare"]
    assert captured.out == "out\n42\n"
    assert "uv-argo: Cannot show an output of the cell (ValueError: half an emoji: \ufffd)\n" in captured.err


def test_a_bare_shell_shows_text(shell, capsys):
    for renderer in renderers(Settings(), ip=shell):
        renderer.update(play(LOG))
    captured = capsys.readouterr()
    assert captured.out == "out\none\ntwo\nbare\n42\n"
    assert "[argo] Succeeded" in captured.err


def test_a_result_without_text_has_a_plain_form(shell):
    data, _ = shell.display_formatter.format(RemoteResult({"text/html": "x"}, {}))
    assert data == {"text/html": "x", "text/plain": "<value without a text representation>"}


def test_ipythons_own_functions_are_used_in_a_real_kernel():
    source = (
        "from uv_argo_magic.renderers.cell_output import CellOutput\n"
        "from uv_argo_magic.testing import play, states\n"
        f"log = {LOG!r}\n"
        "shown = CellOutput()\n"
        "for state in states(log):\n    shown.update(state)"
    )
    clear = (
        "from uv_argo_magic.testing import write\n"
        "shown = CellOutput()\n"
        "shown.update(play(write('gone\\n', ('clear', {'wait': False}), 'kept\\n')))"
    )
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(text) for text in (source, clear)])
    root = pathlib.Path(__file__).parents[2]
    env = dict(os.environ, PYTHONPATH=str(root), PYDEVD_DISABLE_FILE_VALIDATION="1")
    nbclient.NotebookClient(notebook, timeout=60, kernel_name="python3").execute(cwd=str(root), env=env)
    first, second = notebook.cells
    kinds = [(one.output_type, one.get("name") or one.data["text/plain"]) for one in first.outputs]
    assert sorted(kinds) == [
        ("display_data", "bare"), ("display_data", "two"), ("execute_result", "42"), ("stream", "stderr"),
        ("stream", "stderr"), ("stream", "stdout"),
    ]  # fmt: skip
    assert next(one for one in first.outputs if one.output_type == "execute_result").execution_count == 1
    assert [one.text for one in second.outputs] == ["kept\n"]


def test_of_many_updates_in_one_batch_the_newest_of_each_display_is_sent():
    def update(name, text):
        return ("display", {"data": {"text/plain": text}, "display_id": name, "update": True})

    log = write(
        ("display", {"data": {"text/plain": "0"}, "display_id": "d"}),
        *[update("d", str(i)) for i in range(500)],
        "between\n",
        update("e", "other"),
        update("d", "last"),
        ("exit", {"reason": "ok"}),
    )
    seen = Seen()
    CellOutput(sink=seen).update(play(log))
    assert [call[1]["text/plain"] for call in seen.calls] == ["0", "other", "last"]
