"""Checked by mypy and pyright, never run: the public API has the types that docs/api.md shows."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, assert_type

import uv_argo_magic
from uv_argo_magic import Backend, CellFailed, Renderer, Run, RunError, run, submit, testing
from uv_argo_magic.core.protocol.state import RunState

if TYPE_CHECKING:
    from collections.abc import Iterator

started = submit("x = 2 * y", deps=["numpy>=2"], python="3.12", backend="local", push={"y": 21}, pull="x")
assert_type(started, Run)
assert_type(started.result(timeout=60), dict[str, object])
assert_type(started.state, RunState)
assert_type(started.id, str)
assert_type(started.packages, tuple[tuple[str, str], ...])
assert_type(
    run(Path("study.py"), settings={"run_timeout": "5m"}, resources={"cpu": 2}, env_file=Path(".env")).logs(), str
)
assert_type(uv_argo_magic.__version__, str)

submit(b"print(1)")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
submit("print(1)", "numpy")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


class Printer:
    """A custom renderer."""

    def update(self, state: RunState) -> None:
        """Show it."""


def follow(run: Run, renderer: Renderer) -> RunState:
    """Any object with `update` is a renderer."""
    return run.follow(renderer)


def failure() -> Iterator[str]:
    """Errors carry a message, a hint and the state."""
    try:
        follow(started, Printer())
    except CellFailed as error:
        yield error.message
        yield error.hint
        assert_type(error.state, RunState | None)
    except RunError as error:
        yield str(error)


backend: Backend = testing.FakeBackend()
