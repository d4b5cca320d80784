"""See IPython.utils.io."""

from .capture import CapturedIO, capture_output  # noqa: F401 - names for others
