# ruff: noqa: E501 - tables of cases
"""guest/display.py: the same mimebundles as IPython's formatter, sent as records."""

import base64
import json

import pytest
from IPython.core.formatters import DisplayFormatter
from support.cases import each

from uv_argo_magic.core.protocol import events, log_reader
from uv_argo_magic.guest.display import Displays, FormatterWarning


class Sink(list):
    """Receives records like `emit` of the guest, and checks that the client can read them."""

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


def displayable(**methods):
    return type("Shown", (), {"__repr__": lambda _: "shown", **methods})()


def returns(value):
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


VALUES = [
    1, "text", None, [1, 2], {"a": 1}, displayable(_repr_html_=returns("<b>x</b>")), displayable(_repr_html_=returns(("<b>x</b>", {"w": 1}))),
    displayable(_repr_png_=returns(b"png")), displayable(_repr_png_=returns("text")), displayable(_repr_jpeg_=returns((b"jpeg", {"width": 1}))),
    displayable(_repr_svg_=returns("<svg/>")), displayable(_repr_latex_=returns("$x$")), displayable(_repr_json_=returns({"a": [1]})),
    displayable(_repr_json_=returns(([1], {"expanded": True}))), displayable(_repr_javascript_=returns("x")), displayable(_repr_pdf_=returns(b"pdf")),
    displayable(_repr_markdown_=returns("*x*")), displayable(_repr_html_=returns(None)), displayable(_repr_html_=3), OwnBundle(), Everything(),
    ClassLevel, ClassLevel(), displayable(_repr_mimebundle_=returns(None)), displayable(_repr_mimebundle_=returns({})),
    displayable(_repr_html_=lambda _: (_ for _ in ()).throw(NotImplementedError)),
]  # fmt: skip
FILTERS = [{}, {"include": ["text/html"]}, {"exclude": ["text/plain"]}, {"include": ["application/x"]}]


@each("kinds", FILTERS)
@each("value", VALUES)
def test_bundle_is_that_of_ipython(displays, value, kinds):
    assert displays.bundle(value, **kinds) == DisplayFormatter().format(value, **kinds)


def test_object_can_display_itself(displays, sink):
    calls = []
    displays.result(displayable(_ipython_display_=lambda _: calls.append(1)))
    assert (calls, sink) == ([1], [])


def test_failing_representation_is_sent_as_a_traceback(displays, sink):
    def fail(_self):
        raise RuntimeError("no html today")

    broken = displayable(_repr_html_=fail, _ipython_display_=fail, _repr_latex_=returns("$x$"))
    displays.display(broken)
    displays.result(broken)
    assert [kind for kind, _ in sink] == ["traceback", "traceback", "display", "traceback", "traceback", "result"]
    assert sink[2][1]["data"] == {"text/plain": "shown", "text/latex": "$x$"}
    tracebacks = [fields for kind, fields in sink if kind == "traceback"]
    assert [fields["result"] for fields in tracebacks] == [False, False, True, True]
    assert {fields["text"].split("\n")[-2] for fields in tracebacks} == {"RuntimeError: no html today"}
    assert {fields["error"]["evalue"] for fields in tracebacks} == {"no html today"}


def test_traceback_of_a_deep_value_is_short(displays, sink):
    deep = []
    for _ in range(100_000):
        deep = [deep]
    displays.result(deep)
    ((_, fields),) = sink
    assert "RecursionError" in fields["text"]
    assert fields["text"].count("\n") < 30


def test_value_of_the_wrong_type_is_omitted_with_a_warning(displays):
    with pytest.warns(FormatterWarning, match=r"text/html formatter returned invalid type <class 'int'>"):
        data, _ = displays.bundle(displayable(_repr_html_=returns(3)))
    assert data == {"text/plain": "shown"}


def test_bytes_are_base64_and_nan_is_a_name(displays, sink):
    displays.display({"image/png": b"\x89PNG", "application/json": {"x": [float("nan"), 1.5, True]}}, raw=True)
    data = sink[0][1]["data"]
    assert base64.b64decode(data["image/png"]) == b"\x89PNG"
    assert data["application/json"] == {"x": ["nan", 1.5, True]}
    with pytest.raises(TypeError, match="cannot be displayed as JSON"):
        displays.display({"application/json": object()}, raw=True)


def test_display_handle_updates_its_display(displays, sink):
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


def test_results_and_clearing_are_sent(displays, sink):
    displays.result(None)
    displays.result([1])
    displays.clear_output()
    displays.display(2, clear=True)
    kinds = [(kind, fields.get("wait")) for kind, fields in sink]
    assert kinds == [("result", None), ("clear", False), ("clear", True), ("display", None)]


def test_display_above_the_limit_is_replaced_by_a_note(sink):
    Displays(sink, max_bytes=100).display(displayable(_repr_html_=returns("x" * 2_000_000)))
    ((_, fields),) = sink
    assert list(fields["data"]) == ["text/plain"]
    assert "2.0 MB" in fields["data"]["text/plain"]
    assert "100 bytes" in fields["data"]["text/plain"]
