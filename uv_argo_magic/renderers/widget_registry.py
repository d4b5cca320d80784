"""Create the widgets of one view, so that all of them can be closed, with their layouts and styles."""

from __future__ import annotations

from typing import Any


class WidgetRegistry:
    """Creates and closes ipywidgets; widgets that were created elsewhere must be added with `add`."""

    def __init__(self) -> None:
        import ipywidgets  # noqa: PLC0415 - 38 ms, and only panels with widgets need it

        self.ipywidgets = ipywidgets
        self._open: list[Any] = []

    def create(self, kind: str, *args: object, css: str = "", **traits: object) -> Any:
        """A widget of this ipywidgets class, with the CSS classes in `css`."""
        widget = getattr(self.ipywidgets, kind)(*args, **traits)
        for name in css.split():
            widget.add_class(name)
        return self.add(widget)

    def html(self, value: str = "", css: str = "", **layout: str) -> Any:
        """An HTML widget without a margin."""
        return self.create("HTML", value, css=css, layout=self.ipywidgets.Layout(**{"margin": "0", **layout}))

    def add(self, widget: Any) -> Any:
        """Close this widget with the others."""
        self._open.append(widget)
        return widget

    def close(self, *widgets: Any) -> None:
        """Remove these widgets (default: all) from the kernel and the browser."""
        closing = widgets or tuple(self._open)
        self._open = [widget for widget in self._open if widget not in closing]
        for widget in closing:
            for part in ("layout", "style"):
                if hasattr(widget, part):
                    getattr(widget, part).close()
            widget.close()

    def close_all_but(self, *exceptions: Any) -> None:
        """Remove all other widgets."""
        others = [widget for widget in self._open if widget not in exceptions]
        if others:
            self.close(*others)
