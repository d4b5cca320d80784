"""The class of the shell, for `isinstance` and for its settings."""

from . import getipython


class InteractiveShellABC:
    """The base of shells."""


class InteractiveShell(InteractiveShellABC):
    """A shell; the guest creates the only instance."""

    ast_node_interactivity = "last_expr"

    @classmethod
    def initialized(cls):
        """Whether there is a shell."""
        return getipython.get_ipython() is not None

    @classmethod
    def instance(cls, *_args, **_kwargs):
        """The shell."""
        return getipython.get_ipython()
