"""The shell that `get_ipython()` returns: IPython's class if installed, or our own with the part that libraries use.

Rule: the class is ZMQInteractiveShell of ipykernel.zmqshell, by which libraries recognize a notebook.
"""

import atexit
import contextlib
import sys
import traceback

from . import commands, magics


def make(notebook, installed):
    """The shell of this process."""
    if installed:
        from . import installed_ipython

        return installed_ipython.make(notebook, _Common)
    from IPython.core.interactiveshell import InteractiveShell as Base

    cls = type("ZMQInteractiveShell", (_Common, Shell, Base), {"__module__": "ipykernel.zmqshell"})
    shell = cls(notebook)
    shell.set_up(notebook)
    return shell


class _Common:
    """The common methods of both shells: magics, commands, captured output."""

    def set_up(self, notebook):
        self.notebook = notebook
        self.own_magics = magics.Magics(notebook)
        self.kernel = Kernel(self)

    def _own(self, kind, name):
        return getattr(self.own_magics, kind).get(name) if hasattr(self, "own_magics") else None

    def run_line_magic(self, magic_name, line, _stack_depth=1):
        """Run a line magic, and return its value."""
        function = self._own("line", magic_name)
        if function is None:
            return super().run_line_magic(magic_name, line, _stack_depth=_stack_depth + 1)
        if magic_name not in magics.NO_EXPANSION:
            line = self._expanded(line, sys._getframe(_stack_depth))
        return function(line)

    def run_cell_magic(self, magic_name, line, cell):
        """Run a cell magic, and return its value."""
        function = self._own("cell", magic_name)
        if function is None:
            return super().run_cell_magic(magic_name, line, cell)
        return function(line, cell)

    def _expanded(self, text, frame):
        return commands.expand(text, dict(self.user_ns, **frame.f_locals))

    def system(self, cmd):
        """Run a command, whose output is added to the cell's."""
        self.user_ns["_exit_code"] = commands.run(self._expanded(cmd, sys._getframe(1)))

    system_raw = system_piped = system

    def getoutput(self, cmd, split=True, depth=0):
        """The output of a command, as lines."""
        del depth
        text, self.user_ns["_exit_code"] = commands.output_of(self._expanded(cmd, sys._getframe(1)))
        return commands.SList(text.splitlines()) if split else text

    def enable_gui(self, gui=None):
        """Does nothing, because figures are pictures."""

    def enable_matplotlib(self, gui=None, gui_select=None):
        """Show figures as pictures."""
        del gui_select
        self.notebook.figures.use(gui or "inline")
        return "inline", "inline"

    @contextlib.contextmanager
    def capture(self, outputs=None):
        """A context manager that collects displays and results in a list of {data, metadata, transient, update}."""
        displays = self.notebook.displays
        outputs = [] if outputs is None else outputs

        def emit(kind, data=None, metadata=None, display_id="", update=False, **_fields):
            if kind == "clear":
                del outputs[:]
            else:
                transient = {"display_id": display_id} if display_id else {}
                outputs.append({"data": data, "metadata": metadata, "transient": transient, "update": update})

        before, displays.emit = displays.emit, emit
        try:
            yield outputs
        finally:
            displays.emit = before


class Config(dict):
    """Settings by section: `config.InlineBackend.figure_format`; a section is created when it is first used."""

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return self.setdefault(name, Config())

    def __setattr__(self, name, value):
        self[name] = value


class Events:
    """Functions by event; `post_execute` is the end of the cell."""

    def __init__(self):
        self.callbacks = {
            name: [] for name in ("pre_execute", "pre_run_cell", "post_execute", "post_run_cell", "shell_initialized")
        }

    def register(self, event, function):
        """Call a function at an event."""
        if not callable(function):
            raise TypeError("Need a callable, got %r" % (function,))
        if function not in self.callbacks[event]:
            self.callbacks[event].append(function)

    def unregister(self, event, function):
        """Stop calling a function at an event."""
        try:
            self.callbacks[event].remove(function)
        except ValueError:
            raise ValueError("Function %r is not registered as a %s callback" % (function, event)) from None

    def trigger(self, event, *args, **kwargs):
        """Call the functions of an event; print their exceptions."""
        for function in list(self.callbacks[event]):
            try:
                function(*args, **kwargs)
            except Exception:  # noqa: BLE001 - a library's function
                traceback.print_exc()


class Kernel:
    """The part of a notebook's kernel that libraries use; it has no front end."""

    def __init__(self, shell):
        self.shell = shell
        self.comm_manager = CommManager()
        self.shell_streams = []
        self._parent_header = {}

    def get_parent(self, _channel=None):
        """The message that runs the cell."""
        return {}

    def do_one_iteration(self):
        """Does nothing, because there are no messages while the cell runs."""


class CommManager:
    """Stores the targets that libraries register; no front end opens one."""

    def __init__(self):
        self.comms, self.targets = {}, {}

    def register_target(self, target_name, function):
        """Register a target."""
        self.targets[target_name] = function

    def unregister_target(self, target_name, _function=None):
        """Unregister a target."""
        self.targets.pop(target_name, None)

    def register_comm(self, comm):
        """Register a comm."""
        self.comms[comm.comm_id] = comm
        return comm.comm_id

    def unregister_comm(self, comm):
        """Unregister a comm."""
        self.comms.pop(comm.comm_id, None)

    def get_comm(self, comm_id):
        """A comm, or None."""
        return self.comms.get(comm_id)


class Result:
    """What `run_cell` returns."""

    def __init__(self, error=None):
        self.result = None
        self.error_before_exec = None
        self.error_in_exec = error
        self.success = error is None

    def raise_error(self):
        """Raise the exception of the code, if any."""
        if self.error_in_exec is not None:
            raise self.error_in_exec


class Formatters:
    """The shell's `display_formatter`: formatters by MIME type."""

    def __init__(self, displays):
        self._displays = displays
        self.formatters = displays.formatters
        self.mimebundle_formatter = type(displays.formatters["text/plain"])()
        self.ipython_display_formatter = type(displays.formatters["text/plain"])()

    @property
    def format_types(self):
        return list(self.formatters)

    active_types = format_types

    def format(self, obj, include=None, exclude=None):
        """(data, metadata) of a value."""
        return self._displays.bundle(obj, include, exclude)


class _Publisher:
    def __init__(self, displays):
        self.publish = displays.publish
        self.clear_output = displays.clear_output


class _MagicsManager:
    def __init__(self, own):
        self.magics = {"line": own.line, "cell": own.cell}
        self.registry = {}

    def lsmagic(self):
        return self.magics


class Shell:
    """The shell if IPython is not installed."""

    execution_count = 1
    colors = "neutral"
    history_manager = None
    payload_manager = None
    user_ns_hidden = {}  # type: dict[str, object]  # noqa: RUF012 - nothing is hidden

    def __init__(self, notebook):
        self.user_module = notebook.executor.module
        self.user_ns = self.user_global_ns = self.user_module.__dict__
        self.config = Config(IPKernelApp=Config(parent_appname="ipython-notebook"))
        self.events = Events()
        self.display_formatter = Formatters(notebook.displays)
        self.display_pub = _Publisher(notebook.displays)
        self.ast_transformers, self.input_transformers_cleanup, self.input_transformers_post = [], [], []

    def has_trait(self, name):
        """Whether the shell has this attribute; libraries recognize a kernel's shell by `kernel`."""
        return hasattr(self, name)

    @property
    def magics_manager(self):
        return _MagicsManager(self.own_magics)

    @property
    def displayhook(self):
        return self.notebook.displays.result

    def run_line_magic(self, magic_name, _line, **_kwargs):
        raise magics.MagicError("Line magic function `%%%s` not found." % magic_name)

    def run_cell_magic(self, magic_name, _line, _cell):
        raise magics.MagicError("Cell magic `%%%%%s` not found." % magic_name)

    def magic(self, text):
        """Run a line magic, given with its name."""
        name, _, line = text.lstrip("%").partition(" ")
        return self.run_line_magic(name, line, _stack_depth=2)

    def find_line_magic(self, name):
        return self.own_magics.line.get(name)

    def find_cell_magic(self, name):
        return self.own_magics.cell.get(name)

    def find_magic(self, name, magic_kind="line"):
        return getattr(self.own_magics, magic_kind).get(name)

    def register_magic_function(self, func, magic_kind="line", magic_name=None):
        """Register a function as a magic."""
        kinds = ("line", "cell") if magic_kind == "line_cell" else (magic_kind,)
        for kind in kinds:
            getattr(self.own_magics, kind)[magic_name or func.__name__] = func

    def register_magics(self, *classes):
        """Register the magics of classes or instances."""
        for cls in classes:
            instance = cls(self) if isinstance(cls, type) else cls
            for kind, functions in instance.magics.items():
                getattr(self.own_magics, kind).update(functions)

    def push(self, variables, interactive=True):
        """Set variables of the cell."""
        del interactive
        self.user_ns.update(variables)

    def ev(self, expression):
        """The value of an expression."""
        return eval(expression, self.user_ns)

    def ex(self, code):
        """Run statements."""
        exec(code, self.user_ns)  # noqa: S102 - the user's own code

    def run_cell(self, raw_cell, *_args, **_kwargs):
        """Run Python code as a cell; the result has its exception."""
        try:
            executor = self.notebook.executor
            executor.run(executor.body(raw_cell))
        except Exception as problem:  # noqa: BLE001 - the user's code
            self.showtraceback()
            return Result(problem)
        return Result()

    def pretty(self, obj):
        """The text of a value."""
        return self.display_formatter.format(obj, include=["text/plain"])[0].get("text/plain", "")

    def showtraceback(self, *_args, **_kwargs):
        """Print the traceback of the current exception."""
        traceback.print_exc()

    def set_custom_exc(self, *_args):
        """Does nothing, because the notebook shows exceptions of the cell."""

    set_hook = set_next_input = set_custom_completer = showsyntaxerror = set_custom_exc

    def enable_pylab(self, gui=None, *_args, **_kwargs):
        """Like enable_matplotlib."""
        return self.enable_matplotlib(gui)

    atexit_operations = staticmethod(atexit._run_exitfuncs)
