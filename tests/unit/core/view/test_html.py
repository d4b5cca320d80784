"""core/view/html.py: text and HTML of a run are complete, safe, and reproducible except for volatile parts."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from uv_argo_magic.core.protocol import events as ev
from uv_argo_magic.core.protocol.state import RunState, durations
from uv_argo_magic.core.resolution.lock import Lock, Package, Target, Unresolved
from uv_argo_magic.core.view import html, messages, tables
from uv_argo_magic.testing import play, states, write

HOSTILE_TEXT = "<script>window.XSS=1</script>\"'><img src=x onerror=alert(1)>\x1b[31m</pre></details>\x00\ud800&amp;"
PACKAGES = [["numpy", "2.3.4"], ["pandas", "3.1.1"]]
LOCK = Lock(
    packages=(
        Package(name="numpy", version="2.3.4", size=16_600_000, via=("pandas",), index="corp"),
        Package(name="pandas", version="3.1.1", requested=True),
    ),
    target=Target(python="3.12.1"),
    uv="0.13.9",
    created_at=1.0,
)
ALLOWED = {"div", "span", "details", "summary", "table", "tr", "td", "pre", "b", "i"}


def complete_log(x="", reason="ok", *more, name="swift-otter", start=1000.0, duration=1.04, cached=False):
    """A log with every kind of record; `x` is part of every external string."""
    return [
        ev.Submitted(name=name + x, location="ctx" + x, t=start),
        ev.NodePhase(phase="Running" + x, message="msg" + x, uid=x),
        write(
            ("hello", {"protocol": 1, "python": "3.12.1" + x, "platform": x, "pid": 1, "host": x}),
            ("phase", {"phase": "resolving"}),
            ("lock", {"lock": x}),
            ("phase", {"phase": "installing"}),
            ("uv", {"text": f"Resolved 2 packages in {duration}s{x}\n"}),
            ("installed", {"packages": [[n + x, v + x] for n, v in PACKAGES], "seconds": duration, "cached": cached}),
            ("phase", {"phase": "running"}),
            ("note", {"text": "Mind this" + x}),
            f"out {x!r}\n".replace("\ud800", ""),
            ("text", {"stream": "stderr", "text": "err" + x}),
            ("display", {"data": {"text/plain": "<Figure>" + x, "text/html": x}, "metadata": {x: x}, "display_id": x}),
            ("result", {"data": {"x/" + x: x}}),
            ("skipped", {"lines": 5, "bytes": 50, "path": "/tmp/log" + x}),
            ("value", {"name": "v" + x, "body": x, "problem": x}),
            ("snapshot", {"lines": 1, "bytes": 1, "tail": x}),
            ("files", {"files": [[x, x]], "count": 1, "bytes": 1}),
            ("part", {"id": x, "j": 0, "of": 1, "s": x}),
            *more,
            start=start,
        ),
        write(("error", {"error": {"ename": "ValueError" + x, "evalue": "bad" + x}}),
              ("exit", {"reason": reason, "code": 1, "detail": x}), n=50, start=start + 50),
    ]  # fmt: skip


class ParsedHtml(HTMLParser):
    """The tags, attributes and text that a browser reads; tags must be balanced."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.text = [], [], ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.open.append(tag)
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


@pytest.mark.parametrize("reason", ["ok", "error", "exit", "signal", "deadline", "guest", "install", "stopped"])
def test_external_text_is_escaped(reason):
    all_states = list(states(complete_log(HOSTILE_TEXT, reason)))
    for state in all_states if reason == "ok" else all_states[-2:]:  # only the last states differ
        for page in (
            html.html(state, 2000.0),
            html.mimebundle(state, 2000.0)["text/html"],
            html.log_html(state),
            html.packages_html(state, 2000.0),
            html.stages_html(state, 2000.0),
            tables.escape(HOSTILE_TEXT),
        ):
            tags = ParsedHtml(page).tags
            assert {tag for tag, _ in tags} <= ALLOWED
            assert {name for _, attrs in tags for name in attrs} <= {"class", "style", "open", "aria-hidden"}
            assert "XSS" not in "".join(value or "" for _, attrs in tags for value in attrs.values())
            page.encode()  # no lone surrogates: they could not be sent
        html.text(state, 2000.0).encode()
        html.text_static(state).encode()


def test_static_text_has_outcome_and_packages():
    assert html.text_static(play(complete_log())) == "argo Succeeded: numpy==2.3.4 pandas==3.1.1"
    assert html.text_static(play(complete_log("", "error"))) == "argo Failed (ValueError): numpy==2.3.4 pandas==3.1.1"
    assert html.text_static(RunState()) == "argo Pending"
    lost = play([ev.Submitted(name="x", location="", t=1.0), ev.LogEnded(t=2.0)])
    assert html.text_static(lost) == "argo Lost"


def test_static_text_lists_twelve_packages():
    many = [[f"p{n}", "1"] for n in range(20)]
    state = play(write(("installed", {"packages": many, "seconds": 1, "cached": True})))
    assert html.text_static(state).endswith(" p11==1 and 8 more")


@pytest.mark.parametrize("reason", ["ok", "error", "signal", "guest"])
def test_equal_runs_differ_only_in_volatile_elements(reason):
    first = html.mimebundle(play(complete_log("", reason)), 0.0)
    second = html.mimebundle(
        play(complete_log("", reason, name="calm-hare", start=5000.0, duration=7.5, cached=True)), 0.0
    )
    assert first["text/html"] != second["text/html"]
    assert first["text/plain"] == second["text/plain"]
    assert re.sub(html.VOLATILE, "", first["text/html"]) == re.sub(html.VOLATILE, "", second["text/html"])


def test_html_shows_all_parts_of_a_run():
    text = ParsedHtml(html.html(play(complete_log()), 0.0)).text
    for part in ("Succeeded", "swift-otter", "2 packages \N{MIDDLE DOT} 1 file written \N{MIDDLE DOT} ctx",
                 "installing 3.0 s",
                 "environment created in 1.0 s",
                 "numpy", "2.3.4", "Mind this", "5 lines omitted; full output: /tmp/log",
                 "of the log missing: not received", "Install log", "Resolved 2 packages"):  # fmt: skip
        assert part in text
    assert "environment reused in" in ParsedHtml(html.html(play(complete_log(cached=True)), 0.0)).text


def test_run_without_problems_is_one_line():
    succeeded = html.html(play(complete_log("", "ok")), 0.0)
    assert "<details><summary" in succeeded
    assert "The cell ran to its end." not in succeeded
    running = html.html(play(complete_log("", "ok")[:2]), 0.0)
    assert "<details><summary" in running
    assert messages.sentence(play(complete_log("", "ok")[:2])) in ParsedHtml(running).text.split("\n")[0]
    working = html.html(play(complete_log("", "ok")[:3]), 1010.0)
    assert "The cell is running." not in working
    assert "<b>Running</b>" in working


def test_preparing_run_has_no_location():
    preparing = ParsedHtml(html.html(play([ev.Preparing(t=1.0)]), 3.0)).text
    assert "Resolving" in preparing
    assert "2.0 s" in preparing
    assert "local" not in preparing
    assert "resolving 2.0 s" in preparing
    log = write(("phase", {"phase": "installing"}), ("progress", {"done": 3, "of": 11, "bytes": 4, "size": 8}))
    downloading = ParsedHtml(html.html(play(log), 1010.0)).text
    assert "3 of 11 packages, 4 B of 8 B \N{MIDDLE DOT} local" in downloading


def test_values_are_listed_with_sizes_before_they_are_sent():
    sent = (("df", "pandas.DataFrame", 1_200_000, "plain"), ("f", "function", 300, "pickled"))
    preparing = play([ev.Preparing(t=1.0, sent=sent)])
    assert "sending df (1.2 MB), f (300 B)" in html.facts(preparing, 2.0, 0)
    log = write(
        ("phase", {"phase": "running"}),
        ("value", {"name": "m<b>", "body": "1", "type": "Model", "size": 5, "sealed": True}),
        ("value", {"name": "y", "body": "1", "type": "int", "size": 1}),
        ("value", {"name": "z", "problem": "no"}),
        ("exit", {"reason": "ok"}),
    )
    panel = html.html(play(log, start=preparing), 9.0)
    text = ParsedHtml(panel).text
    assert "sending" not in text
    assert "Values (5)" in text
    for row in (
        "dfpandas.DataFrame1.2 MBpushed",
        "ffunction300 Bpushed, pickled",
        "m<b>Model5 Bpulled, sealed",
        "yint1 Bpulled",
    ):
        assert row in text
    assert "znot pulled" in text


def test_facts_name_values_that_are_sent():
    sent = (("frame", "DataFrame", 2_000_000, "plain"), ("model", "Model", 10, "pickled"))
    text = ParsedHtml(html.html(play([ev.Preparing(t=1.0, sent=sent)]), 3.0)).text
    assert "sending frame (2.0 MB), model (10 B)" in text


def test_files_are_listed_with_a_hint():
    files = {"files": [["out/a<b>.csv", "1200"], ["empty", "0"], ["odd", "x"]], "count": 52, "bytes": 5000}
    log = write(("files", files), ("exit", {"reason": "ok"}))
    panel = html.html(play(log), 1010.0)
    text = ParsedHtml(panel).text
    assert "52 files written" in text
    assert "Files (52, 5.0 kB)" in text
    assert "out/a<b>.csv1.2 kB" in text
    assert "and 49 other files" in text
    assert html.FILES_HINT in text
    assert "a&lt;b" not in re.sub(html.VOLATILE, "", panel)
    one_file = write(("files", {"files": [["a", "1"]], "count": 1, "bytes": 0}), ("exit", {"reason": "ok"}))
    assert "Files (1, 0 B)" in html.html(play(one_file), 1010.0)


def test_session_is_shown_with_its_memory():
    hello = ("hello", {"protocol": 1, "python": "3.12.1", "platform": "linux", "pid": 7})
    submitted = ev.Submitted(name="a", location="", t=1000.0, session="main")
    text = ParsedHtml(html.html(play([submitted, write(hello, ("heartbeat", {"rss": 2_000_000}))]), 1010.0)).text
    assert "local \N{MIDDLE DOT} session main \N{MIDDLE DOT} 2.0 MB" in text


def test_panel_explains_stops_but_not_exceptions():
    failed = ParsedHtml(html.html(play(complete_log("", "error")), 0.0)).text
    assert "bad" not in failed
    stopped_log = [
        *complete_log("", "stopped")[:-1],
        ev.StopRequested(by="the Stop button", t=1.0),
        complete_log("", "stopped")[-1],
    ]
    assert "The run was stopped by the Stop button" in ParsedHtml(html.html(play(stopped_log), 0.0)).text


def test_snapshot_has_its_time_and_how_to_continue():
    state = replace(play(complete_log()[:3]), run="20260102-030405-abcdef")
    snapshot = html.snapshot(state, 1010.0, LOCK, "2026-01-02 03:04:05", is_blocking=True)
    assert "as of 2026-01-02 03:04:05" in ParsedHtml(snapshot).text
    assert "To see the run: %argo attach 20260102-030405-abcdef" in ParsedHtml(snapshot).text
    links = [attrs["data-commandlinker-command"] for tag, attrs in ParsedHtml(snapshot).tags if tag == "button"]
    assert links == ["apputils:run-all-enabled", "notebook:interrupt-kernel"]
    (arguments,) = [
        attrs["data-commandlinker-args"] for _, attrs in ParsedHtml(snapshot).tags if "data-commandlinker-args" in attrs
    ]
    assert json.loads(arguments)["args"] == {"text": "%argo attach 20260102-030405-abcdef"}
    assert "Interrupt kernel" not in html.snapshot(state, 1010.0, LOCK, "now", is_blocking=False)
    nameless = ParsedHtml(html.snapshot(RunState(), 1010.0, None, "now", is_blocking=True)).text
    assert "Run the cell again." in nameless
    assert "attach" not in nameless


def test_snapshot_escapes_external_text():
    for state in states(complete_log(HOSTILE_TEXT)):
        tags = ParsedHtml(html.snapshot(state, 1010.0, LOCK, "now", is_blocking=True)).tags
        assert {tag for tag, _ in tags} <= ALLOWED | {"button", "code"}


def test_log_is_open_only_if_nothing_else_explains_the_failure():
    assert '<details class="uv-volatile" style="margin-top:4px" open>' in html.html(
        play(complete_log("", "signal")), 0.0
    )
    assert " open>" not in html.html(play(complete_log("", "error")), 0.0)
    assert " open>" not in html.html(play(complete_log("", "stopped")), 0.0)
    empty = play([ev.Submitted(name="", location="", t=1.0), ev.LogEnded(t=2.0)])
    assert "<pre" not in html.html(empty, 0.0)


def test_text_has_the_same_content():
    lines = html.text(play(complete_log("", "error")), 0.0).split("\n")
    assert lines[:2] == ["argo Failed (ValueError): numpy==2.3.4 pandas==3.1.1", "The cell raised ValueError: bad"]
    assert lines[2].startswith("swift-otter: 52.0 s (queued 1.0 s, starting 1.0 s, ")
    assert lines[3] == "note: Mind this"
    assert len([line for line in lines if line.startswith("[")]) == 2
    assert html.text(RunState(), 0.0) == "argo Pending\nSubmitting the run.\nrun: 0.00 s"


def test_restarts_are_shown():
    log = write(("hello", {"protocol": 1, "python": "3", "platform": "l", "pid": 1}))
    state = play(log + log.replace('"boot"', '"other"'))
    assert "cell restarted, attempt 2" in html.text(state, 0.0)


def test_packages_come_from_the_lock_until_installed():
    lock = '{"key": "k", "lines": ["six==1.17.0 --hash=sha256:ab", "x @ https://index.example.com/x.whl"]}'
    assert html.packages(RunState(locked=lock)) == (("six", "1.17.0"),)
    for broken in ("", "[]", "{}", '{"lines": 1}', "[" * 9999):
        assert html.packages(RunState(locked=broken)) == ()


def test_missing_packages_are_explained():
    assert "No packages." in html.packages_html(RunState(phase="running"), 0.0)
    assert "Not resolved yet" in html.packages_html(RunState(), 0.0)


def test_base_image_packages_are_listed_separately():
    with_base = replace(LOCK, base_digest="digest", base_packages=(("numpy", "1.26.4+<x>"), ("six", "1.17.0")))
    for state in (play(complete_log()), RunState(phase="running")):
        page = html.packages_html(state, 2.0, with_base)
        assert "From the base environment: numpy 1.26.4+&lt;x&gt;, six 1.17.0." in page
    only_base = replace(LOCK, packages=(), base_digest="digest")
    assert "can also import the packages of its base environment." in html.packages_html(
        RunState(phase="running"), 2.0, only_base
    )
    assert "its Python" not in html.packages_html(play(complete_log()), 2.0, LOCK)


def test_tail_has_the_last_lines_in_order():
    log = ["".join(f"{n}\n" for n in range(i, i + 100)) for i in range(0, 1000, 100)]
    state = play([write(("uv", {"text": "uv 1\nuv 2\n"})), *log])
    assert html.tail(state, 3) == "997\n998\n999\n"
    assert html.tail(state, 150) == "".join(f"{n}\n" for n in range(850, 1000))
    assert html.tail(state, 1001) == "uv 2\n" + "".join(log)
    assert html.tail(state, 5000) == "uv 1\nuv 2\n" + "".join(log)
    assert html.tail(state, 0) == ""
    assert html.tail(RunState(), 3) == ""


def test_tail_keeps_redraws_and_separates_streams():
    state = play(write(("text", {"stream": "stderr", "text": "\r10%"}), ("text", {"stream": "stderr", "text": "\r20%"}),
                       "out\n", ("text", {"stream": "stdout", "text": "open"}),
                       ("traceback", {"error": {}, "text": "ValueError\n"}),
                       ("display", {"data": {"image/png": ""}}), ("clear", {"wait": True})))  # fmt: skip
    assert html.tail(state, 10) == "\r10%\r20%\nout\nopen\nValueError\n[image/png]\n"
    assert html.log_html(state, 10) == "20%\nout\nopen\nValueError\n[image/png]\n"
    assert html.tail(play(write("one\n", ("clear", {"wait": True}), "two\n")), 10) == "one\ntwo\n"


def test_very_long_lines_are_shortened():
    state = play("short\n" + "x" * 1_000_000 + "the end\n")
    short, long, _ = html.tail(state).split("\n")
    assert short == "short"
    assert len(long) == html.WIDEST + 1
    assert long.endswith("the end")


def test_known_sizes_are_shown():
    page = html.packages_html(play(complete_log()), 3600.0, LOCK)
    assert page.count(">16.6 MB</td>") == 2  # the package, and the total
    assert ">2 packages</td>" in page
    assert page.count("<td ") == page.count("white-space:nowrap")


def test_packages_are_shown_as_a_tree():
    text = ParsedHtml(html.packages_html(play(complete_log()), 1 + 3 * 86400.0, LOCK)).text
    assert text.index("pandas3.1.1") < text.index("\xa0numpy2.3.416.6 MBfor pandas, from corp")
    assert "16.6 MB to download; resolved 3 days ago by uv 0.13.9; use --upgrade" in text
    cached = html.packages_html(
        play(complete_log(cached=True)), 2.0, replace(LOCK, created_at=0.0, warnings=("Say <this>.",))
    )
    assert "environment reused, nothing downloaded<" in cached
    assert "Say &lt;this&gt;." in cached


def test_locked_packages_are_shown_before_the_install():
    state = RunState(phase="installing")
    assert html.planned(state, LOCK) == LOCK.packages
    assert "pandas" in html.packages_html(state, 1.0, LOCK)
    other = replace(LOCK, packages=(replace(LOCK.packages[0], version="1.0"),), created_at=0.0)
    assert [package.size for package in html.planned(play(complete_log()), other)] == [0, 0]
    assert html.planned(state, Unresolved(lines=("numpy",), reason="No.")) == ()
    assert "uv-volatile" in html.packages_html(state, 1.0, replace(other, packages=(LOCK.packages[1],)))


def test_stages_bar_is_volatile_and_has_all_long_stages():
    state = play(complete_log())
    page = html.stages_html(state, 2000.0)
    assert re.sub(html.VOLATILE, "", page) == ""
    shown_stages = [phase for phase, seconds in durations(state, 2000.0) if seconds >= html.SHORTEST]
    assert all(f"{stage} " in re.sub("<[^>]*>", "", page) for stage in shown_stages)
    assert page.count("flex:") == len(shown_stages)
    assert html.stages_html(RunState(), 1.0) == '<span class="uv-volatile"></span>'
