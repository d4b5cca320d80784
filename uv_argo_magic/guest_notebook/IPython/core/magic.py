"""Decorators for magics defined by a library or the cell; `run_line_magic` and `run_cell_magic` call the magics."""

from .error import UsageError  # noqa: F401 - libraries import it from here
from .getipython import get_ipython


def magics_class(cls):
    """Collect the magics of a class."""
    cls.magics = {"line": {}, "cell": {}}
    for name in dir(cls):
        for kind, magic in getattr(getattr(cls, name), "_ipython_magics", ()):
            cls.magics[kind][magic or name] = name
    return cls


def _marks(*kinds):
    def decorator(arg=None):
        name = arg if isinstance(arg, str) else ""

        def mark(function):
            function._ipython_magics = [*getattr(function, "_ipython_magics", ()), *((kind, name) for kind in kinds)]
            return function

        return mark(arg) if callable(arg) else mark

    return decorator


line_magic = _marks("line")
cell_magic = _marks("cell")
line_cell_magic = _marks("line", "cell")


def _registers(*kinds):
    def decorator(arg=None):
        def register(function):
            shell = get_ipython()
            for kind in kinds if shell is not None else ():
                shell.register_magic_function(function, kind, arg if isinstance(arg, str) else function.__name__)
            return function

        return register(arg) if callable(arg) else register

    return decorator


register_line_magic = _registers("line")
register_cell_magic = _registers("cell")
register_line_cell_magic = _registers("line", "cell")


def no_var_expand(function):
    """Do not expand `$name` and `{name}` in the line."""
    function._ipython_magic_no_var_expand = True
    return function


def needs_local_scope(function):
    """Pass the variables of the cell to the magic."""
    function.needs_local_scope = True
    return function


def output_can_be_silenced(function):
    """Let a semicolon suppress the magic's value."""
    return function


def on_off(tag):
    """The word for a switch."""
    return ("OFF", "ON")[tag]


class Magics:
    """The base class for classes with magics."""

    magics = {"line": {}, "cell": {}}  # type: dict[str, dict]  # noqa: RUF012 - `magics_class` replaces it

    def __init__(self, shell=None, **kwargs):
        self.shell = shell
        self.options_table = {}
        self.__dict__.update(kwargs)
        self.magics = {
            kind: {magic: getattr(self, name) for magic, name in names.items()} for kind, names in self.magics.items()
        }
