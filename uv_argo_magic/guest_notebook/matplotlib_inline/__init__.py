"""What matplotlib_inline is to a notebook's code, where it is not installed: our backend and its settings."""

__version__ = "0.2.2"
version_info = (0, 2, 2)
