"""The shell of a terminal, for `isinstance`; the shell of a notebook has another class."""

from ..core.interactiveshell import InteractiveShell


class TerminalInteractiveShell(InteractiveShell):
    """The class of the shell in a terminal."""
