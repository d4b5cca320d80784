"""A real kernel with the extension loaded, and the output of its cells."""

from __future__ import annotations

import os
import queue
import time
from dataclasses import dataclass, field
from typing import Any

from jupyter_client.manager import KernelManager


@dataclass
class CellOutput:
    """The output of one cell."""

    messages: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    @property
    def text(self) -> str:
        """The streams and values as text."""
        parts = []
        for kind, content in self.messages:
            if kind == "stream":
                parts.append(content["text"])
            elif kind in {"execute_result", "display_data"}:
                parts.append(content["data"].get("text/plain", "") + "\n")
        return "".join(parts)

    @property
    def error(self) -> str:
        """The name, message and traceback of the exception, or ""."""
        for kind, content in self.messages:
            if kind == "error":
                return "\n".join([content["ename"], content["evalue"], *content["traceback"]])
        return ""


class Kernel:
    """One kernel; `environ` is added to its environment."""

    def __init__(self, environ: dict[str, str]) -> None:
        self.manager = KernelManager()
        self.manager.start_kernel(env=os.environ | environ)
        self.client = self.manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=60)
        self.run("%load_ext uv_argo_magic")

    def begin(self, code: str, *, stdin: bool = True) -> str:
        """Send a cell, and return the id of its request."""
        return self.client.execute(code, allow_stdin=stdin)

    def finish(self, request: str, seconds: float = 60, until: str = "", others: tuple[str, ...] = ()) -> CellOutput:
        """Wait until the cell has ended, or has shown the text `until`; collect output of `others` in `self.others`."""
        output = CellOutput()
        self.others = {other: CellOutput() for other in others}
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            try:
                message = self.client.get_iopub_msg(timeout=0.5)
            except queue.Empty:
                continue
            kind, content = message["msg_type"], message["content"]
            parent = message["parent_header"].get("msg_id")
            if parent in self.others:
                self.others[parent].messages.append((kind, content))
            if parent != request:
                continue
            output.messages.append((kind, content))
            if (kind == "status" and content["execution_state"] == "idle") or (until and until in output.text):
                return output
        raise AssertionError(f"the cell did not end: {output}")

    def run(self, code: str, *, stdin: bool = True) -> CellOutput:
        """Run a cell to its end."""
        return self.finish(self.begin(code, stdin=stdin))

    def close(self) -> None:
        """Kill the kernel, which a front end does if a restart takes too long."""
        self.client.stop_channels()
        # First, because `shutdown_kernel` begins with an interrupt, which stops a cell if the kernel is quick enough.
        process = getattr(self.manager.provisioner, "process", None)
        if process is not None:  # it was not closed before
            process.kill()
        self.manager.shutdown_kernel(now=True)
