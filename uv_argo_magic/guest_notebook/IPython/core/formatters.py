"""Formatters by MIME type; libraries register their functions with those of the shell."""


class BaseFormatter:
    """A formatter for another MIME type: a subclass names it in `format_type`, its method in `print_method`."""

    format_type = "text/plain"
    print_method = ""
    enabled = True
    _return_type = (str,)

    def __init__(self, parent=None, **_kwargs):
        self.parent = parent
        self.type_printers = {}
        self.deferred_printers = {}

    def for_type(self, typ, func=None):
        before = self.type_printers.get(typ)
        if func is not None:
            self.type_printers[typ] = func
        return before

    def for_type_by_name(self, type_module, type_name, func=None):
        before = self.deferred_printers.get((type_module, type_name))
        if func is not None:
            self.deferred_printers[type_module, type_name] = func
        return before

    def lookup(self, obj):
        for cls in type(obj).__mro__:
            function = self.type_printers.get(cls) or self.deferred_printers.get((cls.__module__, cls.__name__))
            if function is not None:
                return function
        raise KeyError(type(obj))


class PlainTextFormatter(BaseFormatter):
    pass


class DisplayFormatter:
    """The class of the shell's `display_formatter`."""


class FormatterWarning(UserWarning):
    """A formatter returned something of the wrong type."""


def format_display_data(obj, include=None, exclude=None):
    """(data, metadata) of a value."""
    from .getipython import get_ipython

    return get_ipython().display_formatter.format(obj, include, exclude)
