# ruff: noqa: E501 - tables of cases
"""A remote exception raised here: its type, and the traceback IPython shows of it."""

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
    told = None
    try:
        exec(compile("\\n" + cell, {REMOTE!r}, "exec"), {{"__name__": "__main__"}})
    except BaseException as exc:
        told = json.dumps(describe(exc, {REMOTE!r}, (argo.__code__.co_filename,)))
    if told is not None:
        error = tb.rebuild(parse(told), cell_name=name)
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


def raised(cell, **named):
    with pytest.raises(CellFailed) as caught:
        raise tb.rebuild(remote_of(cell), **named)
    return caught.value


# What kind of exception it is.


def test_name_builtin_type_arguments_and_state():
    state = RunState()
    error = raised("class MyError(KeyError): pass\nraise MyError('k', 1)", state=state)
    assert type(error).__name__ == "MyError"
    assert isinstance(error, KeyError)
    assert (error.args, str(error), error.state, error.hint) == (("k", 1), "('k', 1)", state, "")
    assert type(error) is type(raised("class MyError(KeyError): pass\nraise MyError('other')"))


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
def test_builtin_types_are_kept_where_the_arguments_make_them(cell, base):
    remote = remote_of(cell)
    error = raised(cell)
    assert isinstance(error, base)
    assert str(error) == remote.evalue
    assert type(error).__name__ == remote.ename
    copied = pickle.loads(pickle.dumps(error))
    assert (type(copied), str(copied), copied.args) == (type(error), str(error), error.args)


def test_attributes_of_builtin_types_are_there():
    error = raised("open('/nope')")
    assert (error.errno, error.strerror, error.filename) == (2, "No such file or directory", "/nope")
    assert raised("raise StopIteration(3)").value == 3
    assert raised("import nope").name == "nope"
    assert raised("class E(Exception): pass\ne = E(); e.code = 5; raise e").code == 5


@pytest.mark.parametrize(
    ("cell", "name"),
    [
        ("import sys; sys.exit(3)", "SystemExit"), ("raise KeyboardInterrupt", "KeyboardInterrupt"),
        ("raise GeneratorExit", "GeneratorExit"), ("compile('x = (', 'f', 'exec')", "SyntaxError"),
        ("raise ValueError(object())", "ValueError"), ("class E(BaseException): pass\nraise E", "E"),
    ],
    ids=str,
)  # fmt: skip
def test_only_the_name_is_kept_of_what_would_end_ipython_or_cannot_be_made(cell, name):
    error = raised(cell)
    assert type(error).__name__ == name
    builtin = [cls for cls in type(error).__mro__ if vars(builtins).get(cls.__name__) is cls]
    assert builtin == [Exception, BaseException, object]


def test_causes_contexts_and_notes_are_rebuilt():
    error = raised("try:\n    1/0\nexcept Exception as e:\n    raise KeyError('x') from e")
    assert isinstance(error.__cause__, ZeroDivisionError)
    error = raised("try:\n    1/0\nexcept Exception:\n    e = KeyError('x'); e.add_note('n'); raise e")
    assert isinstance(error.__context__, ZeroDivisionError)
    assert error.__notes__ == ["n"]
    assert raised("try:\n    1/0\nexcept Exception:\n    raise KeyError('x') from None").__suppress_context__


def test_except_star_takes_members_by_their_builtin_types():
    taken = []
    cell = "raise ExceptionGroup('g', [ValueError(1), ExceptionGroup('h', [OSError('x'), KeyError('k')])])"
    try:
        try:
            raise tb.rebuild(remote_of(cell))
        except* ValueError as group:
            taken += group.exceptions
        except* OSError as group:
            taken += group.exceptions[0].exceptions
    except ExceptionGroup as rest:
        taken += rest.exceptions[0].exceptions
    assert [type(error).__name__ for error in taken] == ["ValueError", "OSError", "KeyError"]
    group = raised("raise BaseExceptionGroup('b', [KeyboardInterrupt()])")
    assert (type(group).__name__, group.message, str(group)) == ("BaseExceptionGroup", "b", "b (1 sub-exception)")


def test_a_remote_error_of_a_few_words_is_enough():
    error = tb.rebuild(RemoteError(ename="E", module="m", qualname="E", evalue="v", mro=("Exception",)))
    assert (str(error), error.remote_traceback) == ("v", None)


# What IPython shows of it.


@pytest.fixture
def shell():
    InteractiveShell.clear_instance()
    shell = InteractiveShell.instance(colors="nocolor")
    shell.run_cell(SETUP, store_history=True)
    yield shell
    shell.set_custom_exc((), None)
    InteractiveShell.clear_instance()


def shown(shell, cell):
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        result = shell.run_cell(cell, store_history=True)
    assert not result.success
    return out.getvalue()


def both(shell, cell):
    """What a plain cell shows, and what the same cell shows under the magic; numbers of cells and lines made equal."""
    plain = shown(shell, "# a line, where the other has the magic\n" + cell)
    ours = shown(shell, "%%argo --deps 'x'\n" + cell)
    assert "\u2063" not in ours
    texts = []
    for text in (plain, ours):
        numbered = re.sub(r"In\[\d+\]", "In[n]", text)
        counted = re.sub(r"similar frames: (.*) \(\d+ times\)", r"similar frames: \1", numbered)
        texts.append(counted.replace("%%argo --deps 'x'", "# a line, where the other has the magic"))
    return texts


DEEP = 320
"""Frames, which are enough for pytest, IPython and a traceback that is shortened."""
SAME = [
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
@pytest.mark.parametrize("cell", SAME, ids=range(len(SAME)))
def test_the_traceback_is_the_one_of_a_plain_cell(shell, cell, colors):
    shell.colors = colors
    limit = sys.getrecursionlimit()
    # For each frame of a deep traceback, IPython looks at every module of this process.
    sys.setrecursionlimit(DEEP)
    try:
        plain, ours = both(shell, cell)
    finally:
        sys.setrecursionlimit(limit)
    if colors == "linux":
        # The magic's line is shown in the colour of a comment; all else is letter by letter the same.
        assert "\x1b[" in ours
    assert ours == plain


@pytest.mark.parametrize("mode", ["Plain", "Minimal"])
def test_other_traceback_modes_work_too(shell, mode):
    shell.run_line_magic("xmode", mode)
    try:
        plain, ours = both(shell, "def f(x):\n    return 1/x\nf(0)")
    finally:
        shell.run_line_magic("xmode", "Context")
    assert ours == plain


def test_verbose_mode_says_that_values_were_not_sent(shell):
    shell.run_line_magic("xmode", "Verbose")
    try:
        text = shown(shell, "%%argo\ndef f(x):\n    return 1/x\nf(0)")
    finally:
        shell.run_line_magic("xmode", "Context")
    assert "in f(x=<not sent>)" in text


def test_frames_of_libraries_are_shown_with_the_lines_sent_along(shell):
    plain, ours = both(shell, "import json\njson.loads('{')")
    heads = [line for line in ours.splitlines() if line.startswith(("File ", "Cell "))]
    plain_heads = [line for line in plain.splitlines() if line.startswith(("File ", "Cell "))]
    # A path in a pod or in the store of environments would be long, and of no use here.
    assert heads == [re.sub(r"^File .*/(?=json/)", "File ", line) for line in plain_heads]
    assert any(line.startswith("File json/decoder.py:") for line in heads)
    assert len(heads) == 4
    arrows = [[line.split() for line in text.splitlines() if "-->" in line] for text in (ours, plain)]
    assert arrows[0] == arrows[1]
    assert "test_traceback" not in ours


def test_a_remote_file_is_not_mixed_up_with_a_file_of_that_name_here(shell, tmp_path):
    path = tmp_path / "lib.py"
    path.write_text("def broken():\n    raise ValueError('then')\n")
    cell = f"import runpy\nrunpy.run_path({str(path)!r})['broken']()"
    remote = remote_of(cell)
    path.write_text("# another file now\n" * 5)
    text = "\n".join(tb.rebuild(remote)._render_traceback_())
    assert f"{path}:2, in broken()" in text
    assert "----> 2     raise ValueError('then')" in text
    assert "another file" not in text


def test_groups_are_shown_as_python_shows_them_without_machinery(shell):
    cell = (
        "def g(x): raise ValueError(x)\ntry: g(1)\nexcept ValueError as e: one = e\nraise ExceptionGroup('many', [one])"
    )
    plain, ours = both(shell, cell)
    plain = re.sub(r'  \|   File ".*interactiveshell.py", line .*\n.*exec\(.*\n(?:  \| +[~^]+\n)?', "", plain)
    files = re.compile(r'File "<ipython-input-.*?>"')
    assert files.sub("File", ours) == files.sub("File", plain)


@pytest.mark.parametrize("cell", ["import sys\nsys.exit(3)", "raise KeyboardInterrupt", "raise GeneratorExit"])
def test_what_would_end_a_session_is_shown_as_an_error(shell, cell):
    text = shown(shell, "%%argo\n" + cell)
    assert "Traceback (most recent call last)" in text
    assert re.search(r"(SystemExit: 3|KeyboardInterrupt: |GeneratorExit: )$", text.strip("\n"))
    assert shell.run_cell("1").success


def test_a_syntax_error_in_code_that_ran_is_shown_where_it_points(shell):
    plain, ours = both(shell, "import ast\nast.parse('x = (')")
    assert ours.splitlines()[-4:] == plain.splitlines()[-4:]
    assert "Cell In[n], line 3" in ours


def test_a_syntax_error_found_here_is_shown_as_that_of_a_plain_cell(shell):
    cell = "x = 1\nif x\n    pass\n"
    name = tb.find_cell_name(shell, "--deps x", cell)
    with pytest.raises(SyntaxError) as found:
        compile("\n" + cell, name, "exec")
    error = tb.syntax_error(found.value, cell_name=name)
    assert type(error).__name__ == "SyntaxError"
    assert not isinstance(error, SyntaxError)
    text = "\n".join(error._render_traceback_())
    assert re.search(r"Cell In\[\d+\], line 3\n    if x\n        \^\nSyntaxError: expected ':'", text)


def test_without_ipython_the_text_is_pythons(monkeypatch):
    monkeypatch.setattr(tb, "_shell", lambda: None)
    text = "\n".join(tb.rebuild(remote_of("1/0"))._render_traceback_())
    assert text.startswith("Traceback (most recent call last):")
    assert text.endswith("ZeroDivisionError: division by zero")


def test_somebody_elses_exception_handler_is_left_alone(shell):
    def handler(*_args, **_named):
        return None

    shell.set_custom_exc((ValueError,), handler)
    tb.show_groups(shell)
    assert shell.custom_exceptions == (ValueError,)


# The same through a real kernel.


def test_a_real_kernel_reports_name_text_and_traceback(tmp_path, monkeypatch):
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
    _, division, group, leaving, after = (cell.outputs for cell in notebook.cells)
    (division,) = division
    assert (division.output_type, division.ename, division.evalue) == ("error", "ZeroDivisionError", "division by zero")
    text = re.sub(r"\x1b\[[\d;]*m", "", "\n".join(division.traceback))
    assert "Cell In[2], line 4" in text
    assert "----> 3     return 1/x" in text
    assert "rebuild" not in text
    assert [(output.output_type, output.ename) for output in group] == [("error", "ExceptionGroup")]
    assert "ValueError: 1" in "\n".join(group[0].traceback)
    assert [(output.ename, output.evalue) for output in leaving] == [("SystemExit", "3")]
    assert after[0].text == "still here\n"


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("/home/me/.cache/uv-argo/store/trees/f4e2/site/numpy/linalg/_linalg.py", "numpy/linalg/_linalg.py"),
        ("/tmp/uv-argo-1/venv/lib/python3.12/site-packages/rich/console.py", "rich/console.py"),
        ("/usr/lib/python3/dist-packages/yaml/__init__.py", "yaml/__init__.py"),
        ("/usr/local/lib/python3.14t/json/decoder.py", "json/decoder.py"),
        ("/data/tool.py", "/data/tool.py"),
        ("<string>", "<string>"),
    ],
)
def test_the_path_of_a_library_is_the_one_within_its_package(path, shown):
    assert frames.clean(frames.marked(path)) == shown
