"""The list of every user's sessions: the order of its rows, and what it says of their use."""

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
    made = {
        "name": "main", "workflow": f"uv-argo-{user}", "namespace": "team", "user": user, "notebook": "/home/n.ipynb",
        "phase": "Running", "started_at": now - 30 * HOUR, "used_at": now - idle,
    }  # fmt: skip
    return RemoteSession(**(made | more))


def listed(monkeypatch, *found, all_namespaces=False):
    monkeypatch.setattr(sessions, "sessions_of_all_users", lambda *_, **__: found)
    return sessions._list_all(Config(settings=Settings(), backend="argo"), all_namespaces=all_namespaces)


def test_what_is_idle_and_expensive_comes_first(monkeypatch):
    table = listed(
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


def test_a_session_that_has_not_started_is_not_idle(monkeypatch):
    table = listed(
        monkeypatch, session("", HOUR, phase="Pending", workflow="uv-argo-new", notebook=""), all_namespaces=True
    )
    (row,) = table.rows
    assert row == ("team", "-", "-", "main", "30 h 0 min", "-", "-", "-", "-", "pending", "uv-argo-new")
    assert listed(monkeypatch) == "No sessions on argo."


def test_a_backend_without_such_a_list_names_those_that_have_one():
    with pytest.raises(SpecError, match="the local backend does not list the sessions of all users") as raised:
        sessions_of_all_users("local", Settings(), all_namespaces=False)
    assert raised.value.hint == "Choose one that does: -b argo."
