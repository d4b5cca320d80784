"""Adjustments of libraries that would not render as in a notebook, made when their module is imported."""

import types


def actions(notebook):
    """Module -> what to do once it is imported."""
    del notebook
    return {"plotly.io._base_renderers": _plotly}


def _plotly(module):
    # plotly refuses to display without nbformat, of which it uses only the version.
    if getattr(module, "nbformat", None) is None:
        module.nbformat = types.SimpleNamespace(__version__="5.10.0")
