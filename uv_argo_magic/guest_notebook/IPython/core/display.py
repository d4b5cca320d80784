"""Objects that display a text, picture or script, as in IPython.core.display."""

import base64
import copy
import html
import json
import mimetypes
import os
import struct
import warnings

from . import display_functions
from .display_functions import DisplayHandle, clear_output, publish_display_data, update_display

__all__ = [
    "HTML", "JSON", "SVG", "DisplayHandle", "DisplayObject", "GeoJSON", "Image", "Javascript", "Latex", "Markdown",
    "Math", "Pretty", "ProgressBar", "TextDisplayObject", "Video", "clear_output", "display_html",
    "display_javascript", "display_jpeg", "display_json", "display_latex", "display_markdown", "display_pdf",
    "display_png", "display_pretty", "display_svg", "display_webp", "publish_display_data", "update_display",
]  # fmt: skip


def display(*objs, **kwargs):
    """Show values."""
    return display_functions.display(*objs, **kwargs)


def _display_of(mime):
    def show(*objs, raw=False, metadata=None, **kwargs):
        if metadata:
            metadata = {mime: metadata}
        if raw:
            objs = [{mime: obj} for obj in objs]
        return display_functions.display(*objs, raw=raw, metadata=metadata, include=[mime, "text/plain"], **kwargs)

    return show


display_pretty = _display_of("text/plain")
display_html = _display_of("text/html")
display_markdown = _display_of("text/markdown")
display_svg = _display_of("image/svg+xml")
display_png = _display_of("image/png")
display_jpeg = _display_of("image/jpeg")
display_webp = _display_of("image/webp")
display_latex = _display_of("text/latex")
display_json = _display_of("application/json")
display_javascript = _display_of("application/javascript")
display_pdf = _display_of("application/pdf")


def _is_file(text):
    try:
        return os.path.exists(text)
    except (OSError, ValueError):
        return False


def _download(url):
    """The content of a URL: text if the response has a character set, else bytes."""
    from urllib.request import urlopen

    with urlopen(url) as response:  # noqa: S310 - the user's URL
        data, charset = response.read(), response.headers.get_content_charset()
    return data.decode(charset, "replace") if charset else data


class DisplayObject:
    """An object that displays data: given as such, in a file, or at a URL."""

    _read_flags = "r"
    metadata = None

    def __init__(self, data=None, url=None, filename=None, metadata=None):
        if isinstance(data, os.PathLike):
            data = os.fspath(data)
        if isinstance(data, str):
            if data.startswith("http") and url is None:
                data, url, filename = None, data, None
            elif filename is None and _is_file(data):
                data, url, filename = None, None, data
        self.url, self.filename, self.data = url, filename, data
        if metadata is not None or self.metadata is None:
            self.metadata = metadata or {}
        self.reload()
        self._check_data()

    def __repr__(self):
        return "<%s.%s object>" % (type(self).__module__, type(self).__name__)

    def _check_data(self):
        pass

    def _data_and_metadata(self):
        return (self.data, copy.deepcopy(self.metadata)) if self.metadata else self.data

    def reload(self):
        """Read the file or the URL again."""
        if self.filename is not None:
            with open(self.filename, self._read_flags, encoding=None if "b" in self._read_flags else "utf-8") as file:
                self.data = file.read()
        elif self.url is not None:
            self.data = _download(self.url)


class TextDisplayObject(DisplayObject):
    """An object that displays text."""

    def _check_data(self):
        if self.data is not None and not isinstance(self.data, str):
            raise TypeError("%s expects text, not %r" % (type(self).__name__, self.data))


class Pretty(TextDisplayObject):
    def _repr_pretty_(self, printer, _cycle):
        return printer.text(self.data)


class HTML(TextDisplayObject):
    def __init__(self, data=None, url=None, filename=None, metadata=None):
        text = data.lower() if isinstance(data, str) else ""
        if text.startswith("<iframe ") and text.endswith("</iframe>"):
            warnings.warn("Consider using IPython.display.IFrame instead", stacklevel=2)
        DisplayObject.__init__(self, data=data, url=url, filename=filename, metadata=metadata)

    def _repr_html_(self):
        return self._data_and_metadata()

    def __html__(self):
        return self._repr_html_()


class Markdown(TextDisplayObject):
    def _repr_markdown_(self):
        return self._data_and_metadata()


class Math(TextDisplayObject):
    def _repr_latex_(self):
        text = r"$\displaystyle %s$" % self.data.strip("$")
        return (text, copy.deepcopy(self.metadata)) if self.metadata else text


class Latex(TextDisplayObject):
    def _repr_latex_(self):
        return self._data_and_metadata()


class SVG(DisplayObject):
    _read_flags = "rb"
    _data = None

    @property
    def data(self):
        return self._data

    @data.setter
    def data(self, svg):
        if svg is not None:
            from xml.dom import minidom

            found = minidom.parseString(svg).getElementsByTagName("svg")  # noqa: S318 - the user's picture
            svg = found[0].toxml() if found else svg
            svg = svg.decode(errors="replace") if isinstance(svg, bytes) else svg
        self._data = svg

    def _repr_svg_(self):
        return self._data_and_metadata()


class ProgressBar(DisplayObject):
    """A bar that is redrawn when `progress` is set; as an iterator, it counts."""

    def __init__(self, total):
        self.total = total
        self._progress = 0
        self.html_width = "60ex"
        self.text_width = 60
        self._display_id = DisplayHandle().display_id

    def __repr__(self):
        filled = "=" * int((self.progress / self.total if self.total else 0) * self.text_width)
        return "[%s] %s/%s" % (filled.ljust(self.text_width), self.progress, self.total)

    def _repr_html_(self):
        return "<progress style='width:%s' max='%s' value='%s'></progress>" % (
            self.html_width, self.total, self.progress,
        )  # fmt: skip

    def display(self):
        display_functions.display(self, display_id=self._display_id)

    def update(self):
        display_functions.display(self, display_id=self._display_id, update=True)

    @property
    def progress(self):
        return self._progress

    @progress.setter
    def progress(self, value):
        self._progress = value
        self.update()

    def __iter__(self):
        self.display()
        self._progress = -1
        return self

    def __next__(self):
        self.progress += 1
        if self.progress < self.total:
            return self.progress
        raise StopIteration


class JSON(DisplayObject):
    """A dict or list that displays as a tree."""

    _data = None

    def __init__(self, data=None, url=None, filename=None, expanded=False, metadata=None, root="root", **kwargs):
        self.metadata = dict({"expanded": expanded, "root": root}, **(metadata or {}), **kwargs)
        DisplayObject.__init__(self, data=data, url=url, filename=filename)

    def _check_data(self):
        if self.data is not None and not isinstance(self.data, (dict, list)):
            raise TypeError("%s expects JSONable dict or list, not %r" % (type(self).__name__, self.data))

    @property
    def data(self):
        return self._data

    @data.setter
    def data(self, data):
        if isinstance(data, (str, bytes)):
            if self.filename is None and self.url is None:
                warnings.warn("JSON expects JSONable dict or list, not JSON strings", stacklevel=3)
            data = json.loads(data)
        self._data = data

    def _data_and_metadata(self):
        return self.data, self.metadata

    def _repr_json_(self):
        return self._data_and_metadata()


class GeoJSON(JSON):
    def _ipython_display_(self):
        bundle = {"application/geo+json": self.data, "text/plain": "<IPython.display.GeoJSON object>"}
        display_functions.display(bundle, metadata={"application/geo+json": self.metadata}, raw=True)


_CSS = """var link = document.createElement("link");
	link.rel = "stylesheet";
	link.type = "text/css";
	link.href = "%s";
	document.head.appendChild(link);
"""
_LIBRARY = """new Promise(function(resolve, reject) {
	var script = document.createElement("script");
	script.onload = resolve;
	script.onerror = reject;
	script.src = "%s";
	document.head.appendChild(script);
}).then(() => {
"""


class Javascript(TextDisplayObject):
    """A script; `lib` and `css` are URLs that are loaded before it."""

    def __init__(self, data=None, url=None, filename=None, lib=None, css=None):
        self.lib = [lib] if isinstance(lib, str) else lib or []
        self.css = [css] if isinstance(css, str) else css or []
        for addresses in (self.lib, self.css):
            if not isinstance(addresses, (list, tuple)):
                raise TypeError("expected sequence, got: %r" % (addresses,))
        DisplayObject.__init__(self, data=data, url=url, filename=filename)

    def _repr_javascript_(self):
        text = "".join(_CSS % address for address in self.css) + "".join(_LIBRARY % address for address in self.lib)
        return text + self.data + "\n});" * len(self.lib)


def _size(data, kind):
    """(width, height) of a picture."""
    if kind == "png":
        return struct.unpack(">ii", data[16:24])
    if kind == "gif":
        return struct.unpack("<HH", data[6:10])
    at = 4
    while at < len(data) - 9:  # JPEG: go from block to block
        at += struct.unpack(">H", data[at : at + 2])[0]
        if data[at : at + 2] in (b"\xff\xc0", b"\xff\xc2"):
            return struct.unpack(">HH", data[at + 5 : at + 9])[::-1]
        at += 2
    raise ValueError("the size of this picture is unknown")


_KINDS = ((b"\x89PNG\r\n\x1a\n", "png"), (b"\xff\xd8", "jpeg"), (b"GIF87a", "gif"), (b"GIF89a", "gif"))


def _kind(data):
    for start, kind in _KINDS:
        if data.startswith(start):
            return kind
    return "webp" if data[:4] == b"RIFF" and data[8:12] == b"WEBP" else None


class Image(DisplayObject):
    """A picture: embedded, or a link to its URL."""

    _read_flags = "rb"
    _ACCEPTABLE_EMBEDDINGS = ("png", "jpeg", "gif", "webp")

    def __init__(
        self, data=None, url=None, filename=None, format=None, embed=None, width=None,
        height=None, retina=False, unconfined=False, metadata=None, alt=None,
    ):  # fmt: skip
        if isinstance(data, os.PathLike):
            data = os.fspath(data)
        name = filename or url or (data if isinstance(data, str) else "") or ""
        if format is None:
            format = _kind(data) if isinstance(data, bytes) else None
            format = format or os.path.splitext(str(name))[1][1:].lower() or "png"
        self.format = {"jpg": "jpeg"}.get(format.lower(), format.lower())
        self.embed = embed if embed is not None else url is None
        if self.embed and self.format not in self._ACCEPTABLE_EMBEDDINGS:
            raise ValueError("Cannot embed the '%s' image format" % self.format)
        self._mimetype = "image/" + self.format
        self.width, self.height, self.retina = width, height, retina
        self.unconfined, self.alt = unconfined, alt
        DisplayObject.__init__(self, data=data, url=url, filename=filename, metadata=metadata)
        if retina and self.embed and isinstance(self.data, bytes) and self.format in ("png", "jpeg", "gif"):
            across, down = _size(self.data, self.format)
            self.width, self.height = across // 2, down // 2

    def reload(self):
        if self.embed:
            DisplayObject.reload(self)

    def _repr_mimebundle_(self, include=None, exclude=None):
        del include, exclude
        if not self.embed:
            return {"text/html": self._repr_html_()}
        data, metadata = self._data_and_metadata(always_both=True)
        return {self._mimetype: data}, {self._mimetype: metadata} if metadata else metadata

    def _data_and_metadata(self, always_both=False):
        try:
            data = base64.b64encode(self.data).decode("ascii")
        except TypeError as problem:
            raise FileNotFoundError("No such file or directory: '%s'" % (self.data,)) from problem
        values = {"width": self.width, "height": self.height, "unconfined": self.unconfined, "alt": self.alt}
        metadata = dict(self.metadata or {}, **{name: value for name, value in values.items() if value})
        return (data, metadata) if metadata or always_both else data

    def _repr_html_(self):
        if self.embed:
            return None
        width = ' width="%d"' % self.width if self.width else ""
        height = ' height="%d"' % self.height if self.height else ""
        kind = ' class="unconfined"' if self.unconfined else ""
        alt = ' alt="%s"' % html.escape(self.alt) if self.alt else ""
        source = html.escape(self.url or self.filename or "")
        return '<img src="%s"%s%s%s%s/>' % (source, width, height, kind, alt)

    def _repr_png_(self):
        return self._data_and_metadata() if self.embed and self.format == "png" else None

    def _repr_jpeg_(self):
        return self._data_and_metadata() if self.embed and self.format == "jpeg" else None


class Video(DisplayObject):
    """A video: embedded, or a link to its URL."""

    def __init__(
        self, data=None, url=None, filename=None, embed=False, mimetype=None, width=None, height=None,
        html_attributes="controls",
    ):  # fmt: skip
        if isinstance(data, os.PathLike):
            data = os.fspath(data)
        if url is None and isinstance(data, str) and data.startswith(("http:", "https:")):
            data, url = None, data
        elif isinstance(data, str) and _is_file(data):
            data, filename = None, data
        if data and not embed:
            raise ValueError(
                "To embed videos, you must pass embed=True (this may make your notebook files huge)\n"
                "Consider passing Video(url='...')"
            )
        self.mimetype, self.embed, self.width, self.height = mimetype, embed, width, height
        self.html_attributes = html_attributes
        DisplayObject.__init__(self, data=data, url=url, filename=filename)

    def reload(self):
        pass

    def _repr_html_(self):
        width = ' width="%d"' % self.width if self.width else ""
        height = ' height="%d"' % self.height if self.height else ""
        if not self.embed:
            address = html.escape(self.url if self.url is not None else self.filename or "")
            return """<video src="%s" %s %s %s>
      Your browser does not support the <code>video</code> element.
    </video>""" % (address, self.html_attributes, width, height)
        mimetype, film = self.mimetype, self.data
        if self.filename is not None:
            mimetype = mimetype or mimetypes.guess_type(self.filename)[0]
            with open(self.filename, "rb") as file:
                film = file.read()
        film = film if isinstance(film, str) else base64.b64encode(film).decode("ascii")
        return """<video %s %s %s>
 <source src="data:%s;base64,%s" type="%s">
 Your browser does not support the video tag.
 </video>""" % (self.html_attributes, width, height, mimetype, film, mimetype)


def set_matplotlib_formats(*formats, **kwargs):
    """Choose the formats of matplotlib's figures: "png", "svg", "retina", "jpeg", "pdf"."""
    from matplotlib_inline import backend_inline

    backend_inline.set_matplotlib_formats(*formats, **kwargs)


def set_matplotlib_close(close=True):
    """Whether figures are closed once the cell has shown them."""
    from matplotlib_inline import backend_inline

    backend_inline.set_matplotlib_close(close)
