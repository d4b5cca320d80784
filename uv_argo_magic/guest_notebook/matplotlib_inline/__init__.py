"""A replacement for matplotlib_inline if that is not installed: our backend and its settings."""

__version__ = "0.2.2"
version_info = (0, 2, 2)
