"""Helpers for matplotlib, as in IPython.core.pylabtools."""

backends = {"inline": "module://matplotlib_inline.backend_inline", "agg": "agg"}
backend2gui = {}  # type: dict


def select_figure_formats(shell, formats, **kwargs):
    """Choose the formats of matplotlib's figures."""
    from matplotlib_inline import backend_inline

    del shell
    backend_inline.set_matplotlib_formats(*([formats] if isinstance(formats, str) else formats), **kwargs)


def figsize(sizex, sizey):
    """Set the size of figures, in inches."""
    import matplotlib as mpl

    mpl.rcParams["figure.figsize"] = [sizex, sizey]


def getfigs(*numbers):
    """The open figures, or those with these numbers."""
    from matplotlib._pylab_helpers import Gcf

    managers = Gcf.get_all_fig_managers()
    return [manager.canvas.figure for manager in managers if not numbers or manager.num in numbers]
