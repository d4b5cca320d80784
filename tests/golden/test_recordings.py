"""Recorded scenarios of a real Argo, followed by the state machine; the messages and the final panel are golden.

`UV_ARGO_TEST_GOLDEN=write` writes the golden files again.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from uv_argo_magic.backends.argo import diagnose
from uv_argo_magic.backends.argo.follow_state import FollowState, ReadLog, Terminate, advance, last_phase
from uv_argo_magic.backends.argo.role import ROLE
from uv_argo_magic.backends.argo.watchers import EXECUTOR_LINES, Message, WorkflowSeen
from uv_argo_magic.backends.kubernetes import diagnose as pods
from uv_argo_magic.backends.kubernetes.log_stream import LogStream
from uv_argo_magic.backends.kubernetes.rbac import denied
from uv_argo_magic.backends.kubernetes.watchers import EventsSeen, LogText, PodChange, PodsChanged
from uv_argo_magic.core.protocol import events as ev
from uv_argo_magic.core.protocol import log_reader
from uv_argo_magic.core.protocol.state import RunState, step
from uv_argo_magic.core.view import html, messages

GOLDEN = Path(__file__).parent
SCENARIOS = sorted(path.stem for path in (GOLDEN / "recordings").glob("*.jsonl"))


class Replay:
    """Follow a recording without threads; collects the sentences, the effects and the final state."""

    def __init__(self, name: str) -> None:
        self.name, self.log = name, LogStream(EXECUTOR_LINES)
        self.follow = FollowState(nonce="nonce")
        self.workflow: dict = {}
        self.seconds = 0.0
        self.effects: list[object] = []
        self.state = step(RunState(run=name), ev.Submitted(name=name, location="c, namespace nb", t=0.0))
        self.lines: list[str] = []
        self.pod_events: list[dict] = []

    def take(self, message: Message) -> None:
        self.follow, effects = advance(self.follow, message, t=0.0, seconds=self.seconds)
        self.effects += effects
        for item in effects:
            if isinstance(item, ReadLog | Terminate):
                continue
            for event in log_reader.decode(item, "nonce") if isinstance(item, str) else [item]:
                self.state = step(self.state, event)
        sentence = messages.sentence(self.state)
        if sentence not in self.lines[-1:]:
            self.lines.append(sentence)

    def play(self) -> None:
        for text in (GOLDEN / "recordings" / f"{self.name}.jsonl").read_text().splitlines():
            record = json.loads(text)
            self.seconds = record["t"]
            self.record(record)
        if self.name == "no_controller":
            self.seconds = diagnose.CONTROLLER_DELAY + 1
            self.take(WorkflowSeen({"metadata": {}, "spec": {}}))

    def record(self, record: dict) -> None:
        match record["kind"]:
            case "workflow":
                self.workflow = diagnose.DELETED if record["type"] == "DELETED" else record["object"]
                self.take(WorkflowSeen(self.workflow))
            case "pod":
                self.take(PodsChanged((PodChange(record["type"], record["object"]),)))
            case "event" if record["object"]["involvedObject"]["kind"] == "Pod":
                self.pod_events.append(record["object"])
                self.take(EventsSeen(tuple(self.pod_events)))
            case "log" if "line" in record:
                self.take(LogText(self.log.feed(record["line"].encode() + b"\n")))
            case "note" if record.get("status", 0) >= 300:
                self.lines.append(f"refused ({record['status']}): {record['message']}")
            case "call":
                problem = denied(record["message"], ROLE)
                self.lines.append(f"{record['method']}: {problem}. {problem.hint}")

    def end(self) -> tuple[str, ...]:
        """Return the panel, the sentence and the hint of an ended run."""
        if not diagnose.is_final(self.workflow):
            return ("not ended",)
        state = step(step(self.state, last_phase(self.follow, t=0.0)), ev.LogEnded(t=1.0))
        return html.text_static(state), messages.sentence(state), messages.hint(state)


@pytest.mark.parametrize("name", SCENARIOS)
def test_messages_of_recording_are_golden(name):
    replay = Replay(name)
    replay.play()
    text = "\n".join((*replay.lines, "--", *replay.end())).rstrip() + "\n"
    path = GOLDEN / "argo" / "messages" / f"{name}.txt"
    if os.environ.get("UV_ARGO_TEST_GOLDEN") == "write":
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert text == path.read_text()


@pytest.mark.parametrize("name", SCENARIOS)
def test_each_log_is_read_once_and_only_lost_pods_terminate(name):
    replay = Replay(name)
    replay.play()
    logs = [pods.uid_of(effect.pod) for effect in replay.effects if isinstance(effect, ReadLog)]
    assert len(logs) == len(set(logs)) <= max(1, len(replay.follow.attempts))
    is_lost = name in {"pod_deleted", "pending_timeout"}
    assert (Terminate() in replay.effects) is replay.follow.pod_lost is is_lost
    # The state is immutable: the same messages lead to the same state.
    second = Replay(name)
    second.play()
    assert second.follow == replay.follow


BLOCKED = {"bad_image", "executor_image_missing", "missing_secret", "missing_pvc", "missing_configmap_volume"}


@pytest.mark.parametrize("name", SCENARIOS)
def test_start_timeout_applies_only_to_blocked_pods(name):
    replay = Replay(name)
    replay.follow = FollowState(nonce="nonce", start_timeout=0.01)
    replay.play()
    for _ in range(2):
        replay.seconds += 1.0
        replay.take(EventsSeen(tuple(replay.pod_events)))
    assert bool(replay.follow.given_up) is (name in BLOCKED)
    if name in BLOCKED:
        state = step(step(replay.state, last_phase(replay.follow, t=0.0)), ev.LogEnded(t=1.0))
        assert messages.sentence(state).startswith("The run did not start within start_timeout (0.01 seconds): ")
        assert replay.follow.given_up.endswith(messages.hint(state)[1:].rstrip("."))


def test_stopped_run_keeps_the_cause_of_its_wait():
    replay = Replay("bad_image")
    replay.play()
    state = step(replay.state, ev.StopRequested(by="me", t=1.0))
    assert "before it started: cannot pull the image local/does-not-exist:1" in messages.sentence(state)
    state = step(step(state, ev.NodePhase(phase="Failed", message="the workflow was stopped")), ev.LogEnded(t=2.0))
    assert state.outcome == "Stopped"
    assert "before it started: cannot pull the image local/does-not-exist:1" in messages.sentence(state)
    assert "--set image=IMAGE" in messages.hint(state)
