"""The module in which libraries look for a notebook's shell."""

from IPython.core.interactiveshell import InteractiveShell


class ZMQInteractiveShell(InteractiveShell):
    """The class of the shell in a notebook; the guest's own shell is one."""
