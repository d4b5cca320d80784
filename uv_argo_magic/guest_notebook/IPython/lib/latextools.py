"""Formulas as pictures, as in IPython.lib.latextools; needs matplotlib."""

import base64
import io


def latex_to_png(s, encode=False, backend=None, wrap=False, color="Black", scale=1.0):
    """A formula as PNG; None if it cannot be drawn."""
    del backend
    try:
        from matplotlib import figure, mathtext
        from matplotlib.font_manager import FontProperties
    except ImportError:
        return None
    text = s.replace("$$", "$")
    text = "$%s$" % text if wrap else text
    out = io.BytesIO()
    try:
        font = FontProperties(size=12)
        width, height, depth = mathtext.MathTextParser("path").parse(text, dpi=72, prop=font)[:3]
        drawing = figure.Figure(figsize=(width / 72, height / 72))
        drawing.text(0, depth / height, text, fontproperties=font, color=color.lower())
        drawing.savefig(out, dpi=120 * scale, format="png", transparent=True)
    except (ValueError, RuntimeError):  # matplotlib does not support the formula
        return None
    data = out.getvalue()
    return base64.b64encode(data).decode("ascii") if encode else data
