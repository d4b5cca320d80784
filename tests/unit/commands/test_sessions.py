"""commands/sessions.py: the sessions of all users, with their order and state."""

from __future__ import annotations

import time

import pytest

from uv_argo_magic.backends.sessions import RemoteSession, sessions_of_all_users
from uv_argo_magic.commands import sessions
from uv_argo_magic.config import Config
from uv_argo_magic.core.spec.run_spec import Settings
from uv_argo_magic.errors import SpecError

HOUR = 3600.0


def session(user, idle, **more):
    now = time.time()
    fields = {
        "name": "main", "workflow": f"uv-argo-{user}", "namespace": "team", "user": user, "notebook": "/home/n.ipynb",
        "phase": "Running", "started_at": now - 30 * HOUR, "used_at": now - idle,
    }  # fmt: skip
    return RemoteSession(**(fields | more))


def list_sessions(monkeypatch, *sessions_found, all_namespaces=False):
    monkeypatch.setattr(sessions, "sessions_of_all_users", lambda *_, **__: sessions_found)
    return sessions._list_all(Config(settings=Settings(), backend="argo"), all_namespaces=all_namespaces)


def test_idle_and_expensive_sessions_come_first(monkeypatch):
    table = list_sessions(
        monkeypatch,
        session("small", 20 * HOUR, cpu="100m", memory="1Gi"),
        session("memory", 3 * HOUR, cpu="1", memory="64Gi"),
        session("cpu", 3 * HOUR, cpu="8", memory="1Gi"),
        session("busy", 10.0, gpu="8", is_running=True),
        session("gpu", 1 * HOUR, cpu="1", gpu="1"),
        session("gone", 2 * HOUR, gpu="1", is_running=True),
        session("odd", 2 * HOUR, cpu="many"),
    )
    rows = [dict(zip(table.head, row, strict=True)) for row in table.rows]
    assert [row["USER"] for row in rows] == ["gone", "gpu", "memory", "cpu", "small", "busy", "odd"]
    assert [row["STATE"] for row in rows] == ["running when last seen", *["idle"] * 4, "running", "idle"]
    assert rows[1] == {
        "USER": "gpu", "NOTEBOOK": "n.ipynb", "SESSION": "main", "AGE": "30 h 0 min", "CPU": "1", "MEMORY": "-",
        "GPU": "1", "IDLE": "1 h 0 min", "STATE": "idle", "WORKFLOW": "uv-argo-gpu",
    }  # fmt: skip
    assert rows[5]["IDLE"] == "-"


def test_pending_session_is_not_idle(monkeypatch):
    table = list_sessions(
        monkeypatch, session("", HOUR, phase="Pending", workflow="uv-argo-new", notebook=""), all_namespaces=True
    )
    (row,) = table.rows
    assert row == ("team", "-", "-", "main", "30 h 0 min", "-", "-", "-", "-", "pending", "uv-argo-new")
    assert list_sessions(monkeypatch) == "No sessions on argo."


def test_error_names_backends_that_list_sessions():
    with pytest.raises(SpecError, match="the local backend does not list the sessions of all users") as exc_info:
        sessions_of_all_users("local", Settings(), all_namespaces=False)
    assert exc_info.value.hint == "Choose a backend that does: -b argo."
