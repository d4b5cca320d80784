"""Notebook cells: IPython's syntax and names, in a real process without IPython installed."""

from __future__ import annotations

import ast
import json
from typing import TYPE_CHECKING

import pytest
from support.guest_process import HERE, start_guest, text_of

from uv_argo_magic.core.protocol import events as ev
from uv_argo_magic.core.resolution.lock import Lock, Package, Target
from uv_argo_magic.engine.preparation import ipython_syntax
from uv_argo_magic.engine.preparation.guest_archive import notebook_modules
from uv_argo_magic.errors import SpecError
from uv_argo_magic.uv import interpreters

if TYPE_CHECKING:
    from pathlib import Path

    from uv_argo_magic.core.protocol.state import RunState


def run(home: Path, cell: str, **options: object) -> RunState:
    return start_guest(home, cell, code=ipython_syntax.translate(cell), modules=notebook_modules(), **options).state()


def displayed_data(state: RunState) -> list[dict[str, object]]:
    kinds = ev.Display | ev.Result
    outputs = [out for out in state.outputs if isinstance(out, kinds)]
    return [{mime: json.loads(body) for mime, body in out.data} for out in outputs]


def results(state: RunState) -> list[str]:
    texts = [dict(out.data)["text/plain"] for out in state.outputs if isinstance(out, ev.Result)]
    return [json.loads(text) for text in texts]


def error(state: RunState) -> dict[str, object]:
    return json.loads(state.error)


LINES = """\
  x = !echo one; echo two
  print(len(x), x.s)
  name = 'live'
  !echo {name} $name '$name'
  !echo err >&2
  print(_exit_code)
  %cd -q /
  print(get_ipython().run_line_magic("pwd", ""))
  %env A_NAME=value
  value = %env A_NAME
  print(value)
  names = %who_ls SList
  print(names)
  r = %timeit -n 3 -r 2 -q -o 1 + 1
  print(r.loops, r.repeat)
  %alias_magic t pwd
  print(get_ipython().run_line_magic('t', ''))
  from IPython.utils.capture import capture_output
  with capture_output() as c:
      print('x')
      display(1)
  print(repr(c.stdout), len(c.outputs))
  %config InteractiveShell.ast_node_interactivity = 'all'
  %precision 2
  3.14159
  %config InteractiveShell.ast_node_interactivity = 'last_expr_or_assign'
  y = 5
"""
EXPECTED_OUTPUT = """\
2 one two
live live $name
err
0
/
env: A_NAME=value
value
['x']
3 2
/
'x\\n' 1
"""


def test_line_magics_and_shell_commands(tmp_path):
    state = run(tmp_path, LINES)
    assert (state.outcome, text_of(state), results(state)) == ("Succeeded", EXPECTED_OUTPUT, ["'%.2f'", "3.14", "5"])


@pytest.mark.parametrize(
    ("cell", "stdout", "last"),
    [
        ("%%bash\necho $((1 + 2))\n", "3\n", ""),
        ("%%capture out\nprint('kept')\n3", "", ""),
        ("%%writefile -a note.txt\nsome text\n", "Writing note.txt\n", ""),
        (">>> a = 2\n>>> a", "", "2"),
    ],
)
def test_cell_magics_and_prompts(tmp_path, cell, stdout, last):
    state = run(tmp_path, cell)
    assert (state.outcome, text_of(state), " ".join(results(state))) == ("Succeeded", stdout, last)


def test_timed_cell_shows_its_result_after_the_times(tmp_path):
    state = run(tmp_path, "%%time\nx = !echo hi\nx[0]")
    assert [type(out).__name__ for out in state.outputs][-1] == "Result"
    assert "Wall time: " in text_of(state)
    assert results(state) == ["'hi'"]


def test_help_prints_signature_and_documentation(tmp_path):
    text = text_of(run(tmp_path, "def f(a, b=1):\n    'What f does.'\nf?"))
    assert "Signature: f(a, b=1)" in text
    assert "Docstring: What f does." in text
    assert "def f(a, b=1)" in text_of(run(tmp_path / "2", "def f(a, b=1): return a\nf??"))


@pytest.mark.parametrize(
    ("cell", "line", "columns"),
    [
        ("  x = 1\n  y = x / 0", 3, (6, 11)),
        ("%time x = 1\n1 / 0", 3, (0, 5)),
        ("%%time\n%pwd\nx = 1\nx / 0", 5, (0, 5)),
        ("%%capture\n%%time\n!true\n1 / 0", 5, (0, 5)),
        ("def f():\n    !echo {1}\n    1 / 0\nf()", 4, (4, 9)),
        ("!echo a \\\n  b\n1 / 0", 4, (0, 5)),
        ("\n\n%cd /no/such/folder", 4, (0, 19)),
    ],
)
def test_errors_have_line_numbers_of_the_cell(tmp_path, cell, line, columns):
    state = run(tmp_path, cell)
    frames = [frame for frame in error(state)["frames"] if frame["cell"]]
    assert frames[-1]["line"] == line
    if frames[-1]["col"] is not None:
        assert (frames[-1]["col"], frames[-1]["end_col"]) == columns


@pytest.mark.parametrize(
    ("cell", "lines"),
    [
        ("x = 1\n%time 1 / 0", [3]),
        ("x = 1\n%time x = 1 / 0", [3]),
        ("def f(): 1 / 0\n\n%timeit -n 1 -r 1 f()", [4, 2]),
        ("%%timeit -n 1 -r 1\nx = 1\ny = 2\n1 / 0", [2, 5]),
        ("%%time\nx = 1\n1 / 0", [2, 4]),
    ],
)
def test_timed_code_is_not_mistaken_for_the_first_line_of_the_cell(tmp_path, cell, lines):
    frames = error(run(tmp_path, cell))["frames"]
    assert [frame["line"] for frame in frames if frame["cell"]] == lines


def test_libraries_detect_a_notebook(tmp_path):
    cell = """
import builtins, importlib.metadata, importlib.util, sys
print("IPython" in sys.modules, "ipykernel.zmqshell" in sys.modules, builtins.__IPYTHON__)
shell = get_ipython()
print(type(shell).__name__, type(shell).__module__, "IPKernelApp" in shell.config, shell.kernel is not None)
import IPython
from IPython.core.getipython import get_ipython as other
print(other() is shell is IPython.get_ipython(), shell.user_ns is globals(), shell.execution_count)
from IPython.core.interactiveshell import InteractiveShell
from IPython.terminal.interactiveshell import TerminalInteractiveShell
from ipykernel.zmqshell import ZMQInteractiveShell
print(isinstance(shell, InteractiveShell), isinstance(shell, TerminalInteractiveShell))
print(type(shell) is ZMQInteractiveShell)
print(InteractiveShell.initialized(), InteractiveShell.instance() is shell)
print(importlib.util.find_spec("IPython").origin.endswith("IPython/__init__.py"), IPython.version_info >= (8, 24))
shell.events.register("post_execute", lambda: print("at the end"))
shell.display_formatter.formatters["text/html"].for_type(complex, lambda value: "<i>%s</i>" % value)
1j
"""
    state = run(tmp_path, cell)
    assert text_of(state).splitlines() == [
        "True True True",
        "ZMQInteractiveShell ipykernel.zmqshell True True",
        "True True 1",
        "True False",
        "True",
        "True True",
        "True True",
        "at the end",
    ]
    assert displayed_data(state) == [{"text/plain": "1j", "text/html": "<i>1j</i>"}]


def test_lazy_modules_can_be_inspected(tmp_path):
    # inspect, unittest and others examine all modules of the process.
    cell = """
import inspect, sys
found = inspect.getframeinfo(inspect.currentframe()).lineno
print(found, "IPython.core" in sys.modules)
from ipykernel.zmqshell import ZMQInteractiveShell
print(isinstance(get_ipython(), ZMQInteractiveShell))
"""
    state = run(tmp_path, cell)
    assert text_of(state) == "4 False\nTrue\n", state.error


def test_formatter_of_library_replaces_default(tmp_path):
    cell = """
from IPython.core.formatters import BaseFormatter
class Formatter(BaseFormatter):
    def __call__(self, value):
        return "<%s>" % value
get_ipython().display_formatter.formatters["text/plain"] = Formatter()
5
"""
    assert results(run(tmp_path, cell)) == ["<5>"]


def test_all_ipython_display_classes_are_displayed(tmp_path):
    cell = """
from IPython.display import *
from IPython.display import display, display_html, update_display, DisplayHandle, ProgressBar, Code, FileLink
png = bytes.fromhex("89504e470d0a1a0a0000000d49484452000000040000000608020000008e8d99bd")
for value in (HTML("<b>1</b>"), Markdown("*m*"), Math("x^2"), Latex("$y$"), SVG("<svg></svg>"), JSON({"a": [1]}),
              Javascript("alert(1)"), IFrame("https://example.com", 3, 4), Image(png, retina=True),
              Image(url="https://example.com/a.png", width=5), Audio([0.5, -0.5], rate=8000), Pretty("p"),
              Video("https://example.com/v.mp4"), Code("x = 1", language="python"), FileLink("a.txt"), ProgressBar(4)):
    display(value)
display_html("<u>raw</u>", raw=True)
"""
    state = run(tmp_path, cell)
    assert state.outcome == "Succeeded"
    bundles = displayed_data(state)
    assert [sorted(set(bundle) - {"text/plain"}) for bundle in bundles] == [
        ["text/html"], ["text/markdown"], ["text/latex"], ["text/latex"], ["image/svg+xml"], ["application/json"],
        ["application/javascript"], ["text/html"], ["image/png"], ["text/html"], ["text/html"], [], ["text/html"],
        ["text/html"], ["text/html"], ["text/html"], ["text/html"],
    ]  # fmt: skip
    assert bundles[0] == {"text/html": "<b>1</b>", "text/plain": "<IPython.core.display.HTML object>"}
    sizes = [out for out in state.outputs if isinstance(out, ev.Display)][8].metadata
    assert json.loads(sizes) == {"image/png": {"width": 2, "height": 3}}


def test_matplotlib_inline_is_available_without_its_package(tmp_path):
    package = pytest.importorskip("matplotlib").__path__[0]
    cell = f"""
import sys
sys.path.append({package.rpartition("/")[0]!r})
import matplotlib
from matplotlib_inline.backend_inline import set_matplotlib_formats
from matplotlib_inline.config import InlineBackend
set_matplotlib_formats("svg")
matplotlib.use("module://matplotlib_inline.backend_inline")
import matplotlib.pyplot as plt
InlineBackend.instance().close_figures = False
plt.plot([1, 2])
plt.show()
print(matplotlib.get_backend(), plt.get_fignums())
"""
    state = run(tmp_path, cell)
    assert text_of(state) == "module://matplotlib_inline.backend_inline [1]\n", state.error
    assert [sorted(bundle) for bundle in displayed_data(state)] == [["image/svg+xml", "text/plain"]]


def test_cell_can_define_magics(tmp_path):
    cell = (
        "from IPython.core.magic import register_line_magic, Magics, magics_class, cell_magic\n"
        "@register_line_magic\ndef double(line): return 2 * line\n"
        "@magics_class\nclass Mine(Magics):\n"
        "    @cell_magic\n    def shout(self, line, cell): print(line, cell.upper())\n"
        "get_ipython().register_magics(Mine)\nget_ipython().run_cell_magic('shout', 'l', 'c')\n"
        "get_ipython().run_line_magic('double', 'ab')"
    )
    state = run(tmp_path, cell)
    assert (text_of(state), results(state)) == ("l C\n", ["'abab'"])


def test_child_process_does_not_run_the_cell_again(tmp_path):
    cell = """
import concurrent.futures, math, multiprocessing as mp
print("begins", "__file__" in globals())
for method in ("spawn", "forkserver"):
    context = mp.get_context(method)
    with context.Pool(1) as pool:
        print(pool.map(math.sqrt, [1, 4]))
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as pool:
        print(pool.submit(math.sqrt, 9).result())
with mp.get_context("spawn").Manager() as manager:
    d = manager.dict(a=1)
    print(dict(d))
"""
    state = run(tmp_path, cell)
    expected = ["begins False", "[1.0, 2.0]", "3.0", "[1.0, 2.0]", "3.0", "{'a': 1}"]
    assert (text_of(state).splitlines(), state.notes) == (expected, ())


def test_oldest_supported_python_runs_a_cell(tmp_path):
    try:
        oldest = interpreters.find("3.8").path
    except SpecError:
        pytest.skip("Python 3.8 is not installed")
    cell = "import asyncio\nx = !echo one\nt = asyncio.get_event_loop().create_task(asyncio.sleep(0, x.s))\nawait t\n"
    state = run(tmp_path, cell, python=oldest)
    assert (state.outcome, results(state)) == ("Succeeded", ["'one'"]), state.error


def test_script_has_a_file_and_no_ipython(tmp_path):
    state = start_guest(
        tmp_path, "import sys\nprint(bool(__file__), sys.argv[0] == __file__)\nprint('IPython' in sys.modules)\n"
        "get_ipython()", script=True,
    ).state()  # fmt: skip
    assert text_of(state) == "True True\nFalse\n"
    assert error(state)["ename"] == "NameError"


WIDGETS = """
import sys, types
VIEW = "application/vnd.jupyter.widget-view+json"
class Layout:
    model_id, display, visibility = "l", None, None
class Bar:
    model_id, comm, layout, description, value, min, max, bar_style = "m1", object(), Layout(), "<work>", 0, 0, 2, ""
    def __repr__(self): return "Bar(%s)" % self.value
    def _repr_mimebundle_(self, **_): return {VIEW: {"model_id": "m1"}, "text/plain": repr(self)}
bar = Bar()
module = types.ModuleType("ipywidgets.widgets.widget")
module._instances = {"m1": bar}
sys.modules[module.__name__] = module
import comm
display(bar)
bar.value = 2
channel = comm.create_comm(comm_id="m1")
channel.publish_msg("comm_msg")
class Figure(Bar):
    layout = property(lambda self: 1 / 0)
module._instances["m1"] = Figure()
display(bar)
"""


def test_widget_is_displayed_as_html_and_updated(tmp_path):
    # Fake modules with what the guest uses; tests/fidelity/libraries.py uses the real ones.
    (tmp_path / "comm.py").write_text(
        "class BaseComm:\n    def __init__(self, comm_id): self.comm_id = comm_id\ncreate_comm = BaseComm\n"
    )
    state = run(tmp_path / "run", f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n{WIDGETS}")
    assert state.outcome == "Succeeded", state.error
    first, second, failed = displayed_data(state)
    assert failed == {"text/plain": "Bar(0)"}
    assert "ZeroDivisionError" in text_of(state, "stderr")
    assert set(first) == {"text/html", "text/plain"}
    assert (first["text/plain"], second["text/plain"]) == ("Bar(0)", "Bar(2)")
    assert "&lt;work&gt;" in first["text/html"]
    assert '<progress value="2.0" max="2">' in second["text/html"]
    assert [note.startswith("Widgets cannot be operated") for note in state.notes] == [True]


OUTPUT = """
class Output:
    model_id, outputs = "m1", ()
    def clear_output(self, **kwargs):
        from IPython.display import clear_output
        with self:
            clear_output(**kwargs)
"""


def test_output_widget_keeps_latest_output_after_clear(tmp_path):
    folder = tmp_path / "ipywidgets" / "widgets"
    folder.mkdir(parents=True)
    (folder / "widget_output.py").write_text(OUTPUT)
    cell = f"""
import sys; sys.path.insert(0, {str(tmp_path)!r})
from ipywidgets.widgets.widget_output import Output
out = Output()
for n in range(3):
    with out:
        out.clear_output(wait=True)
        print(n)
        display(n)
[output.get("text") or output["data"]["text/plain"] for output in out.outputs]
"""
    assert results(run(tmp_path / "run", cell)) == [r"['2\n', '2']"]


@pytest.mark.parametrize(
    ("cell", "line", "problem"),
    [
        ("%pip list", 2, "only %pip install"),
        ("x = 1\n%pip install {x}", 3, "computed"),
        ("%pip install -i https://index.example.com six", 2, "-i is not available"),
        ("%uv pip install", 2, "names no package"),
    ],
)
def test_unsupported_pip_lines_are_refused(cell, line, problem):
    with pytest.raises(SpecError, match=f"^line {line}: .*{problem}"):
        ipython_syntax.installs(ipython_syntax.translate(cell), 1)


def test_pip_line_installs_missing_packages(tmp_path):
    site = tmp_path / "store" / "trees" / "key" / "site"
    (site / "bin").mkdir(parents=True)
    (site / "added.py").write_text("x = 5\n")
    (site / "bin" / "tool").write_text("#!/elsewhere/python\nimport added; print(added.x)\n")
    (site.parent / ".ok").write_text('{"packages": [["added", "1.0"]]}')
    cell = (
        "import importlib.util\nprint(importlib.util.find_spec('added'))\n%pip install added\nimport added\n"
        "print(added.x, added.__file__.split('/')[-2])\n!tool"
    )
    code = ipython_syntax.translate(cell)
    lock = Lock(packages=(Package(name="added", version="1.0"),), target=Target(python=HERE))
    site.parent.rename(site.parent.with_name(lock.key))
    state = start_guest(
        tmp_path, cell, code=code, modules=notebook_modules(), installs=(("install added", lock),)
    ).state()
    assert text_of(state) == "None\nSuccessfully installed added-1.0\n5 site-packages\n5\n"


def test_client_and_guest_support_the_same_magics(tmp_path):
    cell = "magics = get_ipython().own_magics\nprint(sorted(magics.line)); print(sorted(magics.cell))"
    line, cell_magics = text_of(run(tmp_path, cell)).splitlines()
    assert ast.literal_eval(line) == sorted(ipython_syntax.LINE_MAGICS)
    assert ast.literal_eval(cell_magics) == sorted(ipython_syntax.CELL_MAGICS)
