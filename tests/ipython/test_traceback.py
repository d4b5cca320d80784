# ruff: noqa: E501 - tables of cases
"""Remote exceptions that are raised again: their types, and the tracebacks that IPython shows."""

import builtins
import contextlib
import io
import json
import pickle
import re
import sys
import textwrap

import nbclient
import nbformat
import pytest
from IPython.core.interactiveshell import InteractiveShell

from uv_argo_magic.core.protocol.remote_error import RemoteError, parse
from uv_argo_magic.core.protocol.state import RunState
from uv_argo_magic.errors import CellFailed
from uv_argo_magic.guest.exceptions import describe
from uv_argo_magic.remote_traceback import frames
from uv_argo_magic.remote_traceback import rebuild as tb

REMOTE = "/over/there/cell.py"
SETUP = f"""
import json
from uv_argo_magic.core.protocol.remote_error import parse
from uv_argo_magic.guest.exceptions import describe
from uv_argo_magic.remote_traceback import rebuild as tb

def argo(line, cell):
    shell = get_ipython()
    name = tb.find_cell_name(shell, line, cell)
    description = None
    try:
        exec(compile("\\n" + cell, {REMOTE!r}, "exec"), {{"__name__": "__main__"}})
    except BaseException as exc:
        description = json.dumps(describe(exc, {REMOTE!r}, (argo.__code__.co_filename,)))
    if description is not None:
        error = tb.rebuild(parse(description), cell_name=name)
        raise error

get_ipython().register_magic_function(argo, "cell")
tb.show_groups(get_ipython())
"""


def remote_of(cell):
    try:
        exec(compile("\n" + cell, REMOTE, "exec"), {"__name__": "__main__"})
    except BaseException as exc:  # noqa: BLE001 - whatever the cell raises
        return parse(json.dumps(describe(exc, REMOTE, (__file__,))))
    raise AssertionError("the cell did not raise")


def rebuilt_error(cell, **named):
    with pytest.raises(CellFailed) as exc_info:
        raise tb.rebuild(remote_of(cell), **named)
    return exc_info.value


# Types of exceptions.


def test_error_has_name_type_arguments_and_state():
    state = RunState()
    error = rebuilt_error("class MyError(KeyError): pass\nraise MyError('k', 1)", state=state)
    assert type(error).__name__ == "MyError"
    assert isinstance(error, KeyError)
    assert (error.args, str(error), error.state, error.hint) == (("k", 1), "('k', 1)", state, "")
    assert type(error) is type(rebuilt_error("class MyError(KeyError): pass\nraise MyError('other')"))


@pytest.mark.parametrize(
    ("cell", "base"),
    [
        ("1/0", ZeroDivisionError), ("{}['a']", KeyError), ("[][1]", IndexError), ("open('/nope')", FileNotFoundError),
        ("b'\\xff'.decode()", UnicodeDecodeError), ("raise StopIteration(3)", StopIteration), ("import nope", ModuleNotFoundError),
        ("nope", NameError), ("''.nope", AttributeError), ("assert 0, 'x'", AssertionError), ("raise OSError", OSError),
        ("def f(): f()\nf()", RecursionError), ("raise Warning('w')", Warning), ("raise TimeoutError(1, 'x')", TimeoutError),
        ("class E(OSError):\n    def __init__(self, a, b, *, c): super().__init__(a)\nraise E(1, 2, c=3)", OSError),
        ("class E(UnicodeDecodeError):\n    def __init__(self): self.args = ('x',)\nraise E", ValueError),
        ("class E(ValueError, KeyError): pass\nraise E(1)", ValueError),
    ],
    ids=str,
)  # fmt: skip
def test_builtin_types_are_rebuilt(cell, base):
    remote = remote_of(cell)
    error = rebuilt_error(cell)
    assert isinstance(error, base)
    assert str(error) == remote.evalue
    assert type(error).__name__ == remote.ename
    copied = pickle.loads(pickle.dumps(error))
    assert (type(copied), str(copied), copied.args) == (type(error), str(error), error.args)


def test_attributes_of_builtin_types_are_rebuilt():
    error = rebuilt_error("open('/nope')")
    assert (error.errno, error.strerror, error.filename) == (2, "No such file or directory", "/nope")
    assert rebuilt_error("raise StopIteration(3)").value == 3
    assert rebuilt_error("import nope").name == "nope"
    assert rebuilt_error("class E(Exception): pass\ne = E(); e.code = 5; raise e").code == 5


@pytest.mark.parametrize(
    ("cell", "name"),
    [
        ("import sys; sys.exit(3)", "SystemExit"), ("raise KeyboardInterrupt", "KeyboardInterrupt"),
        ("raise GeneratorExit", "GeneratorExit"), ("compile('x = (', 'f', 'exec')", "SyntaxError"),
        ("raise ValueError(object())", "ValueError"), ("class E(BaseException): pass\nraise E", "E"),
    ],
    ids=str,
)  # fmt: skip
def test_exceptions_that_exit_keep_only_their_name(cell, name):
    error = rebuilt_error(cell)
    assert type(error).__name__ == name
    builtin = [cls for cls in type(error).__mro__ if vars(builtins).get(cls.__name__) is cls]
    assert builtin == [Exception, BaseException, object]


def test_causes_contexts_and_notes_are_rebuilt():
    error = rebuilt_error("try:\n    1/0\nexcept Exception as e:\n    raise KeyError('x') from e")
    assert isinstance(error.__cause__, ZeroDivisionError)
    error = rebuilt_error("try:\n    1/0\nexcept Exception:\n    e = KeyError('x'); e.add_note('n'); raise e")
    assert isinstance(error.__context__, ZeroDivisionError)
    assert error.__notes__ == ["n"]
    assert rebuilt_error("try:\n    1/0\nexcept Exception:\n    raise KeyError('x') from None").__suppress_context__


def test_except_star_catches_members_by_builtin_type():
    members = []
    cell = "raise ExceptionGroup('g', [ValueError(1), ExceptionGroup('h', [OSError('x'), KeyError('k')])])"
    try:
        try:
            raise tb.rebuild(remote_of(cell))
        except* ValueError as group:
            members += group.exceptions
        except* OSError as group:
            members += group.exceptions[0].exceptions
    except ExceptionGroup as rest:
        members += rest.exceptions[0].exceptions
    assert [type(error).__name__ for error in members] == ["ValueError", "OSError", "KeyError"]
    group = rebuilt_error("raise BaseExceptionGroup('b', [KeyboardInterrupt()])")
    assert (type(group).__name__, group.message, str(group)) == ("BaseExceptionGroup", "b", "b (1 sub-exception)")


def test_error_without_traceback_is_rebuilt():
    error = tb.rebuild(RemoteError(ename="E", module="m", qualname="E", evalue="v", mro=("Exception",)))
    assert (str(error), error.remote_traceback) == ("v", None)


# Tracebacks in IPython.


@pytest.fixture
def shell():
    InteractiveShell.clear_instance()
    shell = InteractiveShell.instance(colors="nocolor")
    shell.run_cell(SETUP, store_history=True)
    yield shell
    shell.set_custom_exc((), None)
    InteractiveShell.clear_instance()


def output_of_failing_cell(shell, cell):
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        result = shell.run_cell(cell, store_history=True)
    assert not result.success
    return out.getvalue()


def plain_and_rebuilt(shell, cell):
    """The output of a plain cell, and of the same cell with the magic; with the same cell numbers."""
    plain = output_of_failing_cell(shell, "# comment instead of the magic\n" + cell)
    rebuilt = output_of_failing_cell(shell, "%%argo --deps 'x'\n" + cell)
    assert "\u2063" not in rebuilt
    texts = []
    for text in (plain, rebuilt):
        numbered = re.sub(r"In\[\d+\]", "In[n]", text)
        counted = re.sub(r"similar frames: (.*) \(\d+ times\)", r"similar frames: \1", numbered)
        texts.append(counted.replace("%%argo --deps 'x'", "# comment instead of the magic"))
    return texts


RECURSION_LIMIT = 240
"""A recursion limit that is enough for pytest, IPython and a traceback that is shortened."""
FAILING_CELLS = [
    "1/0",
    "def f(x, *a, k=1, **kw):\n    y = [\n        x,\n        1/x,\n    ]\n    return y\n\nf(0)",
    "class A:\n    def method(self, x):\n        return (lambda y: x[y])(3)\n\nA().method([])",
    "[1/x for x in (0,)]",
    pytest.param("def f(n): return f(n + 1)\nf(0)", marks=pytest.mark.slow),
    "try:\n    1/0\nexcept Exception as e:\n    raise KeyError('x') from e",
    "def g():\n    try:\n        1/0\n    except Exception:\n        raise KeyError('x')\ng()",
    "e = ValueError('two\\nlines'); e.add_note('a note')\nraise e",
    "assert 1 == 2, 'no'",
    "x = 3\ndel x\nprint(x)",
    "raise Exception",
    "d = {}\nd['a'] = (\n    d['b']\n)",
]


@pytest.mark.parametrize("colors", ["nocolor", pytest.param("linux", marks=pytest.mark.slow)])
@pytest.mark.parametrize("cell", FAILING_CELLS, ids=range(len(FAILING_CELLS)))
def test_traceback_is_the_same_as_in_a_plain_cell(shell, cell, colors):
    shell.colors = colors
    limit = sys.getrecursionlimit()
    # IPython is slow with deep tracebacks: it searches all modules for each frame.
    sys.setrecursionlimit(RECURSION_LIMIT)
    try:
        plain, rebuilt = plain_and_rebuilt(shell, cell)
    finally:
        sys.setrecursionlimit(limit)
    if colors == "linux":
        # The line of the magic has the colour of a comment; everything else is the same.
        assert "\x1b[" in rebuilt
    assert rebuilt == plain


@pytest.mark.parametrize("mode", ["Plain", "Minimal"])
def test_traceback_modes_are_supported(shell, mode):
    shell.run_line_magic("xmode", mode)
    try:
        plain, rebuilt = plain_and_rebuilt(shell, "def f(x):\n    return 1/x\nf(0)")
    finally:
        shell.run_line_magic("xmode", "Context")
    assert rebuilt == plain


def test_verbose_mode_marks_values_as_not_sent(shell):
    shell.run_line_magic("xmode", "Verbose")
    try:
        text = output_of_failing_cell(shell, "%%argo\ndef f(x):\n    return 1/x\nf(0)")
    finally:
        shell.run_line_magic("xmode", "Context")
    assert "in f(x=<not sent>)" in text


def test_frames_of_libraries_show_the_remote_lines(shell):
    plain, rebuilt = plain_and_rebuilt(shell, "import json\njson.loads('{')")
    heads = [line for line in rebuilt.splitlines() if line.startswith(("File ", "Cell "))]
    plain_heads = [line for line in plain.splitlines() if line.startswith(("File ", "Cell "))]
    # Paths are shortened, since the files exist only in the pod or the environment store.
    assert heads == [re.sub(r"^File .*/(?=json/)", "File ", line) for line in plain_heads]
    assert any(line.startswith("File json/decoder.py:") for line in heads)
    assert len(heads) == 4
    arrows = [[line.split() for line in text.splitlines() if "-->" in line] for text in (rebuilt, plain)]
    assert arrows[0] == arrows[1]
    assert "test_traceback" not in rebuilt


def test_local_file_with_the_same_path_is_not_shown(shell, tmp_path):
    path = tmp_path / "lib.py"
    path.write_text("def broken():\n    raise ValueError('then')\n")
    cell = f"import runpy\nrunpy.run_path({str(path)!r})['broken']()"
    remote = remote_of(cell)
    path.write_text("# another file now\n" * 5)
    text = "\n".join(tb.rebuild(remote)._render_traceback_())
    assert f"{path}:2, in broken()" in text
    assert "----> 2     raise ValueError('then')" in text
    assert "another file" not in text


def test_exception_groups_are_shown_as_by_python(shell):
    cell = (
        "def g(x): raise ValueError(x)\ntry: g(1)\nexcept ValueError as e: one = e\nraise ExceptionGroup('many', [one])"
    )
    plain, rebuilt = plain_and_rebuilt(shell, cell)
    plain = re.sub(r'  \|   File ".*interactiveshell.py", line .*\n.*exec\(.*\n(?:  \| +[~^]+\n)?', "", plain)
    files = re.compile(r'File "<ipython-input-.*?>"')
    assert files.sub("File", rebuilt) == files.sub("File", plain)


@pytest.mark.parametrize("cell", ["import sys\nsys.exit(3)", "raise KeyboardInterrupt", "raise GeneratorExit"])
def test_exit_exceptions_are_shown_as_errors(shell, cell):
    text = output_of_failing_cell(shell, "%%argo\n" + cell)
    assert "Traceback (most recent call last)" in text
    assert re.search(r"(SystemExit: 3|KeyboardInterrupt: |GeneratorExit: )$", text.strip("\n"))
    assert shell.run_cell("1").success


def test_syntax_error_at_run_time_shows_its_position(shell):
    plain, rebuilt = plain_and_rebuilt(shell, "import ast\nast.parse('x = (')")
    assert rebuilt.splitlines()[-4:] == plain.splitlines()[-4:]
    assert "Cell In[n], line 3" in rebuilt


def test_local_syntax_error_is_shown_as_in_a_plain_cell(shell):
    cell = "x = 1\nif x\n    pass\n"
    name = tb.find_cell_name(shell, "--deps x", cell)
    with pytest.raises(SyntaxError) as exc_info:
        compile("\n" + cell, name, "exec")
    error = tb.syntax_error(exc_info.value, cell_name=name)
    assert type(error).__name__ == "SyntaxError"
    assert not isinstance(error, SyntaxError)
    text = "\n".join(error._render_traceback_())
    assert re.search(r"Cell In\[\d+\], line 3\n    if x\n        \^\nSyntaxError: expected ':'", text)


def test_traceback_without_ipython_is_that_of_python(monkeypatch):
    monkeypatch.setattr(tb, "_shell", lambda: None)
    text = "\n".join(tb.rebuild(remote_of("1/0"))._render_traceback_())
    assert text.startswith("Traceback (most recent call last):")
    assert text.endswith("ZeroDivisionError: division by zero")


def test_existing_exception_handler_is_not_replaced(shell):
    def handler(*_args, **_named):
        return None

    shell.set_custom_exc((ValueError,), handler)
    tb.show_groups(shell)
    assert shell.custom_exceptions == (ValueError,)


# In a real kernel.


def test_real_kernel_sends_name_message_and_traceback(tmp_path, monkeypatch):
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    cells = [
        SETUP,
        "%%argo --deps 'x'\ndef f(x):\n    return 1/x\nf(0)",
        "%%argo\nraise ExceptionGroup('g', [ValueError(1)])",
        "%%argo\nimport sys; sys.exit(3)",
        "print('still here')",
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(textwrap.dedent(cell)) for cell in cells])
    nbclient.NotebookClient(notebook, timeout=60, kernel_name="python3", allow_errors=True).execute()
    _, division, group, exit_outputs, last = (cell.outputs for cell in notebook.cells)
    (division,) = division
    assert (division.output_type, division.ename, division.evalue) == ("error", "ZeroDivisionError", "division by zero")
    text = re.sub(r"\x1b\[[\d;]*m", "", "\n".join(division.traceback))
    assert "Cell In[2], line 4" in text
    assert "----> 3     return 1/x" in text
    assert "rebuild" not in text
    assert [(output.output_type, output.ename) for output in group] == [("error", "ExceptionGroup")]
    assert "ValueError: 1" in "\n".join(group[0].traceback)
    assert [(output.ename, output.evalue) for output in exit_outputs] == [("SystemExit", "3")]
    assert last[0].text == "still here\n"


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/home/me/.cache/uv-argo/store/trees/f4e2/site/numpy/linalg/_linalg.py", "numpy/linalg/_linalg.py"),
        ("/tmp/uv-argo-1/venv/lib/python3.12/site-packages/rich/console.py", "rich/console.py"),
        ("/usr/lib/python3/dist-packages/yaml/__init__.py", "yaml/__init__.py"),
        ("/usr/local/lib/python3.14t/json/decoder.py", "json/decoder.py"),
        ("/data/tool.py", "/data/tool.py"),
        ("<string>", "<string>"),
    ],
)
def test_library_paths_are_relative_to_the_package(path, expected):
    assert frames.clean(frames.marked(path)) == expected
