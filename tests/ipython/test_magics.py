"""notebook/magics.py, cells.py and engine/preparation/spec_builder.py: from a cell to its RunSpec, and back."""

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
from uv_argo_magic.engine.preparation import ipython_syntax
from uv_argo_magic.errors import ArgoMagicError, CellFailed, SpecError
from uv_argo_magic.history.store import History
from uv_argo_magic.notebook import magics

MINOR = ".".join(map(str, sys.version_info[:2]))


def run_cell(shell, line, cell="1"):
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
def test_cell_source_is_unchanged(shell, engine, cell):
    shell.run_cell(f"%%argo --deps numpy\n{cell}").raise_error()
    # IPython ends each cell with one newline.
    assert engine.spec.cell.rstrip("\n") == cell.rstrip("\n")
    assert engine.spec.requirements.lines == ("numpy",)
    assert engine.spec.line_offset == 1


def test_variables_on_the_line_are_expanded_and_shown(shell, engine, capsys):
    shell.user_ns.update(needs=["numpy", "pandas>=2"], version="3.12")
    run_cell(shell, "--deps $needs -p {version}")
    assert engine.spec.requirements.lines == ("numpy", "pandas>=2")
    assert engine.spec.python == "3.12"
    out = capsys.readouterr().out
    assert '$needs = ["numpy", "pandas>=2"]' in out
    with pytest.raises(SpecError, match="need is not defined; did you mean needs"):
        run_cell(shell, "--deps $need")


def test_result_is_the_value_of_the_cell(shell, engine):
    engine.events = fake_engine.ended("ok", ev.Result(boot="b", n=1, t=1.0, data=(("text/plain", '"42"'),)))
    execution = shell.run_cell("%%argo\n42")
    assert (repr(execution.result), repr(shell.user_ns["_"])) == ("42", "42")


def test_out_variable_is_bound_if_the_run_fails(shell, engine):
    engine.events = fake_engine.ended("error", code=1)
    with pytest.raises(CellFailed):
        run_cell(shell, "--out trial --pull x")
    assert shell.user_ns["trial"].id == "r1"
    assert "x" not in shell.user_ns


def test_out_variable_is_bound_after_an_interrupt(shell, engine):
    engine.interrupt = True
    with pytest.raises(KeyboardInterrupt):
        run_cell(shell, "-o trial")
    assert shell.user_ns["trial"].id == "r1"


def test_push_and_pull_transfer_variables(shell, engine):
    shell.user_ns["x"] = [1, 2]
    engine.values = {"total": 3}
    run_cell(shell, "--push x --pull total")
    assert [item.name for item in engine.spec.push] == ["x"]
    assert engine.spec.pull == ("total",)
    assert shell.user_ns["total"] == 3
    with pytest.raises(SpecError, match="--push xx: xx is not defined"):
        run_cell(shell, "--push xx")
    with pytest.raises(SpecError):
        run_cell(shell, "--push f --dry-run --set value_limit=1 --push x")


def test_dry_run_prints_without_starting_a_run(shell, engine, capsys):
    run_cell(shell, "--deps numpy --dry-run")
    assert "would run ('numpy',)" in capsys.readouterr().out
    assert engine.started == []


def test_ignored_resources_are_noted(shell, engine, capsys):
    run_cell(shell, "--gpu 1")
    assert engine.spec.resources.gpu == "1"
    assert "The local backend ignores gpu=1." in capsys.readouterr().out


def test_variables_on_the_line_override_env_files(shell, engine, tmp_path):
    (tmp_path / ".env").write_text("export A=1\nB='two words'\n", encoding="utf-8")
    (tmp_path / "more.env").write_text("B=3\nC=4\n", encoding="utf-8")
    shell.run_line_magic("config", "ArgoMagics.variables = {'A': '0', 'Z': '9'}")
    run_cell(shell, "--env-file .env --env-file more.env")
    assert dict(engine.spec.settings.variables) == {"A": "1", "B": "3", "C": "4", "Z": "9"}
    run_cell(shell, "--env-file .env --set variables=A=mine")
    assert dict(engine.spec.settings.variables) == {"A": "mine", "B": "two words"}


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "cannot read .env: No such file"), (b"\xff", ".env is not UTF-8"), (b"secret", ".env, line 1: not a NAME")],
)
def test_unreadable_env_file_is_rejected(shell, engine, tmp_path, content, message):
    if content is not None:
        (tmp_path / ".env").write_bytes(content)
    with pytest.raises(SpecError, match=message) as exc_info:
        run_cell(shell, "--env-file .env")
    assert "secret" not in str(exc_info.value)
    assert engine.prepared == []


def test_removed_working_directory_is_reported(shell, engine, tmp_path, monkeypatch):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(SpecError, match="the working directory does not exist any more"):
        run_cell(shell, "")
    assert engine.started == []
    monkeypatch.chdir(tmp_path)


def test_help_starts_no_run(shell, engine, capsys):
    run_cell(shell, "--help")
    assert "--deps" in capsys.readouterr().out
    assert engine.prepared == []


def test_requirements_come_from_the_first_source_that_is_set(shell, engine, tmp_path, capsys):
    (tmp_path / "needs.txt").write_text("scipy  # why\nnumpy\n", encoding="utf-8")
    shell.user_ns["__vsc_ipynb_file__"] = str(tmp_path / "study.ipynb")
    notebook_file = tmp_path / "study.requirements.txt"

    def requirements_and_note(line, cell="1"):
        run_cell(shell, line, cell)
        return engine.spec.requirements.lines, capsys.readouterr().out

    def origin(line, cell="1"):
        run_cell(shell, line, cell)
        capsys.readouterr()
        return engine.spec.requirements_source

    assert requirements_and_note("") == ((), "")
    shell.run_line_magic("config", "ArgoMagics.deps = 'polars'")
    assert requirements_and_note("") == (("polars",), "Requirements from deps of %config ArgoMagics: polars\n")
    notebook_file.write_text("rich>=13\nattrs\n", encoding="utf-8")
    assert requirements_and_note("") == (
        ("rich>=13", "attrs"),
        "Requirements from study.requirements.txt: rich>=13, attrs\n",
    )
    assert requirements_and_note("", SCRIPT_BLOCK) == (("polars",), "")
    assert requirements_and_note("-r needs.txt", SCRIPT_BLOCK) == (("scipy", "numpy"), "")
    assert requirements_and_note("--deps numpy -r needs.txt", SCRIPT_BLOCK) == (("numpy", "scipy"), "")
    assert requirements_and_note('--deps ""', SCRIPT_BLOCK) == ((), "")
    assert origin("") == "study.requirements.txt"
    assert origin("", SCRIPT_BLOCK) == "the cell's script block"
    assert origin("--deps numpy", SCRIPT_BLOCK) == ""
    assert origin("--deps numpy -r needs.txt") == "the files of its line"
    # A script block with only requires-python does not set the requirements.
    assert requirements_and_note("", '# /// script\n# requires-python = ">=3.11"\n# ///\n')[0] == ("rich>=13", "attrs")
    notebook_file.write_text("# nothing yet\n", encoding="utf-8")
    assert requirements_and_note("") == ((), "Requirements from study.requirements.txt: none\n")


def test_invalid_requirements_file_is_reported_with_its_line(shell, engine, tmp_path, monkeypatch):
    monkeypatch.setenv("JPY_SESSION_NAME", str(tmp_path / "study.ipynb"))
    (tmp_path / "study.requirements.txt").write_text("rich\nnumpy=2\n", encoding="utf-8")
    with pytest.raises(SpecError, match=r"study\.requirements\.txt, line 2, character 6"):
        run_cell(shell, "")
    assert engine.prepared == []
    run_cell(shell, "--deps rich")
    # A console has no notebook, and so no requirements file.
    monkeypatch.setenv("JPY_SESSION_NAME", str(tmp_path / "study"))
    run_cell(shell, "")
    assert engine.spec.requirements.lines == ()


def test_unreadable_requirements_file_is_rejected(shell, engine, tmp_path):
    (tmp_path / "needs.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SpecError, match=r"cannot read need.txt: .*; did you mean needs.txt\?"):
        run_cell(shell, "-r need.txt")
    with pytest.raises(SpecError, match=r"needs\.txt is not UTF-8"):
        run_cell(shell, "-r needs.txt")


SCRIPT_BLOCK = '# /// script\n# dependencies = ["polars"]\n# requires-python = ">=3.12,<3.14"\n# ///\n'


def test_script_block_sets_requirements_and_python(shell, engine):
    run_cell(shell, "-p 3.13", SCRIPT_BLOCK)
    assert engine.spec.requirements.lines == ("polars",)
    assert engine.spec.python == "3.13"
    with pytest.raises(SpecError, match=r"--python 3\.11 does not satisfy requires-python <3\.14,>=3\.12"):
        run_cell(shell, "-p 3.11", SCRIPT_BLOCK)
    run_cell(shell, '-p ">=3.13"', SCRIPT_BLOCK)
    assert engine.spec.python == ">=3.13,<3.14,>=3.12"
    shell.run_line_magic("config", "ArgoMagics.python = '3.12'")
    run_cell(shell, "", SCRIPT_BLOCK)
    assert engine.spec.python == "3.12"
    shell.run_line_magic("config", "ArgoMagics.python = '3.10'")
    run_cell(shell, "", SCRIPT_BLOCK)
    assert set(engine.spec.python.split(",")) == {">=3.12", "<3.14"}


def test_config_sets_lists_and_validates_settings(shell, engine, capsys):
    shell.run_line_magic("config", "ArgoMagics.run_timeout = '5m'")
    run_cell(shell, "")
    assert engine.spec.settings.run_timeout == 300
    run_cell(shell, "--set run_timeout=7")
    assert engine.spec.settings.run_timeout == 7
    capsys.readouterr()
    shell.run_line_magic("config", "ArgoMagics")
    output = capsys.readouterr().out
    assert "ArgoMagics.log_budget" in output
    assert "(default: 8 MiB)" in " ".join(output.split())
    magics_instance = next(
        configurable for configurable in shell.configurables if isinstance(configurable, magics.ArgoMagics)
    )
    with pytest.raises(TraitError, match="invalid value for panel: widgets; did you mean widget"):
        magics_instance.panel = "widgets"
    magics_instance.run_timeout = None
    assert "run_timeout" not in magics_instance._set_traits()


@pytest.mark.parametrize("line", ["--dpes numpy", "'open", "--python", "numpy", "--set x=1", "-b nope"])
def test_invalid_line_raises_our_error(shell, engine, line):
    execution = shell.run_cell(f"%%argo {line}\n1")
    assert isinstance(execution.error_in_exec, ArgoMagicError)
    assert execution.error_in_exec._render_traceback_()
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
def test_unavailable_magics_are_rejected(cell, line, hint):
    spec = RunSpec(cell=cell, code=ipython_syntax.translate(cell))
    with pytest.raises(SpecError, match=f"^line {line}: ") as exc_info:
        ipython_syntax.refuse_unknown(spec, Lock(packages=(), target=Target(python="3.12.1")))
    assert hint in exc_info.value.hint
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
def test_magics_of_ipython_add_it_to_the_requirements(cell, is_added):
    requirements = ipython_syntax.with_ipython(parse("numpy"), ["numpy"], ipython_syntax.translate(cell))
    assert requirements.lines == (("numpy", "ipython") if is_added else ("numpy",))


def test_ipython_is_not_added_to_a_running_session():
    spec = RunSpec(cell="", code=ipython_syntax.translate("%load_ext autoreload"))
    with pytest.raises(SpecError) as exc_info:
        ipython_syntax.refuse_unknown(spec, Lock(packages=(), target=Target(python="3.12.1")), is_started=True)
    assert "to --deps of the session's first cell" in exc_info.value.hint


def test_ipython_syntax_is_translated(shell, engine):
    run_cell(shell, "", "x = !ls\nlen(x)")
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
def test_translation_preserves_line_numbers(cell, code):
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
def test_invalid_python_is_not_translated(cell):
    assert cell_syntax.syntax_error(ipython_syntax.translate(cell) or cell, "<cell>", 0) or "\0" in cell


def test_syntax_error_is_shown_on_its_line_and_starts_no_run(shell, engine, capsys):
    execution = shell.run_cell("%%argo --deps numpy\nx = 1\ny = = 2")
    error = execution.error_in_exec
    assert type(error).__name__ == "SyntaxError"
    assert isinstance(error, CellFailed)
    assert engine.started == []
    output = capsys.readouterr().out
    # A kernel prints "Cell In[1], line 3", a shell without kernel "File <ipython-input-1-...>:3".
    assert "line 3" in output or ":3" in output
    assert "y = = 2" in output
    assert "magics.py" not in output


def test_syntax_is_not_checked_for_another_python(shell, engine):
    run_cell(shell, "--python 3.99", "x = = 1")
    assert len(engine.started) == 1
    with pytest.raises(CellFailed, match="invalid syntax"):
        run_cell(shell, f"--python {MINOR}", "x = = 1")
    assert len(engine.prepared) == 1


def test_argo_commands_print_or_raise(shell, capsys):
    shell.run_line_magic("argo", "")
    assert "Usage: %argo COMMAND" in capsys.readouterr().out
    shell.run_line_magic("argo", "runs")
    assert "No runs in the history" in capsys.readouterr().out
    with pytest.raises(SpecError, match="unknown command rnus"):
        shell.run_line_magic("argo", "rnus")
    for command in ("last", "logs", "packages", "stop", "logs x"):
        with pytest.raises(SpecError):
            shell.run_line_magic("argo", command)


def test_every_setting_is_a_trait():
    traits = magics.ArgoMagics.class_traits(config=True)
    assert set(traits) == {*settings_parser.FIELDS, *config.OPTIONS}
    assert all(isinstance(traits[name], magics.Setting) for name in traits)


def test_notebook_name_comes_from_the_first_known_variable():
    assert magics.notebook_name({"__vsc_ipynb_file__": "a.ipynb", "__session__": "b.ipynb"}) == "a.ipynb"
    assert magics.notebook_name({"__session__": "b.ipynb"}) == "b.ipynb"
    assert magics.notebook_name({"__session__": 3}) == ""


def test_extension_can_be_reloaded_and_unloaded(shell):
    shell.run_line_magic("reload_ext", "uv_argo_magic")
    ours = [instance for instance in shell.configurables if isinstance(instance, magics.ArgoMagics)]
    assert len(ours) == 1
    matchers = [
        matcher
        for matcher in shell.Completer.custom_matchers
        if getattr(matcher, "matcher_identifier", "") == "uv_argo_magic"
    ]
    assert len(matchers) == 1
    shell.run_line_magic("unload_ext", "uv_argo_magic")
    assert "argo" not in shell.magics_manager.magics["cell"]
    assert not [instance for instance in shell.configurables if isinstance(instance, magics.ArgoMagics)]


def test_loading_imports_no_large_modules():
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
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert result.returncode == 0, result.stderr


def test_pyproject_sets_constraints_index_and_python(shell, engine, tmp_path):
    (tmp_path / "pyproject.toml").write_text(
        '[project]\nname = "x"\nrequires-python = ">=3.12,<3.14"\ndependencies = ["numpy"]\n'
        '[tool.uv]\nconstraint-dependencies = ["numpy<3"]\noverride-dependencies = ["six==1"]\n'
        'index-url = "https://index.example.com/simple"\n',
        encoding="utf-8",
    )
    run_cell(shell, "-r pyproject.toml -p 3.13 --set constraints=pandas<3")
    assert engine.spec.settings.constraints == ("pandas<3", "numpy<3")
    assert engine.spec.settings.overrides == ("six==1",)
    assert engine.spec.settings.index_url == "https://index.example.com/simple"
    with pytest.raises(SpecError, match=r"--python 3.11 does not satisfy requires-python .* of pyproject\.toml"):
        run_cell(shell, "-r pyproject.toml -p 3.11")
    run_cell(shell, "-r pyproject.toml", '# /// script\n# requires-python = ">=3.13"\n# ///\n')
    # The kernel's Python if it satisfies both, otherwise all clauses.
    python = engine.spec.python
    assert python == "" if MINOR == "3.13" else set(python.split(",")) == {">=3.12", "<3.14", ">=3.13"}


def test_export_writes_a_script(shell, engine, tmp_path, capsys):
    files = History(tmp_path / "home" / "data" / "runs").begin(
        "r1", spec=RunSpec(cell="x = 1\nx"), resolution=Lock(packages=(), target=Target(python="3.12.1"))
    )
    assert files.folder.is_dir()
    shell.run_line_magic("argo", "export r1 --to x.py")
    assert (
        capsys.readouterr().out
        == "Wrote x.py. Run it with:   uv run x.py\nA script does not display its last expression: print it.\n"
    )
    assert (tmp_path / "x.py").read_text().endswith("\n\nx = 1\nx\n")


def test_doctor_prints_each_check_at_once(shell, monkeypatch, capsys):
    def examine(line, context):
        assert (line.text("backend"), context.traits.get("python")) == ("argo", "3.12")
        yield Check(name="API", outcome="ok", message="answers")
        assert capsys.readouterr().out.split() == ["ok", "API", "answers"]
        yield Check(name="rights", outcome="failed", message="none", hint="Ask for them.")

    monkeypatch.setattr("uv_argo_magic.commands.doctor.examine", examine)
    shell.run_line_magic("config", "ArgoMagics.python = '3.12'")
    shell.run_line_magic("argo", "doctor -b argo")
    first, second = capsys.readouterr().out.splitlines()
    assert (first.split(), second.strip()) == (["FAILED", "rights", "none"], "Ask for them.")
    assert first.index("none") == second.index("Ask")


def test_doctor_updates_one_table_in_a_notebook(shell, monkeypatch, capsys):
    class Handle:
        def update(self, data, *, raw):
            tables.append(data)

    def display(data, *, raw, display_id):
        tables.append(data)
        return Handle()

    def examine(line, context):
        yield Check(name="API", outcome="ok", message="answers")
        yield Check(name="rights", outcome="failed", message="none", hint="Ask for <them>.")

    tables = []
    monkeypatch.setattr(shell, "kernel", object(), raising=False)
    monkeypatch.setattr("uv_argo_magic.notebook.magics.display", display)
    monkeypatch.setattr("uv_argo_magic.commands.doctor.examine", examine)
    shell.run_line_magic("argo", "doctor")
    assert capsys.readouterr().out == ""
    first, second = tables
    assert "rights" not in first["text/plain"]
    assert second["text/plain"].splitlines()[-2:] == ["FAILED  rights  none", "                Ask for <them>."]
    assert "Ask for &lt;them&gt;." in second["text/html"]


def test_write_deps_replaces_the_cell(shell, engine, tmp_path, monkeypatch):
    monkeypatch.setenv("JPY_SESSION_NAME", str(tmp_path / "analysis.ipynb"))
    inputs = []
    monkeypatch.setattr(shell, "set_next_input", lambda text, replace: inputs.append((text, replace)))
    with pytest.raises(SpecError, match="analysis") as exc_info:
        shell.run_cell_magic("argo", "--write-deps", "print(1)\n")
    assert "%argo edit" in exc_info.value.hint
    (tmp_path / "analysis.requirements.txt").write_text("alpha==1.0\n")
    assert shell.run_cell_magic("argo", "--deps beta --write-deps --detach", "print(1)\n") is None
    assert inputs == [('%%argo --deps "alpha==1.0" --detach\nprint(1)\n', True)]


@pytest.mark.parametrize("cell", ["%%argo?", "%%argo --help", "%%argo", "%argo help run", "%%argo -h\n1/0"])
def test_all_ways_to_show_the_options_of_a_cell(shell, capsys, cell):
    assert shell.run_cell(cell).success
    output = capsys.readouterr().out
    assert "--push NAMES" in output
    assert "Cluster settings:" in output


def test_help_of_the_line_magic_lists_the_commands(shell, capsys):
    shell.run_cell("%argo?")
    assert "Usage: %argo COMMAND" in capsys.readouterr().out


CELLS_WITH_OPTIONS = [
    "# why\n%%argo -p 3.12\n{body}",
    "%%argo \\\n  -p 3.12\n{body}",
    '%%argo --deps """\n""" -p 3.12\n{body}',
    "    %%argo -p 3.12\n\n    {body}",
]


@pytest.mark.parametrize("cell", CELLS_WITH_OPTIONS)
def test_magic_line_can_follow_a_comment_or_span_lines(engine, shell, cell):
    text = cell.format(body="1 / 0")
    shell.run_cell(text)
    spec = engine.spec
    assert spec.python == "3.12"
    number = text.split("\n").index(next(line for line in text.split("\n") if "/" in line)) + 1
    assert spec.cell.split("\n")[number - 1 - spec.line_offset] == "1 / 0"


def test_unloaded_extension_transforms_no_cells(shell):
    shell.run_line_magic("unload_ext", "uv_argo_magic")
    assert shell.transform_cell("# a\n%%argo\nx").startswith("# a")


@pytest.mark.parametrize("line", ['--deps "numpy pan|das"', "-p 3.12 -d numpy=2", '--deps "numpy'])
def test_error_positions_count_from_the_start_of_the_line(engine, shell, line):
    with pytest.raises(SpecError) as exc_info:
        run_cell(shell, line)
    magic_line = f"%%argo {line}"
    column = next(magic_line.index(text) for text in ("|das", "=2", '"numpy') if text in magic_line)
    assert f"character {column + 1} of the line" in exc_info.value.message
