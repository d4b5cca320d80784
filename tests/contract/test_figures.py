"""guest/figures.py and display.py in a new process: figures and IPython's display functions."""

import base64
import json
import subprocess
import sys
import textwrap
import warnings

import pytest


def run(code):
    """Run code with the displays and figures of a cell in a new process; returns its records and printed lines."""
    setup = """
        import json, sys
        from uv_argo_magic.guest.display import Displays
        from uv_argo_magic.guest.figures import Figures
        def emit(kind, **fields):
            print(json.dumps([kind, fields]), flush=True)
        displays = Displays(emit); figures = Figures(displays)
        figures.install(); displays.hook_ipython()
        assert not {"IPython", "matplotlib"} & set(sys.modules)
    """
    text = textwrap.dedent(setup) + textwrap.dedent(code)
    completed = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=False, timeout=60)
    assert completed.returncode == 0, completed.stderr
    return [json.loads(line) if line.startswith("[") else line for line in completed.stdout.splitlines()]


def png_size(text):
    raw = base64.b64decode(text)
    return int.from_bytes(raw[16:20], "big"), int.from_bytes(raw[20:24], "big")


def test_ipython_display_functions_send_records():
    records = run("""
        from IPython.display import display, HTML, Markdown, Image, clear_output, update_display, publish_display_data
        display(HTML("<b>x</b>"))
        handle = display(Markdown("*x*"), display_id=True)
        handle.update(Image(data=b"\\x89PNG\\r\\n\\x1a\\n" + b"0" * 30, format="png"))
        update_display(1, display_id=handle.display_id)
        publish_display_data({"text/plain": "x"})
        clear_output(wait=True)
    """)
    assert [kind for kind, _ in records] == ["display"] * 5 + ["clear"]
    assert records[0][1]["data"]["text/html"] == "<b>x</b>"
    assert records[1][1]["data"]["text/markdown"] == "*x*"
    assert "image/png" in records[2][1]["data"]
    assert [fields["update"] for _, fields in records[:5]] == [False, False, True, True, False]


def test_figures_keep_their_order_and_are_shown_at_the_end():
    pytest.importorskip("matplotlib")
    records = run("""
        import os, matplotlib.pyplot as plt
        assert "MPLBACKEND" not in os.environ
        plt.figure(figsize=(2, 1)); plt.plot([1, 2]); print("before"); plt.show(); print("after")
        fig, ax = plt.subplots(facecolor="none"); ax.plot([1]); displays.result(fig)
        plt.figure()
        figures.flush(); print(plt.get_fignums()); figures.flush()
        plt.ioff(); plt.figure(); figures.flush(); print("open", plt.get_fignums())
    """)
    assert [item if isinstance(item, str) else item[0] if item else item for item in records] == [
        "before", "display", "after", "result", "display", "display", [], "open [1]",
    ]  # fmt: skip
    assert records[4][1]["metadata"] == {"needs_background": "light"}
    assert records[5][1]["data"] == {"text/plain": "<Figure size 640x480 with 0 Axes>"}


def test_figure_has_the_size_of_the_inline_backend():
    pytest.importorskip("matplotlib")
    pylabtools = pytest.importorskip("IPython.core.pylabtools")
    records = run("""
        import matplotlib.pyplot as plt
        plt.plot([1, 2, 3]); plt.title("x" * 30); plt.show()
    """)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import matplotlib as mpl

        mpl.use("agg")
        import matplotlib.pyplot as plt
    figure = plt.figure()
    plt.plot([1, 2, 3])
    plt.title("x" * 30)
    expected = pylabtools.print_figure(figure, base64=True)
    plt.close("all")
    assert png_size(records[0][1]["data"]["image/png"]) == png_size(expected)


def test_backend_chosen_by_the_user_is_kept():
    pytest.importorskip("matplotlib")
    records = run("""
        import matplotlib; matplotlib.use("agg")
        import matplotlib.pyplot as plt
        plt.plot([1]); figures.flush(); print(plt.get_backend())
    """)
    assert records == ["agg"]
