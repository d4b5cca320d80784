"""Figures of matplotlib as a notebook shows them: `plt.show()` in order with the prints, what is left at the end.

Rules:
- matplotlib is imported by the user's code or not at all; no environment variable is set, so child processes draw
  as they would without us.
- A backend that the user's environment names (MPLBACKEND) or the code chooses (`matplotlib.use`) stays.
- Same picture as a notebook's inline backend: PNG, the figure's own dpi and colours, tight, closed once shown.
"""

import importlib.machinery
import io
import os
import sys
import traceback

from . import import_hooks

BACKEND = "uv_argo_figures"
"""The name under which matplotlib imports the backend; no file has it."""


class Figures:
    """The backend, and what shows its figures through `displays`."""

    def __init__(self, displays):
        self._displays = displays
        self._drawn = False  # a figure was made, in interactive mode, since the last flush

    def install(self):
        # type: () -> None
        """Make the backend known, and chosen once matplotlib is imported."""
        self._displays.for_type("matplotlib.figure", "Figure", "image/png", png)
        sys.meta_path.append(self)
        if not os.environ.get("MPLBACKEND"):
            import_hooks.AfterImport({"matplotlib": _choose}).install()

    def flush(self):
        # type: () -> None
        """Show and close the figures that are left; what drawing them raises goes to stderr."""
        if not self._drawn:
            return
        self._drawn = False
        try:
            self.show(True)
        except Exception:  # noqa: BLE001 - the user's figure
            traceback.print_exc()

    # The import protocol: a finder and the loader of one module.

    def find_spec(self, name, _path=None, _target=None):
        """The backend's specification, for its name only."""
        return importlib.machinery.ModuleSpec(name, self) if name == BACKEND else None  # type: ignore[arg-type]

    def create_module(self, _spec):
        """An ordinary module object will do."""
        return

    def exec_module(self, module):
        """Fill the module with what matplotlib asks of a backend."""
        import matplotlib as mpl
        from matplotlib.backends.backend_agg import FigureCanvasAgg

        module.FigureCanvas = FigureCanvasAgg
        module.new_figure_manager = self.new_figure_manager
        module.new_figure_manager_given_figure = self.new_figure_manager_given_figure
        module.show = self.show
        mpl.interactive(True)

    # The backend protocol.

    def new_figure_manager(self, num, *args, FigureClass=None, **kwargs):  # noqa: N803
        """A new figure with its manager."""
        from matplotlib.figure import Figure

        figure = (FigureClass or Figure)(*args, **kwargs)
        return self.new_figure_manager_given_figure(num, figure)

    def new_figure_manager_given_figure(self, num, figure):
        """A manager for an existing figure."""
        import matplotlib as mpl
        from matplotlib.backends import backend_agg

        if not hasattr(figure, "show"):
            figure.show = lambda *_args: self._display(figure)
        manager = backend_agg.new_figure_manager_given_figure(num, figure)
        if mpl.is_interactive():
            self._drawn = True
        return manager

    def show(self, close=True, block=None):  # noqa: ARG002 - a protocol
        """Show all open figures, and close them."""
        from matplotlib._pylab_helpers import Gcf

        try:
            for manager in Gcf.get_all_fig_managers():
                self._display(manager.canvas.figure)
        finally:
            if close in (None, True) and Gcf.get_all_fig_managers():
                import matplotlib.pyplot as plt

                plt.close("all")

    def _display(self, figure):
        self._displays.display(figure, metadata=_background(figure))


def _choose(matplotlib):
    matplotlib.rcParams["backend"] = "module://" + BACKEND


def png(figure):
    """The figure as PNG bytes; None for one without anything on it."""
    if not figure.axes and not figure.lines:
        return None
    if figure.canvas is None:
        from matplotlib.backend_bases import FigureCanvasBase

        FigureCanvasBase(figure)
    picture = io.BytesIO()
    figure.canvas.print_figure(
        picture,
        format="png",
        dpi=figure.dpi,
        facecolor=figure.get_facecolor(),
        edgecolor=figure.get_edgecolor(),
        bbox_inches="tight",
    )
    return picture.getvalue()


def _background(figure):
    """For a see-through figure whose labels are all light, or all dark: which background it needs to be read."""
    from matplotlib import colors

    if colors.to_rgba(figure.get_facecolor())[3] >= 0.5:
        return None
    axes = [axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)]
    labels = [label.get_color() for axis in axes for label in axis.get_ticklabels()]
    # The weights are those of ITU-R BT.601 for how bright a colour looks.
    shades = [colors.to_rgba(label) for label in labels]
    light = {0.299 * red + 0.587 * green + 0.114 * blue > 0.5 for red, green, blue, _ in shades}
    return {"needs_background": "dark" if light.pop() else "light"} if len(light) == 1 else None
