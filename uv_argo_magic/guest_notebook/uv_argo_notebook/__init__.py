"""Make a cell's process look like a notebook: `get_ipython`, IPython's names, and support for libraries.

Rules:
- Nothing is imported before the cell or one of its libraries needs it.
- An installed IPython is used; its shell shows values with our displays. The guest's executor always runs the code.
"""

import builtins
import importlib
import importlib.machinery
import importlib.util
import os
import sys
import types

from uv_argo_guest import import_hooks

from . import libraries

HERE = os.path.dirname(os.path.dirname(__file__))
LAZY = ("IPython", "ipykernel", "ipykernel.iostream", "ipykernel.zmqshell")
"""Modules that a kernel imports before the first cell, so that libraries check for them in `sys.modules`."""


def install(interpreter):
    """Make the process look like a notebook, for the cells of an interpreter (uv_argo_guest.execute)."""
    notebook = Notebook(interpreter)

    def get_ipython():
        """The running shell."""
        return notebook.get_shell()

    builtins.__IPYTHON__ = True
    builtins.get_ipython = get_ipython
    interpreter.module.get_ipython = notebook.hidden_names["get_ipython"] = get_ipython
    interpreter.at_end.append(notebook.finish)
    actions = {
        "IPython": lambda _module: notebook.make_shell(),
        "IPython.core.getipython": lambda module: setattr(module, "get_ipython", get_ipython),
        "ipykernel.zmqshell": lambda module: setattr(module, "ZMQInteractiveShell", type(notebook.get_shell())),
        "ipykernel.iostream": notebook.adopt_streams,
    }
    import_hooks.AfterImport(dict(actions, **libraries.actions(notebook))).install()
    for name in LAZY:  # after the hooks, which run at once for existing modules
        _offer(name)


class Notebook:
    """The objects that magics and libraries use; `shell` is None until it is needed."""

    def __init__(self, interpreter):
        self.interpreter = interpreter
        self.executor = interpreter.executor
        self.displays = interpreter.displays
        self.figures = interpreter.drawn
        self.shell = None
        self.hidden_names = dict(interpreter.module.__dict__)
        """The names in the cell's module that are not the user's, so that %who leaves them out."""

    def get_shell(self):
        """The shell, created at the first call."""
        if self.shell is None:
            importlib.import_module("IPython.core")
            self.make_shell()
        return self.shell

    def make_shell(self):
        """Create the shell: a subclass of the installed IPython's, or our own."""
        if self.shell is None:
            from . import shells

            self.shell = shells.make(self, is_installed("IPython"))
            self.executor.shell = self.shell

    def adopt_streams(self, iostream):
        """Make sys.stdout and sys.stderr instances of OutStream, by which libraries recognize a notebook."""
        streams, base = self.interpreter.out, iostream.OutStream

        class Meta(type(base)):
            def __instancecheck__(cls, value):
                return value in (streams.out, streams.err) or super().__instancecheck__(value)

        iostream.OutStream = Meta("OutStream", (base,), {"__module__": iostream.__name__})

    def finish(self):
        """Let libraries draw what they have delayed until the end of a cell."""
        if self.shell is not None:
            self.shell.events.trigger("post_execute")


def is_installed(name):
    """Whether the environment has a package with this name, in addition to ours."""
    spec = sys.modules[name].__spec__ if name in sys.modules else importlib.util.find_spec(name)
    return spec is not None and not (spec.origin or "").startswith(HERE + os.sep)


class _Lazy(types.ModuleType):
    """A module in `sys.modules` that is imported when one of its names is used."""

    def __getattr__(self, name):
        if name.startswith("__") and name not in ("__all__", "__path__", "__version__"):
            raise AttributeError(name)  # inspect and unittest read attributes such as __file__ of every module
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        return getattr(importlib.import_module(self.__name__), name)


def _offer(name):
    if name in sys.modules:
        return
    module = _Lazy(name)
    # The specification of a submodule would need its package to be imported.
    package = importlib.util.find_spec(name) if "." not in name else None
    module.__spec__ = package or importlib.machinery.ModuleSpec(name, None)
    if package is not None:
        module.__loader__, module.__file__ = package.loader, package.origin
    sys.modules[name] = module
