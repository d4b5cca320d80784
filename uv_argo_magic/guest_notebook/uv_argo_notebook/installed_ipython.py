"""The shell of an installed IPython, with IPython's magics and formatters and our displays; it does not run code."""

import os
import sys
import tempfile


def make(notebook, common):
    """Create an instance for the cell's module, without history and without the user's configuration files."""
    from IPython.core.displayhook import DisplayHook
    from IPython.core.displaypub import DisplayPublisher
    from IPython.core.interactiveshell import InteractiveShell
    from IPython.core.profiledir import ProfileDir
    from traitlets import Any, Type
    from traitlets.config import Config

    displays = notebook.displays

    class Publisher(DisplayPublisher):
        def publish(self, data, metadata=None, *, transient=None, update=False, **_kwargs):
            displays.publish(data, metadata, transient=transient, update=update)

        def clear_output(self, wait=False):
            displays.clear_output(wait)

    class Hook(DisplayHook):
        def __call__(self, result=None):
            displays.result(result)

    class ZMQInteractiveShell(common, InteractiveShell):
        kernel = Any()
        display_pub_class = Type(Publisher)
        displayhook_class = Type(Hook)

        def _showtraceback(self, _type, _value, lines):
            sys.stderr.write(self.InteractiveTB.stb2text(lines) + "\n")

        def pretty(self, obj):
            return self.display_formatter.format(obj, include=["text/plain"])[0].get("text/plain", "")

    ZMQInteractiveShell.__module__ = "ipykernel.zmqshell"
    ZMQInteractiveShell.__qualname__ = "ZMQInteractiveShell"
    folder = tempfile.mkdtemp(prefix="ipython-")
    config = Config()
    config.HistoryManager.enabled = False
    config.HistoryAccessor.enabled = False
    config.IPKernelApp.parent_appname = "ipython-notebook"
    before = sys.stdout, sys.stderr, sys.displayhook, sys.excepthook, sys.modules["__main__"]
    module = notebook.executor.module
    shell = ZMQInteractiveShell.instance(
        config=config, user_module=module, ipython_dir=folder,
        profile_dir=ProfileDir.create_profile_dir(os.path.join(folder, "profile")),
    )  # fmt: skip
    sys.stdout, sys.stderr, sys.displayhook, sys.excepthook, sys.modules["__main__"] = before
    shell.execution_count = 1
    shell.set_up(notebook)
    notebook.hidden_names.update(shell.user_ns_hidden)
    _join(displays, shell.display_formatter)
    _capture(shell)
    return shell


def _capture(shell):
    """Make IPython's `capture_output` capture displays and results, which do not come from IPython's publisher."""
    from IPython.utils import capture, io

    class capture_output(capture.capture_output):
        def __enter__(self):
            captured = super().__enter__()
            self._ours = shell.capture(captured._outputs) if self.display else None
            if self._ours:
                self._ours.__enter__()
            return captured

        def __exit__(self, *raised):
            if self._ours:
                self._ours.__exit__(*raised)
            return super().__exit__(*raised)

    capture_output.__module__ = capture.__name__
    capture.capture_output = io.capture_output = capture_output


def _join(displays, formatter):
    """Use IPython's formatters for displays, including the functions that were registered before."""
    for mime, ours in displays.formatters.items():
        theirs = formatter.formatters.get(mime)
        if theirs is not None:
            theirs.type_printers.update(ours.type_printers)
            theirs.deferred_printers.update(ours.deferred_printers)
    displays.formatters = formatter.formatters
    displays.format = formatter.format
