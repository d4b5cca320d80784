"""The backend, as in matplotlib_inline.backend_inline."""

from uv_argo_figures import *  # type: ignore[import-not-found]  # noqa: F403 - the finder in guest/figures.py makes it

from .config import InlineBackend, figures


def set_matplotlib_formats(*formats, **kwargs):
    """Choose the formats of figures: "png", "svg", "retina", "jpeg", "pdf"; `kwargs` are for `print_figure`."""
    figures().show_as(formats, **kwargs)


def set_matplotlib_close(close=True):
    """Whether figures are closed once the cell has shown them."""
    InlineBackend.instance().close_figures = close


def flush_figures():
    """Show the remaining figures."""
    figures().flush()
