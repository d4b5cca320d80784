"""The output of a cell in Jupyter."""

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


class RecordingSink(OutputSink):
    """Records what is published and cleared."""

    def __init__(self):
        self.calls = []

    def publish(self, data, metadata, *, transient, update):
        self.calls.append(("publish", data, metadata, transient, update))

    def result(self, data, metadata):
        self.calls.append(("result", data, metadata))

    def clear(self, *, wait):
        self.calls.append(("clear", wait))


def emit(log, truncator=None, **options):
    sink = RecordingSink()
    output = CellOutput(truncator=truncator, sink=sink, **options)
    for state in states(log):
        output.update(state)
    output.update(state)
    return sink.calls


def test_streams_and_displays_are_shown_unchanged(capsys):
    calls = emit(LOG)
    captured = capsys.readouterr()
    assert captured.out == "out\n"
    assert captured.err == "err\n[3 lines omitted]\n"
    (_, data, metadata, transient, update), (_, new, _, new_transient, is_update), (*_, bare, _), result = calls
    assert (data, metadata, update) == ({"text/plain": "one", "text/html": "<b>1</b>"}, {"a": 1}, False)
    assert (new, is_update) == ({"text/plain": "two"}, True)
    assert transient == new_transient
    assert bare == {}
    assert result == ("result", {"text/plain": "42", "application/json": {"a": [1]}}, {"m": True})


def test_updates_use_the_display_id_of_the_cell(capsys):
    assert {call[3]["display_id"] for call in emit(LOG)[:2]} == {"d"}


def test_surrogates_in_displays_and_results_are_escaped():
    data = {"text/plain": "half \ud83d", "application/json": {"\ud83d": ["\udc00"]}}
    log = write(("display", {"data": data, "metadata": {"t": "\ud800"}}), ("result", {"data": data}))
    (_, display_data, metadata, *_), (_, value, _) = emit(log)
    assert display_data == value == {"text/plain": "half \\ud83d", "application/json": {"\\ud83d": ["\\udc00"]}}
    assert metadata == {"t": "\\ud800"}


def test_tail_of_truncated_output_is_shown_at_the_end(capsys):
    emit(write("1\n2\n3\n4\n", ("exit", {"reason": "ok"})), OutputTruncator(head=1, tail=1, full_log="%argo logs x"))
    captured = capsys.readouterr()
    assert captured.out == "1\n4\n"
    assert captured.err == "[2 lines omitted; full log: %argo logs x]\n"


def test_many_lines_are_written_at_once():
    written = []

    class Sink(OutputSink):
        def write(self, stream, text):
            written.append((stream, text))

    output = CellOutput(truncator=OutputTruncator(head=2, tail=500), sink=Sink())
    output.update(play("".join(f"{i}\n" for i in range(5000)) + write(("exit", {"reason": "ok"}), n=5000)))
    (first_stream, first_text), (note_stream, _), (last_stream, last_text) = written
    assert (first_stream, first_text, note_stream, last_stream) == ("stdout", "0\n1\n", "stderr", "stdout")
    assert last_text == "".join(f"{i}\n" for i in range(4500, 5000))


def test_clearing_output_redisplays_the_panel():
    calls = []
    log = write(("clear", {"wait": True}), ("clear", {"wait": False}))
    assert emit(log, on_clear=lambda: calls.append(1)) == [("clear", True), ("clear", False)]
    assert calls == [1, 1]
    assert emit(log) == [("clear", True), ("clear", False)]


def test_surrogates_in_streams_are_escaped(capsys):
    emit(write(("text", {"stream": "stdout", "text": "a\ud800b"})))
    assert capsys.readouterr().out == "a\\ud800b"


@pytest.fixture
def shell():
    yield InteractiveShell.instance()
    InteractiveShell.clear_instance()


def test_result_goes_through_the_display_hook(shell, monkeypatch):
    values = []
    monkeypatch.setattr(sys, "displayhook", values.append)
    CellOutput().update(play(LOG))
    data, metadata = shell.display_formatter.format(*values)
    assert data == {"text/plain": "42", "application/json": {"a": [1]}}
    assert metadata == {"m": True}


class PlainPublisher:
    """A publisher without transient data and updates."""

    def __init__(self):
        self.data = []

    def publish(self, data, metadata=None):
        self.data.append(data["text/plain"])


class FailingPublisher(PlainPublisher):
    def publish(self, data, metadata=None, **_options):
        if data["text/plain"] == "one":
            raise ValueError("half an emoji: \ud83d")
        super().publish(data)


def test_publisher_without_updates_shows_each_display(shell, capsys):
    shell.display_pub = PlainPublisher()
    output = CellOutput()
    for state in states(LOG):
        output.update(state)
    assert shell.display_pub.data == ["one", "two", "bare"]


def test_failing_display_does_not_affect_later_output(shell, capsys):
    shell.display_pub = FailingPublisher()
    CellOutput().update(play(LOG))
    captured = capsys.readouterr()
    assert shell.display_pub.data == ["two", "bare"]
    assert captured.out == "out\n42\n"
    assert "uv-argo: Cannot show an output of the cell (ValueError: half an emoji: \ufffd)\n" in captured.err


def test_shell_without_kernel_shows_text(shell, capsys):
    for renderer in renderers(Settings(), ip=shell):
        renderer.update(play(LOG))
    captured = capsys.readouterr()
    assert captured.out == "out\none\ntwo\nbare\n42\n"
    assert "[argo] Succeeded" in captured.err


def test_result_without_text_has_a_placeholder(shell):
    data, _ = shell.display_formatter.format(RemoteResult({"text/html": "x"}, {}))
    assert data == {"text/html": "x", "text/plain": "<value without a text representation>"}


def test_real_kernel_stores_all_kinds_of_output():
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
    kinds = [(output.output_type, output.get("name") or output.data["text/plain"]) for output in first.outputs]
    assert sorted(kinds) == [
        ("display_data", "bare"), ("display_data", "two"), ("execute_result", "42"), ("stream", "stderr"),
        ("stream", "stderr"), ("stream", "stdout"),
    ]  # fmt: skip
    assert next(output for output in first.outputs if output.output_type == "execute_result").execution_count == 1
    assert [output.text for output in second.outputs] == ["kept\n"]


def test_only_the_newest_update_of_each_display_is_sent():
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
    sink = RecordingSink()
    CellOutput(sink=sink).update(play(log))
    assert [call[1]["text/plain"] for call in sink.calls] == ["0", "other", "last"]
