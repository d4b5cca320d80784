"""Adjustments of libraries that would not render as in a notebook, made when their module is imported."""

import types

from . import widgets


def actions(notebook):
    """Module -> what to do once it is imported."""
    return dict({"plotly.io._renderers": _plotly, "PIL.ImageShow": _pillow}, **widgets.Widgets(notebook).actions())


def _plotly(module):
    # plotly refuses to display without nbformat, of which it uses only the version.
    if getattr(module, "nbformat", None) is None:
        module.nbformat = types.SimpleNamespace(__version__="5.10.0")


def _pillow(module):
    # The programs of a desktop come first otherwise, and a cell has no desktop.
    viewer = getattr(module, "IPythonViewer", None)
    if viewer is not None:
        module.register(viewer, order=0)
