"""core/protocol/log_reader.py: any text can be decoded to events, and each kind of record has its class."""

import json

from hypothesis import given
from hypothesis import strategies as st
from support.cases import each

from uv_argo_magic.core.protocol import events as ev
from uv_argo_magic.core.protocol import log_reader

NONCE = "abc123"
STAMP = {"b": "boot", "n": 7, "t": 1.5}


def line(**fields: object) -> str:
    return f"{log_reader.PREFIX}{NONCE} {json.dumps(fields | STAMP)}\n"


def decode_one(text: str) -> ev.Event:
    (event,) = log_reader.decode(text, NONCE)
    return event


EXAMPLES = {
    "hello": {"protocol": 1, "python": "3.12.1", "platform": "Linux x86_64", "pid": 4},
    "phase": {"phase": "installing"},
    "note": {"text": "a"},
    "uv": {"text": "Resolved"},
    "files": {"files": [["a.csv", "12"]], "count": 1, "bytes": 12},
    "progress": {"done": 1, "of": 2, "bytes": 3, "size": 4},
    "lock": {"lock": "{}"},
    "installed": {"packages": [["numpy", "2.0"]], "seconds": 1, "cached": True},
    "text": {"stream": "stderr", "text": "x"},
    "display": {"data": {"text/plain": "x"}, "metadata": {"a": 1}, "display_id": "d", "update": True},
    "result": {"data": {"text/plain": "x"}},
    "traceback": {"error": {"ename": "E"}, "text": "E\n", "result": True},
    "clear": {"wait": True},
    "value": {"name": "x", "body": "1"},
    "error": {"error": {"ename": "E"}},
    "heartbeat": {"rss": 5},
    "snapshot": {"lines": 1, "bytes": 2, "tail": "t"},
    "skipped": {"lines": 1, "bytes": 2, "path": "p"},
    "dropped": {"lines": 3, "reason": "rotated"},
    "input": {"prompt": "Name: ", "password": True},
    "variables": {"items": [["x", "int", 28, ""]], "total": 1},
    "lost": {"reason": "killed"},
    "exit": {"reason": "ok"},
    "part": {"id": "1", "j": 0, "of": 2, "s": "{"},
}


def test_examples_have_every_kind() -> None:
    assert set(EXAMPLES) == set(log_reader.KINDS)


@each("kind", log_reader.KINDS)
def test_each_kind_is_decoded(kind: str) -> None:
    event = decode_one(line(k=kind, **EXAMPLES[kind]))
    assert isinstance(event, ev.Record)
    assert (event.boot, event.n, event.t) == ("boot", 7, 1.5)


SURROGATE = "half \ud83d"
ESCAPED = "half \\ud83d"


@each(
    ("kind", "fields"),
    [
        ("text", {"stream": "stdout", "text": SURROGATE}),
        ("note", {"text": SURROGATE}),
        ("uv", {"text": SURROGATE}),
        (
            "display",
            {
                "data": {"text/plain": SURROGATE, "application/json": [{SURROGATE: SURROGATE}]},
                "metadata": {SURROGATE: SURROGATE},
            },
        ),
        ("result", {"data": {"text/html": SURROGATE}}),
        ("error", {"error": {"ename": "E", "evalue": SURROGATE, "notes": [SURROGATE]}}),
        ("value", {"name": "x", "problem": SURROGATE}),
        ("snapshot", {"lines": 1, "bytes": 1, "tail": SURROGATE}),
        ("exit", {"reason": "guest", "detail": SURROGATE}),
    ],
)
def test_surrogates_are_escaped(kind: str, fields: dict[str, object]) -> None:
    event = decode_one(line(k=kind, **fields))
    assert not isinstance(event, ev.Unreadable)
    text = repr(event)
    assert "ud83d" in text
    for value in vars(event).values():
        for part in value if isinstance(value, tuple) else (value,):
            inner = part[1] if isinstance(part, tuple) else part
            if isinstance(inner, str):
                inner.encode()
                if inner.startswith(("{", "[", '"')):
                    json.dumps(json.loads(inner), ensure_ascii=False).encode()


def test_emoji_and_surrogates_in_values_are_unchanged() -> None:
    emoji = decode_one(line(k="note", text="\U0001f600"))
    assert isinstance(emoji, ev.Note)
    assert emoji.text == "\U0001f600"
    value = decode_one(line(k="value", name="x", body=json.dumps(SURROGATE)))
    assert isinstance(value, ev.Value)
    assert json.loads(value.body) == SURROGATE


def test_fields_are_decoded() -> None:
    display = decode_one(line(k="display", **EXAMPLES["display"]))
    assert isinstance(display, ev.Display)
    assert display.data == (("text/plain", '"x"'),)
    assert (json.loads(display.metadata), display.display_id, display.update) == ({"a": 1}, "d", True)
    installed = decode_one(line(k="installed", **EXAMPLES["installed"]))
    assert isinstance(installed, ev.Installed)
    assert (installed.packages, installed.seconds, installed.cached) == ((("numpy", "2.0"),), 1.0, True)


@each(
    ("kind", "field", "invalid"),
    [
        ("hello", "protocol", True),
        ("hello", "python", 3),
        ("phase", "phase", "sleeping"),
        ("installed", "packages", 5),
        ("installed", "packages", [["numpy"]]),
        ("installed", "packages", [["numpy", 2]]),
        ("installed", "seconds", "1"),
        ("variables", "items", {}),
        ("variables", "items", [["x", "int", "28", ""]]),
        ("variables", "items", [5]),
        ("installed", "cached", 1),
        ("display", "data", []),
        ("display", "metadata", "m"),
        ("exit", "reason", "tired"),
        ("text", "stream", "stdin"),
    ],
)
def test_invalid_field_is_reported(kind: str, field: str, invalid: object) -> None:
    event = decode_one(line(k=kind, **(EXAMPLES[kind] | {field: invalid})))
    assert isinstance(event, ev.Unreadable)
    assert field in event.problem


@each("body", ["{", "[]", '{"k": "dance"}', '{"k": 5}', "", "[" * 100_000])
def test_invalid_record_is_unreadable(body: str) -> None:
    assert isinstance(decode_one(f"{log_reader.PREFIX}{NONCE} {body}\n"), ev.Unreadable)


def test_lines_and_records_are_in_order() -> None:
    text = "one\ntwo\n" + line(k="note", text="n") + "three\n" + line(k="note", text="m")
    kinds = [type(event).__name__ for event in log_reader.decode(text, NONCE)]
    assert kinds == ["Lines", "Note", "Lines", "Note"]
    assert list(log_reader.decode("a\n" + line(k="note", text="n") + "b", NONCE))[-1] == ev.Lines(text="b")
    assert list(log_reader.decode("", NONCE)) == []


def test_similar_text_of_the_user_is_not_a_record() -> None:
    for text in (f"{log_reader.PREFIX}other {{}}\n", f"see {log_reader.PREFIX}{NONCE} {{}}\n"):
        assert decode_one(text) == ev.Lines(text=text)


def test_only_a_newline_ends_a_line() -> None:
    text = "a\x0bb\u2028c\x85d\n"
    assert decode_one(text) == ev.Lines(text=text)


@given(st.text())
def test_decoding_loses_no_text(text: str) -> None:
    events = list(log_reader.decode(text, NONCE))
    assert "".join(event.text for event in events if isinstance(event, ev.Lines)) == text


@given(
    st.lists(
        st.sampled_from([line(k=kind, **fields) for kind, fields in EXAMPLES.items()])
        | st.text().map(lambda t: t.replace("\n", "") + "\n")
    )
)
def test_raw_lines_between_records_are_unchanged(lines: list[str]) -> None:
    events = list(log_reader.decode("".join(lines), NONCE))
    raw = "".join(event.text for event in events if isinstance(event, ev.Lines))
    assert raw == "".join(text for text in lines if not text.startswith(log_reader.PREFIX + NONCE))


@given(
    st.dictionaries(
        st.sampled_from(["k", "b", "n", "t", "data", "packages", "text"]),
        st.none() | st.booleans() | st.integers() | st.text() | st.lists(st.integers()),
    )
)
def test_any_object_after_the_prefix_is_an_event(fields: dict[str, object]) -> None:
    assert decode_one(f"{log_reader.PREFIX}{NONCE} {json.dumps(fields)}\n")


@each(
    ("text", "reason"),
    [
        ("", ""),
        ("exit\n", ""),
        (line(k="note", text='"exit"'), ""),
        (line(k="exit", reason="ok") + "later\n", "ok"),
        (line(k="exit", reason="error") + line(k="exit", reason="signal"), "signal"),
        (line(k="exit", reason="of a newer guest"), "?"),
        (line(k="exit", reason="ok").replace(NONCE, "other"), ""),
        (f'{log_reader.PREFIX}{NONCE} "exit"\n', ""),
    ],
)
def test_exit_reason_is_read(text: str, reason: str) -> None:
    assert log_reader.exit_reason(text, NONCE) == reason


def test_fields_without_default_are_required() -> None:
    assert decode_one(line(k="hello")) == ev.Unreadable(
        line=line(k="hello"), problem="hello: protocol is not an integer"
    )
    assert decode_one(line(k="exit", reason="ok")) == ev.Exited(boot="boot", n=7, t=1.5, reason="ok", code=0, detail="")
    assert decode_one(line(k="error")) == ev.Raised(boot="boot", n=7, t=1.5, error="{}")
