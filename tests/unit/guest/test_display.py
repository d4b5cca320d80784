# ruff: noqa: E501 - tables of cases
"""Displays: the same mimebundles as IPython's formatter gives, sent as records."""

import base64
import json

import pytest
from IPython.core.formatters import DisplayFormatter
from support.cases import each

from uv_argo_magic.core.protocol import events, log_reader
from uv_argo_magic.guest.display import Displays, FormatterWarning


class Sink(list):
    """Takes records as the guest's `emit` does, and checks that the client can read each."""

    def __call__(self, kind, **fields):
        line = json.dumps({"k": kind, "b": "x", "n": len(self) + 1, "t": 0.0, **fields})
        assert not isinstance(log_reader.record(line), events.Unreadable)
        self.append((kind, json.loads(json.dumps(fields))))


@pytest.fixture
def sink():
    return Sink()


@pytest.fixture
def displays(sink):
    return Displays(sink)


def shows(**methods):
    return type("Shown", (), {"__repr__": lambda _: "shown", **methods})()


def give(value):
    return lambda *_args, **_named: value


class OwnBundle:
    def __repr__(self):
        return "own"

    def _repr_mimebundle_(self, include=None, exclude=None):
        return {"text/plain": "from bundle", "application/x": {"a": 1}}, {"application/x": {"m": 1}}

    def _repr_html_(self):
        return "<b>html</b>"


class Everything:
    def __getattr__(self, name):
        return lambda *_: name


class ClassLevel:
    def _repr_html_(self):
        return "of an instance"

    @classmethod
    def _repr_markdown_(cls):
        return "of the class"


SAME = [
    1, "text", None, [1, 2], {"a": 1}, shows(_repr_html_=give("<b>x</b>")), shows(_repr_html_=give(("<b>x</b>", {"w": 1}))),
    shows(_repr_png_=give(b"png")), shows(_repr_png_=give("text")), shows(_repr_jpeg_=give((b"jpeg", {"width": 1}))),
    shows(_repr_svg_=give("<svg/>")), shows(_repr_latex_=give("$x$")), shows(_repr_json_=give({"a": [1]})),
    shows(_repr_json_=give(([1], {"expanded": True}))), shows(_repr_javascript_=give("x")), shows(_repr_pdf_=give(b"pdf")),
    shows(_repr_markdown_=give("*x*")), shows(_repr_html_=give(None)), shows(_repr_html_=3), OwnBundle(), Everything(),
    ClassLevel, ClassLevel(), shows(_repr_mimebundle_=give(None)), shows(_repr_mimebundle_=give({})),
    shows(_repr_html_=lambda _: (_ for _ in ()).throw(NotImplementedError)),
]  # fmt: skip
FILTERS = [{}, {"include": ["text/html"]}, {"exclude": ["text/plain"]}, {"include": ["application/x"]}]


@each("kinds", FILTERS)
@each("value", SAME)
def test_the_bundle_is_the_one_ipython_makes(displays, value, kinds):
    assert displays.bundle(value, **kinds) == DisplayFormatter().format(value, **kinds)


def test_an_object_may_display_itself(displays, sink):
    shown = []
    displays.result(shows(_ipython_display_=lambda _: shown.append(1)))
    assert (shown, sink) == ([1], [])


def test_a_representation_that_fails_is_sent_as_a_traceback_and_the_others_go_on(displays, sink):
    def fail(_self):
        raise RuntimeError("no html today")

    broken = shows(_repr_html_=fail, _ipython_display_=fail, _repr_latex_=give("$x$"))
    displays.display(broken)
    displays.result(broken)
    assert [kind for kind, _ in sink] == ["traceback", "traceback", "display", "traceback", "traceback", "result"]
    assert sink[2][1]["data"] == {"text/plain": "shown", "text/latex": "$x$"}
    tracebacks = [fields for kind, fields in sink if kind == "traceback"]
    assert [fields["result"] for fields in tracebacks] == [False, False, True, True]
    assert {fields["text"].split("\n")[-2] for fields in tracebacks} == {"RuntimeError: no html today"}
    assert {fields["error"]["evalue"] for fields in tracebacks} == {"no html today"}


def test_a_value_too_deep_to_show_costs_a_few_lines(displays, sink):
    deep = []
    for _ in range(100_000):
        deep = [deep]
    displays.result(deep)
    ((_, fields),) = sink
    assert "RecursionError" in fields["text"]
    assert fields["text"].count("\n") < 30


def test_a_value_of_the_wrong_type_is_left_out_with_a_warning(displays):
    with pytest.warns(FormatterWarning, match=r"text/html formatter returned invalid type <class 'int'>"):
        data, _ = displays.bundle(shows(_repr_html_=give(3)))
    assert data == {"text/plain": "shown"}


def test_bytes_travel_as_base64_and_numbers_that_are_no_json_by_name(displays, sink):
    displays.display({"image/png": b"\x89PNG", "application/json": {"x": [float("nan"), 1.5, True]}}, raw=True)
    data = sink[0][1]["data"]
    assert base64.b64decode(data["image/png"]) == b"\x89PNG"
    assert data["application/json"] == {"x": ["nan", 1.5, True]}
    with pytest.raises(TypeError, match="cannot be displayed as JSON"):
        displays.display({"application/json": object()}, raw=True)


def test_a_display_with_an_id_gives_a_handle_that_changes_it(displays, sink):
    handle = displays.display("a", display_id=True)
    handle.update("b")
    handle.display("c")
    displays.update_display("d", display_id=handle.display_id, metadata={"text/plain": {"m": 1}})
    assert [(kind, f["data"]["text/plain"], f["update"]) for kind, f in sink] == [
        ("display", "'a'", False), ("display", "'b'", True), ("display", "'c'", False), ("display", "'d'", True),
    ]  # fmt: skip
    assert {f["display_id"] for _, f in sink} == {handle.display_id}
    assert sink[3][1]["metadata"] == {"text/plain": {"m": 1}}
    assert repr(displays.display(display_id="mine")) == "<DisplayHandle display_id=mine>"
    assert sink[4][1]["data"] == {}
    with pytest.raises(TypeError, match="display_id required"):
        displays.display(1, update=True)


def test_results_and_clearing(displays, sink):
    displays.result(None)
    displays.result([1])
    displays.clear_output()
    displays.display(2, clear=True)
    kinds = [(kind, fields.get("wait")) for kind, fields in sink]
    assert kinds == [("result", None), ("clear", False), ("clear", True), ("display", None)]


def test_a_display_beyond_the_limit_is_a_sentence(sink):
    Displays(sink, max_bytes=100).display(shows(_repr_html_=give("x" * 2_000_000)))
    ((_, fields),) = sink
    assert list(fields["data"]) == ["text/plain"]
    assert "2.0 MB" in fields["data"]["text/plain"]
    assert "100 bytes" in fields["data"]["text/plain"]
