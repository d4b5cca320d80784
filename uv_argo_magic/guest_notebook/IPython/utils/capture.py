"""Capturing output, as in IPython.utils.capture."""

import io
import sys

from ..core.getipython import get_ipython


class RichOutput:
    """A captured display."""

    def __init__(self, data=None, metadata=None, transient=None, update=False):
        self.data, self.metadata = data or {}, metadata or {}
        self.transient, self.update = transient or {}, update

    def display(self):
        """Show the display now."""
        from ..core import display_functions

        display_functions.publish_display_data(self.data, self.metadata, transient=self.transient, update=self.update)

    def _repr_mimebundle_(self, include=None, exclude=None):
        del include, exclude
        return self.data, self.metadata


class CapturedIO:
    """Captured output: `stdout` and `stderr` as text, `outputs` as displays."""

    def __init__(self, stdout, stderr, outputs=None):
        self._stdout, self._stderr, self._outputs = stdout, stderr, outputs

    def __str__(self):
        return self.stdout

    @property
    def stdout(self):
        return self._stdout.getvalue() if self._stdout else ""

    @property
    def stderr(self):
        return self._stderr.getvalue() if self._stderr else ""

    @property
    def outputs(self):
        return [RichOutput(**output) for output in self._outputs or ()]

    def show(self):
        """Print and show all captured output now."""
        sys.stdout.write(self.stdout)
        sys.stderr.write(self.stderr)
        for output in self.outputs:
            output.display()

    __call__ = show


class capture_output:
    """A context manager that captures output and returns a CapturedIO."""

    def __init__(self, stdout=True, stderr=True, display=True):
        self.stdout, self.stderr, self.display = stdout, stderr, display

    def __enter__(self):
        self._before = sys.stdout, sys.stderr
        out = sys.stdout = io.StringIO() if self.stdout else sys.stdout
        err = sys.stderr = io.StringIO() if self.stderr else sys.stderr
        shell = get_ipython()
        self._captured = shell.capture() if self.display and shell is not None else None
        outputs = self._captured.__enter__() if self._captured else None
        return CapturedIO(out if self.stdout else None, err if self.stderr else None, outputs)

    def __exit__(self, *raised):
        if self._captured:
            self._captured.__exit__(*raised)
        sys.stdout, sys.stderr = self._before
