"""notebook/magics.py, cells.py, engine/spec_builder.py: from a cell to one RunSpec, and back."""

from __future__ import annotations

import subprocess
import sys

import pytest
from support import fake_engine
from traitlets import TraitError

from uv_argo_magic import cell_syntax, config
from uv_argo_magic.backends.base import Check
from uv_argo_magic.core.protocol import events as ev
from uv_argo_magic.core.requirements import parse
from uv_argo_magic.core.resolution.lock import Lock, Package, Target
from uv_argo_magic.core.spec import settings_parser
from uv_argo_magic.core.spec.run_spec import RunSpec
from uv_argo_magic.engine import ipython_syntax
from uv_argo_magic.errors import ArgoMagicError, CellFailed, SpecError
from uv_argo_magic.history.store import History
from uv_argo_magic.notebook import magics

MINOR = ".".join(map(str, sys.version_info[:2]))


def run(shell, line, cell="1"):
    return shell.run_cell_magic("argo", line, cell)


@pytest.mark.parametrize(
    "cell",
    [
        "print('$x {x} $HOME')",
        "'''quotes \" and ' '''\n",
        "s = 'naïve 🙂'\r\nprint(s)\r\n",
        "# {{braces}} $$ %s\nx = 5 \\\n    % 3",
        "x = 1;\n" * 1_000 + "#" + "x" * 280_000,
    ],
    ids=["names", "quotes", "unicode", "braces", "long"],
)
def test_the_cell_is_captured_unchanged(shell, engine, cell):
    shell.run_cell(f"%%argo --deps numpy\n{cell}").raise_error()
    # IPython itself makes each cell end in one newline.
    assert engine.spec.cell.rstrip("\n") == cell.rstrip("\n")
    assert engine.spec.requirements.lines == ("numpy",)
    assert engine.spec.line_offset == 1


def test_the_line_expands_and_says_so(shell, engine, capsys):
    shell.user_ns.update(needs=["numpy", "pandas>=2"], version="3.12")
    run(shell, "--deps $needs -p {version}")
    assert engine.spec.requirements.lines == ("numpy", "pandas>=2")
    assert engine.spec.python == "3.12"
    out = capsys.readouterr().out
    assert '$needs = ["numpy", "pandas>=2"]' in out
    with pytest.raises(SpecError, match="need is not defined; did you mean needs"):
        run(shell, "--deps $need")


def test_the_result_is_the_cells_value(shell, engine):
    engine.events = fake_engine.ended("ok", ev.Result(boot="b", n=1, t=1.0, data=(("text/plain", '"42"'),)))
    done = shell.run_cell("%%argo\n42")
    assert (repr(done.result), repr(shell.user_ns["_"])) == ("42", "42")


def test_a_failed_run_raises_and_its_name_is_bound_before(shell, engine):
    engine.events = fake_engine.ended("error", code=1)
    with pytest.raises(CellFailed):
        run(shell, "--out trial --pull x")
    assert shell.user_ns["trial"].id == "r1"
    assert "x" not in shell.user_ns


def test_an_interrupt_goes_on_and_the_name_is_bound(shell, engine):
    engine.interrupt = True
    with pytest.raises(KeyboardInterrupt):
        run(shell, "-o trial")
    assert shell.user_ns["trial"].id == "r1"


def test_push_and_pull(shell, engine):
    shell.user_ns["x"] = [1, 2]
    engine.values = {"total": 3}
    run(shell, "--push x --pull total")
    assert [item.name for item in engine.spec.push] == ["x"]
    assert engine.spec.pull == ("total",)
    assert shell.user_ns["total"] == 3
    with pytest.raises(SpecError, match="--push xx: xx is not defined"):
        run(shell, "--push xx")
    with pytest.raises(SpecError):
        run(shell, "--push f --dry-run --set value_limit=1 --push x")


def test_dry_run_prints_and_starts_nothing(shell, engine, capsys):
    run(shell, "--deps numpy --dry-run")
    assert "would run ('numpy',)" in capsys.readouterr().out
    assert engine.started == []


def test_what_the_backend_ignores_is_noted(shell, engine, capsys):
    run(shell, "--gpu 1")
    assert engine.spec.resources.gpu == "1"
    assert "The local backend ignores gpu=1." in capsys.readouterr().out


def test_variables_come_from_files_and_the_line_wins(shell, engine, tmp_path):
    (tmp_path / ".env").write_text("export A=1\nB='two words'\n", encoding="utf-8")
    (tmp_path / "more.env").write_text("B=3\nC=4\n", encoding="utf-8")
    shell.run_line_magic("config", "ArgoMagics.variables = {'A': '0', 'Z': '9'}")
    run(shell, "--env-file .env --env-file more.env")
    assert dict(engine.spec.settings.variables) == {"A": "1", "B": "3", "C": "4", "Z": "9"}
    run(shell, "--env-file .env --set variables=A=mine")
    assert dict(engine.spec.settings.variables) == {"A": "mine", "B": "two words"}


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "cannot read .env: No such file"), (b"\xff", ".env is not UTF-8"), (b"secret", ".env, line 1: not a NAME")],
)
def test_a_file_of_variables_that_cannot_be_read(shell, engine, tmp_path, content, message):
    if content is not None:
        (tmp_path / ".env").write_bytes(content)
    with pytest.raises(SpecError, match=message) as caught:
        run(shell, "--env-file .env")
    assert "secret" not in str(caught.value)
    assert engine.prepared == []


def test_help_starts_nothing(shell, engine, capsys):
    run(shell, "--help")
    assert "--deps" in capsys.readouterr().out
    assert engine.prepared == []


def test_the_first_place_that_says_something_counts(shell, engine, tmp_path, capsys):
    (tmp_path / "needs.txt").write_text("scipy  # why\nnumpy\n", encoding="utf-8")
    shell.user_ns["__vsc_ipynb_file__"] = str(tmp_path / "study.ipynb")
    beside = tmp_path / "study.requirements.txt"

    def needs(line, cell="1"):
        run(shell, line, cell)
        return engine.spec.requirements.lines, capsys.readouterr().out

    def origin(line, cell="1"):
        run(shell, line, cell)
        capsys.readouterr()
        return engine.spec.requirements_source

    assert needs("") == ((), "")
    shell.run_line_magic("config", "ArgoMagics.deps = 'polars'")
    assert needs("") == (("polars",), "Requirements from deps of %config ArgoMagics: polars\n")
    beside.write_text("rich>=13\nattrs\n", encoding="utf-8")
    assert needs("") == (("rich>=13", "attrs"), "Requirements from study.requirements.txt: rich>=13, attrs\n")
    assert needs("", SCRIPT) == (("polars",), "")
    assert needs("-r needs.txt", SCRIPT) == (("scipy", "numpy"), "")
    assert needs("--deps numpy -r needs.txt", SCRIPT) == (("numpy", "scipy"), "")
    assert needs('--deps ""', SCRIPT) == ((), "")
    assert origin("") == "study.requirements.txt"
    assert origin("", SCRIPT) == "the cell's script block"
    assert origin("--deps numpy", SCRIPT) == ""
    assert origin("--deps numpy -r needs.txt") == "the files of its line"
    # A block that only names a Python says nothing of what the cell needs.
    assert needs("", '# /// script\n# requires-python = ">=3.11"\n# ///\n')[0] == ("rich>=13", "attrs")
    beside.write_text("# nothing yet\n", encoding="utf-8")
    assert needs("") == ((), "Requirements from study.requirements.txt: none\n")


def test_a_broken_file_of_the_notebook_is_named_with_its_line(shell, engine, tmp_path, monkeypatch):
    monkeypatch.setenv("JPY_SESSION_NAME", str(tmp_path / "study.ipynb"))
    (tmp_path / "study.requirements.txt").write_text("rich\nnumpy=2\n", encoding="utf-8")
    with pytest.raises(SpecError, match=r"study\.requirements\.txt, line 2, character 6"):
        run(shell, "")
    assert engine.prepared == []
    run(shell, "--deps rich")
    # A session without a notebook, as a console is, has no file.
    monkeypatch.setenv("JPY_SESSION_NAME", str(tmp_path / "study"))
    run(shell, "")
    assert engine.spec.requirements.lines == ()


def test_a_file_that_is_not_there(shell, engine, tmp_path):
    (tmp_path / "needs.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SpecError, match=r"cannot read need.txt: .*; did you mean needs.txt\?"):
        run(shell, "-r need.txt")
    with pytest.raises(SpecError, match=r"needs\.txt is not UTF-8"):
        run(shell, "-r needs.txt")


SCRIPT = '# /// script\n# dependencies = ["polars"]\n# requires-python = ">=3.12,<3.14"\n# ///\n'


def test_a_script_block_counts(shell, engine):
    run(shell, "-p 3.13", SCRIPT)
    assert engine.spec.requirements.lines == ("polars",)
    assert engine.spec.python == "3.13"
    with pytest.raises(SpecError, match=r"--python 3\.11 does not satisfy requires-python <3\.14,>=3\.12"):
        run(shell, "-p 3.11", SCRIPT)
    shell.run_line_magic("config", "ArgoMagics.python = '3.12'")
    run(shell, "", SCRIPT)
    assert engine.spec.python == "3.12"
    shell.run_line_magic("config", "ArgoMagics.python = '3.10'")
    run(shell, "", SCRIPT)
    assert set(engine.spec.python.split(",")) == {">=3.12", "<3.14"}


def test_config_sets_lists_and_refuses(shell, engine, capsys):
    shell.run_line_magic("config", "ArgoMagics.run_timeout = '5m'")
    run(shell, "")
    assert engine.spec.settings.run_timeout == 300
    run(shell, "--set run_timeout=7")
    assert engine.spec.settings.run_timeout == 7
    capsys.readouterr()
    shell.run_line_magic("config", "ArgoMagics")
    listed = capsys.readouterr().out
    assert "ArgoMagics.log_budget" in listed
    assert "(default: 8 MiB)" in " ".join(listed.split())
    made = next(one for one in shell.configurables if isinstance(one, magics.ArgoMagics))
    with pytest.raises(TraitError, match="invalid value for panel: widgets; did you mean widget"):
        made.panel = "widgets"
    made.run_timeout = None
    assert "run_timeout" not in made._set_traits()


@pytest.mark.parametrize("line", ["--dpes numpy", "'open", "--python", "numpy", "--set x=1", "-b nope"])
def test_a_wrong_line_is_an_error_of_ours(shell, engine, line):
    done = shell.run_cell(f"%%argo {line}\n1")
    assert isinstance(done.error_in_exec, ArgoMagicError)
    assert done.error_in_exec._render_traceback_()
    assert engine.prepared == []


@pytest.mark.parametrize(
    ("cell", "line", "hint"),
    [
        ("x = 1\n%lsmagic", 3, "add ipython to --deps"),
        ("\n%%time\nx = 1\n%pylab inline", 5, "add ipython to --deps"),
        ("if x:\n    y = %timeti 1", 3, "Did you mean %timeit?"),
        ("%%capture\n%%tmie\nx = 1", 3, "Did you mean %%time?"),
        ("%%argo\nx = 1", 2, "one %%argo line per cell"),
        ("%config IPCompleter.greedy = True", 2, "InlineBackend and InteractiveShell"),
    ],
)
def test_magics_that_are_not_available_are_refused_before_anything_starts(cell, line, hint):
    spec = RunSpec(cell=cell, code=ipython_syntax.translate(cell))
    with pytest.raises(SpecError, match=f"^line {line}: ") as caught:
        ipython_syntax.refuse_unknown(spec, Lock(packages=(), target=Target(python="3.12.1")))
    assert hint in caught.value.hint
    ipython = Lock(packages=(Package(name="ipython", version="9"),), target=Target(python="3.12.1"))
    ipython_syntax.refuse_unknown(spec, ipython)


@pytest.mark.parametrize(
    ("cell", "is_added"),
    [
        ("%load_ext autoreload\n%autoreload 2", True),
        ("%%prun\nx = 1", True),
        ("%%HTML\n<b>1</b>", False),
        ("%time x = 1", False),
        ("%no_such_magic", False),
        ("x = 1", False),
    ],
)
def test_a_magic_that_only_ipython_has_adds_ipython(cell, is_added):
    requirements = ipython_syntax.with_ipython(parse("numpy"), ["numpy"], ipython_syntax.translate(cell))
    assert requirements.lines == (("numpy", "ipython") if is_added else ("numpy",))


def test_ipython_is_not_added_to_a_session_that_has_started():
    spec = RunSpec(cell="", code=ipython_syntax.translate("%load_ext autoreload"))
    with pytest.raises(SpecError) as caught:
        ipython_syntax.refuse_unknown(spec, Lock(packages=(), target=Target(python="3.12.1")), is_started=True)
    assert "to --deps of the session's first cell" in caught.value.hint


def test_a_cell_is_translated_before_it_is_sent(shell, engine):
    run(shell, "", "x = !ls\nlen(x)")
    assert engine.spec.cell == "x = !ls\nlen(x)"
    assert engine.spec.code == "x = get_ipython().getoutput('ls')\nlen(x)\n"


INNER = "get_ipython().run_cell_magic('capture', '', \"get_ipython().system('a')\\n\")\n\n"


@pytest.mark.parametrize(
    ("cell", "code"),
    [
        ("!a \\\n b\nx", "get_ipython().system('a   b')\n\nx\n"),
        ("\n\n  %pwd\n  y", "\n\nget_ipython().run_line_magic('pwd', '')\ny\n"),
        (
            "%%time\n%%capture\n!a",
            f"get_ipython().run_cell_magic('time', '', {INNER!r})\n\n\n",
        ),
        ("%%bash\n!a", "get_ipython().run_cell_magic('bash', '', '!a\\n')\n\n"),
        ("f?", "get_ipython().run_line_magic('pinfo', 'f')\n"),
        (">>> a\n... b", "a\nb\n"),
    ],
)
def test_a_translation_has_the_lines_of_the_cell(cell, code):
    assert ipython_syntax.translate(cell) == code
    assert code.count("\n") == cell.count("\n") + 1


@pytest.mark.parametrize(
    "cell",
    [
        "x = 7\ny = (x\n% 3)",
        "x = 7 \\\n% 3",
        "s = '''\n%time\n!ls\nwhat?\n'''",
        "# !ls\n# %time\n# what?",
        "get_ipython = print\nget_ipython().x if False else 0",
        "import asyncio\nawait asyncio.sleep(0)\nasync with x: pass",
        "f = f'{1!r}' 'a?'",
        "",
        "\n\n",
    ],
)
def test_plain_python_is_not_translated(cell):
    assert ipython_syntax.translate(cell) == ""


@pytest.mark.parametrize("cell", ["x = = 1", "'open", "é = \0"])
def test_broken_python_is_reported_as_such(cell):
    assert cell_syntax.syntax_error(ipython_syntax.translate(cell) or cell, "<cell>", 0) or "\0" in cell


def test_a_syntax_error_is_shown_on_the_cells_line_and_starts_nothing(shell, engine, capsys):
    done = shell.run_cell("%%argo --deps numpy\nx = 1\ny = = 2")
    error = done.error_in_exec
    assert type(error).__name__ == "SyntaxError"
    assert isinstance(error, CellFailed)
    assert engine.started == []
    shown = capsys.readouterr().out
    # A kernel says "Cell In[1], line 3", a bare shell "File <ipython-input-1-...>:3".
    assert "line 3" in shown or ":3" in shown
    assert "y = = 2" in shown
    assert "magics.py" not in shown


def test_syntax_of_another_python_is_left_to_it(shell, engine):
    run(shell, "--python 3.99", "x = = 1")
    assert len(engine.started) == 1
    with pytest.raises(CellFailed, match="invalid syntax"):
        run(shell, f"--python {MINOR}", "x = = 1")
    assert len(engine.prepared) == 1


def test_verbs_answer(shell, capsys):
    shell.run_line_magic("argo", "")
    assert "Usage: %argo COMMAND" in capsys.readouterr().out
    shell.run_line_magic("argo", "runs")
    assert "No runs in the history" in capsys.readouterr().out
    with pytest.raises(SpecError, match="unknown command rnus"):
        shell.run_line_magic("argo", "rnus")
    for verb in ("last", "logs", "packages", "stop", "logs x"):
        with pytest.raises(SpecError):
            shell.run_line_magic("argo", verb)


def test_every_key_is_a_trait_that_nothing_hides():
    traits = magics.ArgoMagics.class_traits(config=True)
    assert set(traits) == {*settings_parser.FIELDS, *config.OPTIONS}
    assert all(isinstance(traits[key], magics.Setting) for key in traits)


def test_the_notebooks_name():
    assert magics.notebook_name({"__vsc_ipynb_file__": "a.ipynb", "__session__": "b.ipynb"}) == "a.ipynb"
    assert magics.notebook_name({"__session__": "b.ipynb"}) == "b.ipynb"
    assert magics.notebook_name({"__session__": 3}) == ""


def test_loading_again_replaces_and_unloading_takes_away(shell):
    shell.run_line_magic("reload_ext", "uv_argo_magic")
    ours = [one for one in shell.configurables if isinstance(one, magics.ArgoMagics)]
    assert len(ours) == 1
    matchers = [
        one for one in shell.Completer.custom_matchers if getattr(one, "matcher_identifier", "") == "uv_argo_magic"
    ]
    assert len(matchers) == 1
    shell.run_line_magic("unload_ext", "uv_argo_magic")
    assert "argo" not in shell.magics_manager.magics["cell"]
    assert not [one for one in shell.configurables if isinstance(one, magics.ArgoMagics)]


def test_loading_stays_light():
    code = (
        "import sys, uv_argo_magic\n"
        "assert 'IPython' not in sys.modules\n"
        "from IPython.core.interactiveshell import InteractiveShell\n"
        "before = set(sys.modules)\n"
        "shell = InteractiveShell(); shell.run_line_magic('load_ext', 'uv_argo_magic')\n"
        "assert 'argo' in shell.magics_manager.magics['cell']\n"
        "heavy = {'hera', 'kubernetes', 'ipywidgets', 'numpy', 'pandas', 'uv', 'packaging', 'platformdirs',\n"
        "  'importlib.metadata', 'uv_argo_magic.engine.run', 'uv_argo_magic.core.protocol', 'uv_argo_magic.history'}\n"
        "heavy &= set(sys.modules) - before\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr


def test_what_a_file_asks_for_beside_requirements(shell, engine, tmp_path):
    (tmp_path / "pyproject.toml").write_text(
        '[project]\nname = "x"\nrequires-python = ">=3.12,<3.14"\ndependencies = ["numpy"]\n'
        '[tool.uv]\nconstraint-dependencies = ["numpy<3"]\noverride-dependencies = ["six==1"]\n'
        'index-url = "https://index.example.com/simple"\n',
        encoding="utf-8",
    )
    run(shell, "-r pyproject.toml -p 3.13 --set constraints=pandas<3")
    assert engine.spec.settings.constraints == ("pandas<3", "numpy<3")
    assert engine.spec.settings.overrides == ("six==1",)
    assert engine.spec.settings.index_url == "https://index.example.com/simple"
    with pytest.raises(SpecError, match=r"--python 3.11 does not satisfy requires-python .* of pyproject\.toml"):
        run(shell, "-r pyproject.toml -p 3.11")
    run(shell, "-r pyproject.toml", '# /// script\n# requires-python = ">=3.13"\n# ///\n')
    # The kernel's own Python where it fits, else all that is required.
    wanted = engine.spec.python
    assert wanted == "" if MINOR == "3.13" else set(wanted.split(",")) == {">=3.12", "<3.14", ">=3.13"}


def test_a_run_is_exported(shell, engine, tmp_path, capsys):
    files = History(tmp_path / "home" / "data" / "runs").begin(
        "r1", spec=RunSpec(cell="x = 1\nx"), resolution=Lock(packages=(), target=Target(python="3.12.1"))
    )
    assert files.folder.is_dir()
    shell.run_line_magic("argo", "export r1 --to x.py")
    assert capsys.readouterr().out == "x.py: uv run x.py\nA script does not display its last expression: print it.\n"
    assert (tmp_path / "x.py").read_text().endswith("\n\nx = 1\nx\n")


def test_checks_are_printed_as_they_come(shell, monkeypatch, capsys):
    def examine(line, around):
        assert (line.text("backend"), around.traits.get("python")) == ("argo", "3.12")
        yield Check(name="API", outcome="ok", message="answers")
        assert capsys.readouterr().out.split() == ["ok", "API", "answers"]
        yield Check(name="rights", outcome="failed", message="none", hint="Ask for them.")

    monkeypatch.setattr("uv_argo_magic.commands.doctor.examine", examine)
    shell.run_line_magic("config", "ArgoMagics.python = '3.12'")
    shell.run_line_magic("argo", "doctor -b argo")
    first, second = capsys.readouterr().out.splitlines()
    assert (first.split(), second.strip()) == (["FAILED", "rights", "none"], "Ask for them.")
    assert first.index("none") == second.index("Ask")


def test_a_notebook_has_one_table_of_checks_that_grows(shell, monkeypatch, capsys):
    class Handle:
        def update(self, data, *, raw):
            seen.append(data)

    def display(data, *, raw, display_id):
        seen.append(data)
        return Handle()

    def examine(line, around):
        yield Check(name="API", outcome="ok", message="answers")
        yield Check(name="rights", outcome="failed", message="none", hint="Ask for <them>.")

    seen = []
    monkeypatch.setattr(shell, "kernel", object(), raising=False)
    monkeypatch.setattr("uv_argo_magic.notebook.magics.display", display)
    monkeypatch.setattr("uv_argo_magic.commands.doctor.examine", examine)
    shell.run_line_magic("argo", "doctor")
    assert capsys.readouterr().out == ""
    first, second = seen
    assert "rights" not in first["text/plain"]
    assert second["text/plain"].splitlines()[-2:] == ["FAILED  rights  none", "                Ask for <them>."]
    assert "Ask for &lt;them&gt;." in second["text/html"]


def test_the_requirements_file_is_written_into_the_cell_that_asks_for_it(shell, engine, tmp_path, monkeypatch):
    monkeypatch.setenv("JPY_SESSION_NAME", str(tmp_path / "analysis.ipynb"))
    asked = []
    monkeypatch.setattr(shell, "set_next_input", lambda text, replace: asked.append((text, replace)))
    with pytest.raises(SpecError, match="no such file: analysis") as caught:
        shell.run_cell_magic("argo", "--write-deps", "print(1)\n")
    assert "%argo edit" in caught.value.hint
    (tmp_path / "analysis.requirements.txt").write_text("alpha==1.0\n")
    assert shell.run_cell_magic("argo", "--deps beta --write-deps --detach", "print(1)\n") is None
    assert asked == [('%%argo --deps "alpha==1.0" --detach\nprint(1)\n', True)]


@pytest.mark.parametrize("cell", ["%%argo?", "%%argo --help", "%%argo", "%argo help run", "%%argo -h\n1/0"])
def test_every_way_to_ask_for_the_options_of_a_cell(shell, capsys, cell):
    assert shell.run_cell(cell).success
    printed = capsys.readouterr().out
    assert "--push NAMES" in printed
    assert "Cluster settings:" in printed


def test_the_help_of_the_line_magic_lists_the_commands(shell, capsys):
    shell.run_cell("%argo?")
    assert "Usage: %argo COMMAND" in capsys.readouterr().out


CELLS = [
    "# why\n%%argo -p 3.12\n{body}",
    "%%argo \\\n  -p 3.12\n{body}",
    '%%argo --deps """\n""" -p 3.12\n{body}',
    "    %%argo -p 3.12\n\n    {body}",
]


@pytest.mark.parametrize("cell", CELLS)
def test_a_cell_may_have_its_line_below_a_comment_or_over_several_lines(engine, shell, cell):
    text = cell.format(body="1 / 0")
    shell.run_cell(text)
    spec = engine.spec
    assert spec.python == "3.12"
    number = text.split("\n").index(next(line for line in text.split("\n") if "/" in line)) + 1
    assert spec.cell.split("\n")[number - 1 - spec.line_offset] == "1 / 0"


def test_an_unloaded_extension_transforms_nothing(shell):
    shell.run_line_magic("unload_ext", "uv_argo_magic")
    assert shell.transform_cell("# a\n%%argo\nx").startswith("# a")


@pytest.mark.parametrize("line", ['--deps "numpy pan|das"', "-p 3.12 -d numpy=2", '--deps "numpy'])
def test_an_error_counts_in_the_cells_own_line(engine, shell, line):
    with pytest.raises(SpecError) as caught:
        run(shell, line)
    whole = f"%%argo {line}"
    at = next(whole.index(text) for text in ("|das", "=2", '"numpy') if text in whole)
    assert f"character {at + 1} of the line" in caught.value.message
