"""Adjustments of libraries that would not render as in a notebook, applied when their module is imported."""

import types

from . import widgets


def actions(notebook):
    """Module -> function to call when it is imported."""
    from . import is_installed

    found = {"plotly.io._renderers": _plotly, "PIL.ImageShow": _pillow}
    if not is_installed("matplotlib_inline"):
        notebook.figures.backend = "module://matplotlib_inline.backend_inline"
        found["matplotlib.backends.registry"] = _matplotlib
    return dict(found, **widgets.Widgets(notebook).actions())


def _matplotlib(module):
    # matplotlib finds backends by the metadata of installed packages, which our "inline" does not have.
    read = getattr(module.BackendRegistry, "_read_entry_points", None)
    if read is not None:
        inline = "inline", "matplotlib_inline.backend_inline"
        module.BackendRegistry._read_entry_points = lambda self: [*read(self), inline]


def _plotly(module):
    # plotly refuses to display without nbformat, of which it uses only the version.
    if getattr(module, "nbformat", None) is None:
        module.nbformat = types.SimpleNamespace(__version__="5.10.0")


def _pillow(module):
    # Otherwise programs of a desktop come first, which a cell does not have.
    viewer = getattr(module, "IPythonViewer", None)
    if viewer is not None:
        module.register(viewer, order=0)
