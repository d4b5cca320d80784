"""Sound, frames, links to files and source code, as in IPython.lib.display."""

import base64
import html
import io
import mimetypes
import os
import urllib.parse
import wave

from ..core.display import DisplayObject, TextDisplayObject

__all__ = ["Audio", "Code", "FileLink", "FileLinks", "IFrame", "ScribdDocument", "VimeoVideo", "YouTubeVideo"]


class Audio(DisplayObject):
    """Sound: samples (normalized, or between -1 and 1), a file, or a URL."""

    _read_flags = "rb"

    def __init__(
        self, data=None, filename=None, url=None, embed=None, rate=None, autoplay=False, normalize=True, *,
        element_id=None,
    ):  # fmt: skip
        if filename is None and url is None and data is None:
            raise ValueError("No audio data found. Expecting filename, url, or data.")
        if embed is False and url is None:
            raise ValueError("No url found. Expecting url when embed=False")
        self.embed = url is None or embed is True
        self.autoplay, self.element_id = autoplay, element_id
        DisplayObject.__init__(self, data=data, url=url, filename=filename)
        if self.data is not None and not isinstance(self.data, bytes):
            if rate is None:
                raise ValueError("rate must be specified when data is a numpy array or list of audio samples.")
            self.data = _wav(data, rate, normalize)

    def reload(self):
        if self.embed:
            DisplayObject.reload(self)
        name = self.filename if self.filename is not None else self.url
        self.mimetype = "audio/wav" if name is None else mimetypes.guess_type(name)[0]

    def _data_and_metadata(self):
        return (self.data, {"url": self.url}) if self.url else self.data

    def _repr_html_(self):
        return """
                <audio %s controls="controls" %s>
                    <source src="%s" type="%s" />
                    Your browser does not support the audio element.
                </audio>
              """ % (self.element_id_attr(), self.autoplay_attr(), self.src_attr(), self.mimetype)

    def src_attr(self):
        if self.embed and self.data is not None:
            return "data:%s;base64,%s" % (self.mimetype, base64.b64encode(self.data).decode("ascii"))
        return html.escape(self.url) if self.url is not None else ""

    def autoplay_attr(self):
        return 'autoplay="autoplay"' if self.autoplay else ""

    def element_id_attr(self):
        return 'id="%s"' % html.escape(self.element_id) if self.element_id else ""


def _wav(samples, rate, normalize):
    """The samples (one row, or one per channel) as a 16-bit WAV file."""
    rows = [list(row) for row in samples] if hasattr(samples[0], "__len__") else [list(samples)]
    loudest = max((abs(float(value)) for row in rows for value in row), default=1.0)
    if not normalize and loudest > 1:
        raise ValueError("Audio data must be between -1 and 1 when normalize=False.")
    factor = 32767 / (loudest if normalize and loudest else 1)
    frames = b"".join(
        int(float(value) * factor).to_bytes(2, "little", signed=True) for frame in zip(*rows) for value in frame
    )
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(len(rows))
        file.setframerate(rate)
        file.setsampwidth(2)
        file.writeframes(frames)
    return out.getvalue()


class IFrame:
    """A frame with another page."""

    iframe = """
        <iframe
            width="{width}"
            height="{height}"
            src="{src}{params}"
            frameborder="0"
            allowfullscreen
            referrerpolicy="strict-origin-when-cross-origin"
            {extras}
        ></iframe>
        """

    def __init__(self, src, width, height, extras=None, **kwargs):
        self.src, self.width, self.height = src, width, height
        self.extras = extras or []
        self.params = kwargs

    def _repr_html_(self):
        params = "?" + urllib.parse.urlencode(self.params) if self.params else ""
        return self.iframe.format(
            src=html.escape(str(self.src)), width=html.escape(str(self.width)), height=html.escape(str(self.height)),
            params=params, extras=" ".join(self.extras),
        )  # fmt: skip


class YouTubeVideo(IFrame):
    def __init__(self, id, width=400, height=300, allow_autoplay=False, **kwargs):
        self.id = id
        if allow_autoplay:
            kwargs.update(autoplay=1, extras=[*kwargs.get("extras", []), 'allow="autoplay"'])
        IFrame.__init__(self, "https://www.youtube.com/embed/%s" % id, width, height, **kwargs)


class VimeoVideo(IFrame):
    def __init__(self, id, width=400, height=300, **kwargs):
        IFrame.__init__(self, "https://player.vimeo.com/video/%s" % id, width, height, **kwargs)


class ScribdDocument(IFrame):
    def __init__(self, id, width=400, height=300, **kwargs):
        IFrame.__init__(self, "https://www.scribd.com/embeds/%s/content" % id, width, height, **kwargs)


class FileLink:
    """A link to a file."""

    html_link_str = "<a href='%s' target='_blank'>%s</a>"

    def __init__(self, path, url_prefix="", result_html_prefix="", result_html_suffix="<br>"):
        if os.path.isdir(path):
            raise ValueError("Cannot display a directory using FileLink. Use FileLinks to display '%s'." % path)
        self.path = os.fsdecode(path)
        self.url_prefix = url_prefix
        self.result_html_prefix, self.result_html_suffix = result_html_prefix, result_html_suffix

    def _line(self, path, name):
        link = self.html_link_str % (self.url_prefix + html.escape(path), html.escape(name, quote=False))
        return self.result_html_prefix + link + self.result_html_suffix

    def _repr_html_(self):
        if not os.path.exists(self.path):
            return (
                "Path (<tt>%s</tt>) doesn't exist. It may still be in the process of being generated, or you may have "
                "the incorrect path." % html.escape(self.path)
            )
        return self._line(self.path, self.path)

    def __repr__(self):
        return os.path.abspath(self.path)


class FileLinks(FileLink):
    """Links to the files of a folder."""

    def __init__(
        self, path, url_prefix="", included_suffixes=None, result_html_prefix="", result_html_suffix="<br>",
        notebook_display_formatter=None, terminal_display_formatter=None, recursive=True,
    ):  # fmt: skip
        if os.path.isfile(path):
            raise ValueError("Cannot display a file using FileLinks. Use FileLink to display '%s'." % path)
        self.path = os.fsdecode(path).rstrip("/")
        self.url_prefix, self.included_suffixes, self.recursive = url_prefix, included_suffixes, recursive
        self.result_html_prefix, self.result_html_suffix = result_html_prefix, result_html_suffix
        self.notebook_display_formatter = notebook_display_formatter or self._html_lines
        self.terminal_display_formatter = terminal_display_formatter or self._text_lines

    def _names(self, folder, names, suffixes):
        paths = [(name, os.path.join(folder, name)) for name in names]
        return [
            name
            for name, path in paths
            if os.path.isfile(path) and (suffixes is None or os.path.splitext(name)[1] in suffixes)
        ]

    def _html_lines(self, folder, names, suffixes=None):
        shown = self._names(folder, names, suffixes)
        lines = [self.result_html_prefix + html.escape(folder) + "/" + self.result_html_suffix] if shown else []
        return lines + ["&nbsp;&nbsp;" + self._line("%s/%s" % (folder, name), name) for name in shown]

    def _text_lines(self, folder, names, suffixes=None):
        shown = self._names(folder, names, suffixes)
        return ["%s/" % folder] * bool(shown) + ["  " + name for name in shown]

    def _walked(self, lines_of):
        walked = sorted(os.walk(self.path)) if self.recursive else [next(os.walk(self.path))]
        return "\n".join(
            line for folder, _, names in walked for line in lines_of(folder, names, self.included_suffixes)
        )

    def _repr_html_(self):
        if not os.path.exists(self.path):
            return FileLink._repr_html_(self)
        return self._walked(self.notebook_display_formatter)

    def __repr__(self):
        return self._walked(self.terminal_display_formatter)


class Code(TextDisplayObject):
    """Source code, coloured if Pygments is installed."""

    def __init__(self, data=None, url=None, filename=None, language=None):
        self.language = language
        DisplayObject.__init__(self, data=data, url=url, filename=filename)

    def __repr__(self):
        return self.data

    def _lexer(self):
        from pygments import lexers

        if self.language:
            return lexers.get_lexer_by_name(self.language)
        return lexers.get_lexer_for_filename(self.filename) if self.filename else lexers.guess_lexer(self.data)

    def _repr_html_(self):
        try:
            import pygments
            from pygments.formatters import HtmlFormatter
        except ImportError:
            return "<pre>%s</pre>" % html.escape(self.data)
        shape = HtmlFormatter()
        style = "<style>%s</style>" % shape.get_style_defs(".output_html")
        return style + pygments.highlight(self.data, self._lexer(), shape)

    def _repr_latex_(self):
        try:
            import pygments
            from pygments.formatters import LatexFormatter
        except ImportError:
            return None
        return pygments.highlight(self.data, self._lexer(), LatexFormatter())
