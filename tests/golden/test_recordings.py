"""Each recorded scenario of a real Argo, followed as it went: what is said on the way, and the panel's end, are golden.

`UV_ARGO_TEST_GOLDEN=write` writes them anew.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from uv_argo_magic.backends.argo.follow import Follower
from uv_argo_magic.backends.argo.role import ROLE
from uv_argo_magic.backends.kubernetes import diagnose
from uv_argo_magic.backends.kubernetes.log_stream import LogStream
from uv_argo_magic.backends.kubernetes.rbac import denied
from uv_argo_magic.backends.kubernetes.watchers import DELETED
from uv_argo_magic.core.protocol import events as ev
from uv_argo_magic.core.protocol.state import RunState, step
from uv_argo_magic.core.view import html, messages

GOLDEN = Path(__file__).parent
SCENARIOS = sorted(path.stem for path in (GOLDEN / "recordings").glob("*.jsonl"))


class Recorded:
    """A door behind which the recording is: it answers with the workflow as it was last."""

    def __init__(self) -> None:
        self.last: dict = {}

    def workflow(self, name: str) -> dict:
        return self.last

    def shutdown(self, name: str, how: str) -> None:
        pass


class Replay:
    """A recording in the eyes of whoever follows it: each distinct sentence, and the state at the end."""

    def __init__(self, name: str) -> None:
        self.name, self.door, self.tail = name, Recorded(), LogStream()
        self.follower = Follower(self.door, name, "nonce", clock=lambda: 0.0)
        self.state = step(RunState(run=name), ev.Submitted(name=name, location="c, namespace nb", t=0.0))
        self.told: list[str] = []
        self.warned: list[dict] = []

    def take(self, kind: str, value: object) -> None:
        for item in self.follower._take(kind, value):
            for event in ev.decode(item, "nonce") if isinstance(item, str) else [item]:
                self.state = step(self.state, event)
        sentence = messages.sentence(self.state)
        if sentence not in self.told[-1:]:
            self.told.append(sentence)

    def play(self) -> None:
        for text in (GOLDEN / "recordings" / f"{self.name}.jsonl").read_text().splitlines():
            record = json.loads(text)
            self.follower._begun = time.monotonic() - record["t"]
            self.record(record)
        if self.name == "no_controller":
            self.follower._begun = time.monotonic() - diagnose.QUIET - 1
            self.take("workflow", {"metadata": {}, "spec": {}})

    def record(self, record: dict) -> None:
        match record["kind"]:
            case "workflow":
                self.door.last = DELETED if record["type"] == "DELETED" else record["object"]
                self.take("workflow", self.door.last)
            case "pod":
                self.take("pods", [(record["type"], record["object"])])
            case "event" if record["object"]["involvedObject"]["kind"] == "Pod":
                self.warned.append(record["object"])
                self.take("events", list(self.warned))
            case "log" if "line" in record:
                self.take("log", self.tail.feed(record["line"].encode() + b"\n"))
            case "note" if record.get("status", 0) >= 300:
                self.told.append(f"refused ({record['status']}): {record['message']}")
            case "call":
                problem = denied(record["message"], ROLE)
                self.told.append(f"{record['method']}: {problem}. {problem.hint}")

    def end(self) -> tuple[str, ...]:
        """The panel, the sentence and the hint of a run that ended."""
        if diagnose.phase(None, self.door.last) not in diagnose.FINAL:
            return ("not ended",)
        for item in self.follower._last():
            self.state = step(self.state, item)
        state = step(self.state, ev.LogEnded(t=1.0))
        return html.text_static(state), messages.sentence(state), messages.hint(state)


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_recording_is_told_as_it_was(name):
    replay = Replay(name)
    replay.play()
    text = "\n".join((*replay.told, "--", *replay.end())).rstrip() + "\n"
    path = GOLDEN / "argo" / "told" / f"{name}.txt"
    if os.environ.get("UV_ARGO_TEST_GOLDEN") == "write":
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert text == path.read_text()
