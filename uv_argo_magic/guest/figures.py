"""Show figures of matplotlib like a notebook: `plt.show()` in order with printed text, other figures at the end.

Rules:
- Only the user's code imports matplotlib. No environment variable is set, so that child processes are not affected.
- A backend selected by the user's environment (MPLBACKEND) or code (`matplotlib.use`) is kept.
- Pictures and settings are those of a notebook's inline backend: PNG, the figure's own dpi and colours, tight, closed
  once shown.
"""

import functools
import importlib.machinery
import io
import os
import struct
import sys
import traceback

from . import import_hooks

BACKEND = "uv_argo_figures"
"""The module name by which matplotlib imports the backend; there is no such file."""
MIMES = {
    "png": "image/png", "png2x": "image/png", "retina": "image/png", "jpg": "image/jpeg", "jpeg": "image/jpeg",
    "svg": "image/svg+xml", "pdf": "application/pdf",
}  # fmt: skip
"""IPython's name of a format -> MIME type."""


class Settings:
    """The settings of a notebook's inline backend."""

    def __init__(self):
        self.close_figures = True
        self.figure_format = ""
        self.figure_formats = {"png"}
        self.print_figure_kwargs = {"bbox_inches": "tight"}
        self.rc = {}


class Figures:
    """The backend, which shows its figures with `displays`."""

    def __init__(self, displays):
        self._displays = displays
        self._new = []  # figures created in interactive mode and not shown yet
        self.settings = Settings()
        self.backend = "module://" + BACKEND
        """The name of the backend for the user's code."""

    def install(self):
        # type: () -> None
        """Make the backend importable, and select it once matplotlib is imported."""
        self.show_as({"png"})
        sys.meta_path.append(self)
        if not os.environ.get("MPLBACKEND"):
            import_hooks.AfterImport({"matplotlib": self._choose}).install()

    def flush(self):
        # type: () -> None
        """Show and close the remaining figures; print errors to stderr."""
        if not self._new:
            return
        try:
            if self.settings.close_figures:
                self.show()
                return
            left, self._new = self._new, []
            for figure in _open_figures():
                if figure in left:
                    self._display(figure)
        except Exception:  # noqa: BLE001 - the user's figure
            traceback.print_exc()

    def use(self, name):
        """Choose how figures are shown, by the name of a backend: "inline", or "agg" for not at all.

        Returns whether the backend is supported; any other backend is treated as inline.
        """
        import matplotlib as mpl

        mpl.use("agg" if name == "agg" else self.backend)
        return name in ("agg", "inline", "auto", self.backend)

    def configure(self, name, value):
        """Change a setting; raises AttributeError if it is unknown."""
        getattr(self.settings, name)
        setattr(self.settings, name, value)
        if name in ("figure_format", "figure_formats", "print_figure_kwargs"):
            if name == "figure_format":
                self.settings.figure_formats = {value}
            self.show_as(self.settings.figure_formats)
        elif name == "rc" and "matplotlib" in sys.modules:
            sys.modules["matplotlib"].rcParams.update(value)

    def show_as(self, formats, **kwargs):
        """Choose the formats of figures; `kwargs` are passed to `print_figure`."""
        formats = [formats] if isinstance(formats, str) else list(formats)
        unknown = [name for name in formats if name not in MIMES]
        if unknown:
            raise ValueError("supported formats are: %s not %s" % (", ".join(sorted(MIMES)), ", ".join(unknown)))
        for formatter in self._displays.formatters.values():
            formatter.pop("matplotlib.figure.Figure", None)
        for name in formats:
            options = dict(self.settings.print_figure_kwargs, **kwargs)
            function = functools.partial(picture, kind=name, **options)
            self._displays.formatters[MIMES[name]].for_type_by_name("matplotlib.figure", "Figure", function)

    def _choose(self, matplotlib):
        matplotlib.rcParams["backend"] = self.backend
        matplotlib.rcParams.update(self.settings.rc)

    # The import protocol: a finder and the loader of one module.

    def find_spec(self, name, _path=None, _target=None):
        """The backend's specification, for its name only."""
        return importlib.machinery.ModuleSpec(name, self) if name == BACKEND else None  # type: ignore[arg-type]

    def create_module(self, _spec):
        """Use the default module object."""
        return

    def exec_module(self, module):
        """Add the attributes that matplotlib expects of a backend."""
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
            self._new.append(figure)
        return manager

    def show(self, close=None, block=None):  # noqa: ARG002 - matplotlib's signature
        """Show all open figures, and close them unless the settings keep them."""
        try:
            for figure in _open_figures():
                self._display(figure)
        finally:
            self._new = []
            if (self.settings.close_figures if close is None else close) and _open_figures():
                import matplotlib.pyplot as plt

                plt.close("all")

    def _display(self, figure):
        self._displays.display(figure, metadata=_background(figure))


def _open_figures():
    from matplotlib._pylab_helpers import Gcf

    return [manager.canvas.figure for manager in Gcf.get_all_fig_managers()]


def picture(figure, kind="png", **options):
    """The figure in one format: bytes, or text for SVG, with metadata if retina; None for an empty figure."""
    if not figure.axes and not figure.lines:
        return None
    double = kind in ("retina", "png2x")
    if figure.canvas is None:
        from matplotlib.backend_bases import FigureCanvasBase

        FigureCanvasBase(figure)
    out = io.BytesIO()
    fields = {
        "format": "png" if double else kind,
        "dpi": figure.dpi * 2 if double else figure.dpi,
        "facecolor": figure.get_facecolor(),
        "edgecolor": figure.get_edgecolor(),
    }
    figure.canvas.print_figure(out, **dict(fields, **options))
    data = out.getvalue()
    if kind == "svg":
        return data.decode("utf-8")
    if double:
        width, height = struct.unpack(">II", data[16:24])
        return data, {"width": width // 2, "height": height // 2}
    return data


def _background(figure):
    """The background on which a transparent figure is readable, if its labels are all light or all dark."""
    from matplotlib import colors

    if colors.to_rgba(figure.get_facecolor())[3] >= 0.5:
        return None
    axes = [axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)]
    labels = [label.get_color() for axis in axes for label in axis.get_ticklabels()]
    # The weights of ITU-R BT.601 for the perceived brightness of a colour.
    shades = [colors.to_rgba(label) for label in labels]
    light = {0.299 * red + 0.587 * green + 0.114 * blue > 0.5 for red, green, blue, _ in shades}
    return {"needs_background": "dark" if light.pop() else "light"} if len(light) == 1 else None
