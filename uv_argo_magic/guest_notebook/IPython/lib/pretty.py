"""Pretty-printing with the shell's printer, as in IPython.lib.pretty."""

import sys

from ..core.getipython import get_ipython


def pretty(obj, verbose=False, max_width=79, newline="\n", max_seq_length=1000):
    """The text of a value."""
    del verbose, max_width, newline, max_seq_length
    shell = get_ipython()
    return shell.pretty(obj) if shell is not None else repr(obj)


def pprint(obj, *args, **kwargs):
    """Print a value."""
    sys.stdout.write(pretty(obj, *args, **kwargs) + "\n")


def for_type(typ, func):
    """Register the printer function of a class."""
    shell = get_ipython()
    return shell.display_formatter.formatters["text/plain"].for_type(typ, func) if shell is not None else None


def for_type_by_name(type_module, type_name, func):
    """Register the printer function of a class, by its name."""
    shell = get_ipython()
    if shell is None:
        return None
    return shell.display_formatter.formatters["text/plain"].for_type_by_name(type_module, type_name, func)


class PrettyPrinter:
    """The class for the signatures of `_repr_pretty_` methods."""


RepresentationPrinter = PrettyPrinter
