"""The `attach` command in a terminal: show the output of a run from its start."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from uv_argo_magic.core.view import run_text
from uv_argo_magic.engine.find_run import locate
from uv_argo_magic.engine.run import Hooks
from uv_argo_magic.engine.start_run import join
from uv_argo_magic.remote_traceback import rebuild
from uv_argo_magic.renderers.streamer import Streamer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from uv_argo_magic.commands.registry import Request


def handle(request: Request) -> Iterator[str]:
    """Print a run from its start, and follow it while it is live; an interrupt does not stop the run."""
    configuration, history = request.configuration(), request.history
    ref = locate(request.line.argument, history, configuration)
    if ref.remote is None or (ref.entry is not None and ref.entry.summary is not None):
        yield run_text.log(ref.entry.state()) if ref.entry else ""
        return
    joined = join(
        ref,
        history=history,
        settings=configuration.settings,
        hooks=Hooks(rebuild=lambda remote, state: rebuild.rebuild(remote, state=state)),
    )
    streamer = Streamer(sys.stdout, sys.stderr)
    try:
        joined.follow(streamer, stops=False)
    except KeyboardInterrupt:
        print(f"uv-argo: {joined.id} is still running. To stop it: uv-argo stop {joined.id}", file=sys.stderr)
        raise
    if streamer.broken:
        raise streamer.broken
    joined.raise_for_state()
