"""Show widgets without a front end: as HTML and text, redrawn when their state changes.

Rules:
- The view of a widget is never sent, because it refers to a model in the cell's process, and could not be shown.
- The output captured by an Output widget is part of the widget.
"""

import base64
import html
import io
import json
import re
import sys
import time
import traceback

VIEW = "application/vnd.jupyter.widget-view+json"
NOTE = (
    "Widgets cannot be operated, because the front end has no connection to the cell; they are shown as HTML and text. "
    "Use --push for values that the cell needs."
)
REDRAW_SECONDS = 0.2


class Widgets:
    """The widgets that the cell displays."""

    def __init__(self, notebook):
        self._notebook = notebook
        self._displays = notebook.displays
        self._views = {}  # display id -> _View
        self._noted = False
        self._drawing = False
        self._drawn_at = 0.0
        self._displays.filters.append(self._show)
        notebook.interpreter.at_end.append(self.redraw)

    def actions(self):
        """Module -> function to call when it is imported."""
        return {"comm": self._comm, "ipywidgets.widgets.widget_output": self._output}

    def _show(self, data, metadata, display_id):
        """The display with the widget's HTML and text instead of its view."""
        if VIEW not in data:
            return data, metadata, display_id
        data = dict(data)
        model = data.pop(VIEW).get("model_id")
        widget = _widget(model)
        if not self._noted:
            self._noted = True
            self._notebook.interpreter.out.emit("note", text=NOTE)
        if widget is None:
            return data, metadata, display_id
        view = _View(widget)
        if display_id is not None:
            display_id = display_id or "widget-%s-%d" % (model, len(self._views))
            self._views[display_id] = view
        return dict(data, **view.draw()), metadata, display_id

    def changed(self, model):
        """Redraw the displays of this model, unless this was just done; all are redrawn at the end of the cell."""
        for view in list(self._views.values()):
            view.is_old = view.is_old or model in view.models
        if time.monotonic() - self._drawn_at > REDRAW_SECONDS:
            self.redraw()

    def redraw(self):
        """Draw all widgets whose state has changed."""
        if self._drawing:
            return
        self._drawing = True
        try:
            for display_id, view in list(self._views.items()):
                if view.is_old:
                    before, data = view.drawn, view.draw()
                    if data != before:
                        self._displays.emit("display", data=data, metadata={}, display_id=display_id, update=True)
        except Exception:  # noqa: BLE001 - the user's or a library's widget
            traceback.print_exc()
        finally:
            self._drawing = False
            self._drawn_at = time.monotonic()

    def _comm(self, module):
        """Receive changes of a widget's state, instead of a front end."""
        changed = self.changed

        class Comm(module.BaseComm):
            def publish_msg(self, msg_type, *_args, **_kwargs):
                if msg_type != "comm_open":
                    changed(self.comm_id)

        def create_comm(*args, **kwargs):
            return Comm(*args, **kwargs)

        module.create_comm = create_comm

    def _output(self, module):
        """Make Output widgets capture output, which the front end does for a kernel."""
        notebook = self._notebook
        contexts = []
        cleared = set()  # model ids: `clear_output(wait=True)` enters the widget once more

        def enter(widget):
            context = _Captured(widget, notebook, cleared)
            contexts.append(context)
            context.begin()
            return widget

        def leave(_widget, kind, error, trace):
            if kind is not None and issubclass(kind, Exception):
                traceback.print_exception(kind, error, trace)
            contexts.pop().end()
            return kind is not None and issubclass(kind, Exception)

        module.Output.__enter__ = enter
        module.Output.__exit__ = leave


class _View:
    """A displayed widget: its last drawing, and its models."""

    def __init__(self, widget):
        self.widget = widget
        self.drawn = {}
        self.models = set()
        self.is_old = False

    def draw(self):
        """The current MIME bundle of the widget."""
        self.is_old = False
        self.models = {self.widget.model_id}
        self.drawn = {"text/plain": _text(self.widget)}
        try:
            if hasattr(self.widget, "to_plotly_json"):
                self.drawn["application/vnd.plotly.v1+json"] = json.loads(self.widget.to_json())
            else:
                self.drawn["text/html"] = self._html(self.widget)
        except Exception:  # noqa: BLE001 - a library's widget can raise anything; show its text
            traceback.print_exc()
        return self.drawn

    def _html(self, widget):
        self.models.add(widget.model_id)
        layout = getattr(widget, "layout", None)
        if hasattr(layout, "model_id"):
            self.models.add(layout.model_id)
            if layout.display == "none" or layout.visibility == "hidden":
                return ""
        if widget.comm is None:  # closed
            return ""
        name = type(widget).__name__
        children = getattr(widget, "children", None)
        if children is not None:
            shape = "row" if any(cls.__name__ == "HBox" for cls in type(widget).__mro__) else "column"
            inner = "".join(self._html(child) for child in children)
            return '<div style="display:flex;flex-direction:%s;gap:4px">%s</div>' % (shape, inner)
        if hasattr(widget, "outputs"):
            return "".join(map(_output_html, widget.outputs))
        description = html.escape(str(getattr(widget, "description", "") or ""))
        value = getattr(widget, "value", None)
        if name in ("HTML", "HTMLMath"):
            return "<div>%s %s</div>" % (description, value)
        if name == "Image" and isinstance(value, bytes):
            return '<img src="data:image/%s;base64,%s">' % (widget.format, base64.b64encode(value).decode())
        if hasattr(widget, "bar_style") and hasattr(widget, "max"):
            inner = '<progress value="%s" max="%s"></progress>' % (float(value) - float(widget.min or 0), widget.max)
        elif value is None:
            inner = "<code>%s</code>" % html.escape(_text(widget)) if not description else ""
        else:
            inner = html.escape(str(value))
        return "<div>%s %s</div>" % (description, inner)


class _Captured:
    """The capture of printed text and displays by an Output widget.

    `cleared` has the widgets whose outputs are removed when there is new output.
    """

    def __init__(self, widget, notebook, cleared):
        self._widget = widget
        self._notebook = notebook
        self._cleared = cleared

    def begin(self):
        """Start capturing the streams and displays."""
        displays = self._notebook.displays
        self._before = sys.stdout, sys.stderr, displays.emit
        sys.stdout, sys.stderr = _Stream(self, "stdout"), _Stream(self, "stderr")
        displays.emit = self._emit

    def end(self):
        """Stop capturing, after showing the remaining figures."""
        self._notebook.figures.flush()
        sys.stdout, sys.stderr, self._notebook.displays.emit = self._before

    def add(self, output):
        """Add an output to the widget."""
        outputs = () if self._widget.model_id in self._cleared else self._widget.outputs
        self._cleared.discard(self._widget.model_id)
        last = outputs[-1] if outputs else {}
        if output["output_type"] == "stream" and last.get("name") == output["name"]:
            output = dict(output, text=last["text"] + output["text"])
            outputs = outputs[:-1]
        self._widget.outputs = (*outputs, output)

    def _emit(self, kind, data=None, metadata=None, display_id="", update=False, wait=False):
        if kind == "clear":
            if wait:
                self._cleared.add(self._widget.model_id)
            else:
                self._cleared.discard(self._widget.model_id)
                self._widget.outputs = ()
            return
        if update:
            self._widget.outputs = tuple(
                dict(output, data=data) if output.get("id") == display_id else output for output in self._widget.outputs
            )
            return
        self.add({"output_type": "display_data", "data": data, "metadata": metadata, "id": display_id})


class _Stream(io.TextIOBase):
    def __init__(self, captured, name):
        self._captured = captured
        self.name = name

    def writable(self):
        return True

    def write(self, text):
        if text:
            self._captured.add({"output_type": "stream", "name": self.name, "text": text})
        return len(text)


def _widget(model):
    module = sys.modules.get("ipywidgets.widgets.widget")
    instances = getattr(module, "_instances", None) or getattr(getattr(module, "Widget", None), "widgets", {})
    return instances.get(model)


def _text(widget):
    try:
        if hasattr(widget, "outputs"):
            return "".join(
                output.get("text") or output["data"].get("text/plain", "") + "\n" for output in widget.outputs
            )
        return repr(widget)
    except Exception:  # noqa: BLE001 - the user's or a library's widget
        return "<%s>" % type(widget).__name__


def _output_html(output):
    if output["output_type"] == "stream":
        return "<pre>%s</pre>" % html.escape(re.sub(r"\x1b\[[\d;]*m", "", output["text"]))
    data = output["data"]
    for mime in ("text/html", "image/svg+xml"):
        if mime in data:
            return data[mime]
    for mime in ("image/png", "image/jpeg"):
        if mime in data:
            return '<img src="data:%s;base64,%s">' % (mime, data[mime])
    return "<pre>%s</pre>" % html.escape(str(data.get("text/plain", "")))
