"""Show a cell's output as Jupyter output: streams, displays, clearing and the result.

Rules:
- This is called from the main thread, unless the sink selects a cell, because IPython shows the output of other threads
  in the cell that ran last.
- The cell's output is shown unchanged, within the limits of core/view/truncate.py. Our own remarks go to stderr.
- A display that cannot be shown is reported on stderr; later output is still shown.
- Display ids are those of the cell, so that one cell can update the display of another, as in plain cells.
- The value of the last expression is passed to Python's display hook, in order with the other output.
"""

from __future__ import annotations

import functools
import inspect
import itertools
import json
import sys
from typing import TYPE_CHECKING, Any, assert_never

from IPython.core.interactiveshell import InteractiveShell
from IPython.display import clear_output

from uv_argo_magic.core.protocol import events as ev
from uv_argo_magic.core.protocol import remote_error
from uv_argo_magic.core.protocol.state import Gap, Restarted
from uv_argo_magic.core.view import ansi, run_text
from uv_argo_magic.core.view.truncate import Chunk, Emitted, OutputTruncator
from uv_argo_magic.renderers.remote_result import RemoteResult

if TYPE_CHECKING:
    from collections.abc import Callable

    from uv_argo_magic.core.protocol.remote_error import RemoteError
    from uv_argo_magic.core.protocol.state import RunState
    from uv_argo_magic.errors import RunError


class OutputSink:
    """Shows output in the running cell, with IPython's functions and Python's streams."""

    is_background = False
    """Whether the cell has already returned."""

    def publish(
        self, data: dict[str, Any], metadata: dict[str, Any], *, transient: dict[str, str], update: bool
    ) -> None:
        """Show a mimebundle, or update an earlier one."""
        publisher: Any = InteractiveShell.instance().display_pub
        if _only_sends(publisher):
            content = {"data": data, "metadata": metadata, "transient": transient}
            kind = "update_display_data" if update else "display_data"
            publisher.session.send(
                publisher.pub_socket, kind, content, parent=publisher.parent_header, ident=publisher.topic
            )
            return
        options = {"transient": transient, "update": update}
        # An extension can replace IPython's publisher by one that does not accept all options.
        accepted = inspect.signature(publisher.publish).parameters
        if all(parameter.kind is not parameter.VAR_KEYWORD for parameter in accepted.values()):
            options = {name: value for name, value in options.items() if name in accepted}
        publisher.publish(data=data, metadata=metadata, **options)

    def result(self, data: dict[str, Any], metadata: dict[str, Any]) -> None:
        """Show the value of the last expression as the cell's `Out[n]`."""
        hook: Any = sys.displayhook
        if not (_is_kernels(hook) and "text/plain" in data):
            hook(RemoteResult(data, metadata))
            return
        # The bundle exists, so there is no need for the formatters, or for checking the cell for a semicolon. Printed
        # text was sent, so there is no need to wait for the kernel's sending thread.
        hook.quiet = lambda: False
        hook.compute_format_data = lambda _: (data, metadata)
        hook.finish_displayhook = functools.partial(_send_result, hook)
        try:
            hook(RemoteResult(data, metadata))
        finally:
            del hook.quiet, hook.compute_format_data, hook.finish_displayhook

    def error(self, error: RunError, *, is_result: bool) -> None:
        """Show an exception that a value raised while it was shown; `is_result`: that of the last expression."""
        shell: Any = InteractiveShell.instance()
        hook: Any = sys.displayhook
        within_result = is_result and _is_kernels(hook)
        if within_result:  # newer versions of ipykernel then report the cell as failed
            hook.start_displayhook()
        try:
            shell.showtraceback((type(error), error, error.__traceback__))
        finally:
            if within_result:
                hook.finish_displayhook()

    def clear(self, *, wait: bool) -> None:
        """Clear the output of the cell."""
        clear_output(wait=wait)

    def write(self, stream: str, text: str) -> None:
        """Add text to stdout or stderr."""
        file = sys.stdout if stream == "stdout" else sys.stderr
        file.write(text)
        file.flush()


def _is_kernels(hook: Any) -> bool:
    """Whether this is ipykernel's unmodified display hook."""
    return (
        type(hook).__module__ == "ipykernel.displayhook"
        and not getattr(hook, "_hooks", ())
        and not {"quiet", "compute_format_data", "finish_displayhook"} & vars(hook).keys()
        and all(hasattr(hook, name) for name in ("session", "pub_socket", "topic"))
    )


def _send_result(hook: Any) -> None:
    """Send the result like `finish_displayhook` of ipykernel, but without waiting for printed text to be sent."""
    message, hook.msg = hook.msg, None
    if message and message["content"]["data"] and hook.session:
        hook.session.send(hook.pub_socket, message, ident=hook.topic)


def _only_sends(publisher: Any) -> bool:
    """Whether this is ipykernel's unmodified publisher, which only sends the display.

    It would also wait, twice, until another thread has sent printed text, which takes half of the time of a session's
    cell. This is not needed, because our output is already flushed.
    """
    return (
        type(publisher).__module__ == "ipykernel.zmqshell"
        and "publish" not in vars(publisher)
        and not publisher.store_display_history
        and not publisher._hooks  # noqa: SLF001 - no public name
    )


class CellOutput:
    """Shows new items of `state.outputs`, and at the end the tail that the truncator has held back.

    `on_clear` is called after the cell's code has cleared the output, because that also clears the panel. `rebuild`
    creates the exceptions of values that cannot be displayed; without it, their tracebacks are printed to stderr.
    """

    def __init__(
        self,
        *,
        truncator: OutputTruncator | None = None,
        sink: OutputSink | None = None,
        on_clear: Callable[[], None] | None = None,
        rebuild: Callable[[RemoteError], RunError] | None = None,
    ) -> None:
        self._truncator = truncator or OutputTruncator()
        self._sink = sink or OutputSink()
        self._on_clear = on_clear
        self._rebuild = rebuild
        self._position = 0
        self._finished = False

    def update(self, state: RunState) -> None:
        """Show new output; at the end, also the output that was held back."""
        outputs = state.outputs[self._position :]
        self._position = len(state.outputs)
        chunks = [chunk for output in outputs for chunk in self._truncator.feed(output)]
        if state.ended and not self._finished:
            self._finished = True
            chunks += self._truncator.finish()
        # JupyterLab redraws a whole stream at each message, so send many lines as one message.
        for stream, group in itertools.groupby(
            _without_overwritten(chunks), lambda chunk: chunk.stream if isinstance(chunk, Chunk) else None
        ):
            if stream is None:
                for item in group:
                    self._show(item)
            else:
                text = "".join(chunk.text for chunk in group if isinstance(chunk, Chunk))
                self._sink.write(stream, ansi.clean(text))

    def _show(self, item: Emitted) -> None:
        try:
            self._emit(item)
        except Exception as error:  # noqa: BLE001 - front ends and publishers can raise anything
            problem = f"{type(error).__name__}: {error}"
            self._sink.write("stderr", ansi.clean(f"uv-argo: Cannot show an output of the cell ({problem})\n"))

    def _emit(self, item: Emitted) -> None:
        match item:
            case Chunk():  # pragma: no cover - `update` writes these
                pass
            case ev.Display():
                transient = {"display_id": item.display_id} if item.display_id else {}
                data, metadata = _decoded(item.data), _sendable(json.loads(item.metadata))
                self._sink.publish(data, metadata, transient=transient, update=item.update)
            case ev.Traceback():
                if self._rebuild is None:
                    self._sink.write("stderr", ansi.clean(item.text))
                else:
                    self._sink.error(self._rebuild(remote_error.parse(item.error)), is_result=item.result)
            case ev.ClearOutput():
                self._sink.clear(wait=item.wait)
                if self._on_clear is not None:
                    self._on_clear()
            case ev.Result():
                self._sink.result(_decoded(item.data), _sendable(json.loads(item.metadata)))
            case ev.Skipped() | Gap() | Restarted():
                self._sink.write("stderr", ansi.clean(run_text.remark(item)) + "\n")
            case _:  # pragma: no cover
                assert_never(item)


def _without_overwritten(items: list[Emitted]) -> list[Emitted]:
    """The items without updates of displays that a later item updates again."""
    last = {item.display_id: index for index, item in enumerate(items) if isinstance(item, ev.Display) and item.update}
    return [
        item
        for index, item in enumerate(items)
        if not (isinstance(item, ev.Display) and item.update and last[item.display_id] != index)
    ]


def _decoded(bundle: ev.Bundle) -> dict[str, Any]:
    return {mime: _sendable(json.loads(body)) for mime, body in bundle}


def _sendable(value: Any) -> Any:
    """The value with unpaired surrogates (such as half an emoji) escaped, which a message cannot contain."""
    match value:
        case str():
            return value.encode("utf-8", "backslashreplace").decode("utf-8")
        case list():
            return [_sendable(item) for item in value]
        case dict():
            return {_sendable(key): _sendable(item) for key, item in value.items()}
        case _:
            return value
