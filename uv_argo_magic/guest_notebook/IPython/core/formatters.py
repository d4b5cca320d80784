"""Formatters by MIME type; libraries register their functions with those of the shell."""

from uv_argo_guest.display import Formatter


class BaseFormatter(Formatter):
    """The base class of formatters; subclasses set the MIME type `format_type` and the method name `print_method`."""

    format_type = "text/plain"
    _return_type = (str,)

    def __init__(self, parent=None, **_kwargs):
        Formatter.__init__(self)
        self.parent = parent


class PlainTextFormatter(BaseFormatter):
    pass


class DisplayFormatter:
    """The class of the shell's `display_formatter`."""


class FormatterWarning(UserWarning):
    """A formatter returned a value of the wrong type."""


def format_display_data(obj, include=None, exclude=None):
    """(data, metadata) of a value."""
    from .getipython import get_ipython

    return get_ipython().display_formatter.format(obj, include, exclude)
