"""core/commands/parser.py: tokens, expansion and options."""

from __future__ import annotations

from pathlib import PurePosixPath
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.cases import each

from uv_argo_magic.core.commands import parser as opt
from uv_argo_magic.core.commands.table import CELL, COMMANDS
from uv_argo_magic.errors import SpecError

RUN = next(command for command in COMMANDS if command.name == "run")
LOGS = next(command for command in COMMANDS if command.name == "logs")


def token_texts(line, **keywords):
    return [word.text for word in opt.tokenize(line, **keywords)]


def read_cell_line(line, **names):
    return opt.read(CELL, opt.tokenize(line), "notebook", names)


def error_of(line, **names):
    with pytest.raises(SpecError) as exc_info:
        read_cell_line(line, **names)
    return exc_info.value


@each(
    ("line", "expected"),
    [
        ("", []),
        ("  a \t b ", ["a", "b"]),
        ('"a b" c', ["a b", "c"]),
        ("'a b' c", ["a b", "c"]),
        ('"a "b" c"', ['a "b', 'c"']),  # the first quote followed by a space ends the word
        ('"it\'s"', ["it's"]),
        ('""', [""]),
        ('a"b', ['a"b']),
        ("python_version<'3.12'", ["python_version<'3.12'"]),
        ('x=="a b"', ['x=="a', 'b"']),  # no quoting after a comparison
        ('--deps="numpy pandas"', ["--deps=numpy pandas"]),
        ("exclude_newer='30 days' x", ["exclude_newer=30 days", "x"]),
        ('["numpy", "pandas>=2"] x', ['["numpy", "pandas>=2"]', "x"]),
        ('--deps=["a", "b"]', ['--deps=["a", "b"]']),
        ('["numpy", pandas] x', ['["numpy",', "pandas]", "x"]),  # not JSON: words that the grammar rejects later
        ('["numpy"]x', ['["numpy"]x']),
        ("numpy[extra]", ["numpy[extra]"]),
        (r"a\ b", ["a\\", "b"]),
        ("a # b", ["a", "#", "b"]),
        ("-d \u201cnumpy pandas\u201d -p 3", ["-d", "numpy pandas", "-p", "3"]),
        ("-d \u2018numpy pandas\u2019", ["-d", "numpy pandas"]),
        ('-d \u201cnumpy pandas"', ["-d", "numpy pandas"]),
        ("\u2014deps numpy \u2013p 3 \u2013-push x", ["--deps", "numpy", "-p", "3", "--push", "x"]),
        ("['numpy', 'pandas'] x", ['["numpy", "pandas"]', "x"]),
        ("[\u201cnumpy\u201d, \u2018pandas\u2019,]", ['["numpy", "pandas"]']),
        ("['a'", ["['a'"]),
        ("x\u201cy", ["x\u201cy"]),
    ],
)
def test_tokenize_splits_words(line, expected):
    assert token_texts(line) == expected


@each(("line", "column"), [('"a', 1), ("--deps 'numpy", 8), ('--deps="numpy pandas', 8), ('"a"b', 1), ("x=3 y='z", 7)])
def test_open_quote_is_reported_with_its_column(line, column):
    with pytest.raises(SpecError, match=f"the quote at character {column} of the line is not closed") as exc_info:
        opt.tokenize(line)
    assert "Close it" in exc_info.value.hint


def test_open_quote_is_allowed_during_completion():
    assert token_texts('--deps "numpy pan', complete=False) == ["--deps", "numpy pan"]
    assert token_texts('"', complete=False) == [""]


@given(st.text(max_size=80))
def test_tokens_of_an_incomplete_line_cover_it(line):
    tokens = opt.tokenize(line, complete=False)
    assert "".join("".join(token.raw for token in tokens).split()) == "".join(line.split())
    assert all(line[token.start : token.end] == token.raw for token in tokens)


@given(st.text(alphabet=st.characters(blacklist_characters="'\"", blacklist_categories=["Cs"]), max_size=60))
def test_quoted_word_is_verbatim(text):
    assert token_texts(f'"{text}"') == [text]
    assert token_texts(f"x '{text}' y")[1] == text


@each(
    ("text", "expected"),
    [
        ("$a", "1"),
        ("{a}", "1"),
        ("$a-{a}", "1-1"),
        ("$$a", "$a"),
        ("$$", "$"),
        ("{{a}}", "{a}"),
        ('{"a": 1}', '{"a": 1}'),
        ('{"a": {"b": 1}}', '{"a": {"b": 1}}'),
        ("${a}", "${a}"),
        ("{run.id}", "x7"),
        ("a-{run.names[0]}.{run.names[-1]}", "a-n.m"),
        ("{run.names}", '["n", "m"]'),
        ("{table['a.b']}/{table[\"c\"]}", "1/d/e"),
        ("{{workflow.name}}", "{{workflow.name}}"),
        ("{run.id()}", "{run.id()}"),
        ("${run.id}", "${run.id}"),
        ("{}", "{}"),
        ("$5", "$5"),
        ("{ a }", "{ a }"),
        ('["x", "y[z]"]', '["x", "y[z]"]'),
        ("$list", '["numpy", "pandas>=2; python_version < \'4\'"]'),
        (" {list}", " numpy\npandas>=2; python_version < '4'"),
        ("$empty", "[]"),
        ("$pair", '["é", "b"]'),
        ("$path/x", "d/e/x"),
        ("$real", "1.5"),
    ],
)
def test_expand_replaces_variables(text, expected):
    names = {
        "a": 1,
        "list": ["numpy", "pandas>=2; python_version < '4'"],
        "empty": [],
        "pair": ("é", "b"),
        "path": PurePosixPath("d/e"),
        "real": 1.5,
        "run": SimpleNamespace(id="x7", names=["n", "m"]),
        "table": {"a.b": 1, "c": PurePosixPath("d/e")},
    }
    assert opt.expand(text, names, {}) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("$nope", r"\$nope is on the line, but nope is not defined$"),
        ("{depss}", r"\{depss\} is on the line, but depss is not defined; did you mean deps\?"),
        ("$frame", r"\$frame is a dict, which cannot be used on this line"),
        ("$mixed", r"\$mixed is a list"),
        ("{deps.id}", r"\{deps.id\} is on the line, but AttributeError: 'str' object has no attribute 'id'"),
        ("{frame['a']}", r"\{frame\['a'\]\} is on the line, but KeyError: 'a'"),
        ("{run.id}", r"\{run.id\} is on the line, but run is not defined"),
        ("{deps.upper}", r"\{deps.upper\} is a builtin_function_or_method"),
    ],
)
def test_expand_rejects_unknown_and_unsupported_values(text, message):
    with pytest.raises(SpecError, match=message) as exc_info:
        opt.expand(text, {"deps": "x", "frame": {}, "mixed": ["a", 1]}, {})
    assert exc_info.value.hint


def test_expand_hint_shows_a_valid_literal():
    for text in ("$nope", "{nope}"):
        with pytest.raises(SpecError) as exc_info:
            opt.expand(text, {}, {})
        literal = exc_info.value.hint.split("write ")[1].split(" for")[0]
        assert opt.expand(literal, {}, {}) == text


def test_deps_extend_to_the_next_option():
    line = read_cell_line("--deps numpy pandas>=2 , scipy -p 3.12 --dry-run")
    assert line.text("deps") == "numpy pandas>=2 , scipy"
    assert line.text("python") == "3.12"
    assert line.has("dry_run")
    assert not line.has("detach")


@each(
    ("line", "deps"),
    [
        ('--deps "numpy pandas" scipy', "numpy pandas scipy"),
        ("--deps numpy; python_version < '3.12'", "numpy; python_version < '3.12'"),
        ("--deps numpy; '3.12' > python_version", "numpy; '3.12' > python_version"),
        ("--deps numpy; sys_platform in 'linux darwin'", "numpy; sys_platform in 'linux darwin'"),
        ("--deps numpy; 'linux' in sys_platform", "numpy; 'linux' in sys_platform"),
        ("--deps numpy; 'linux' not in sys_platform", "numpy; 'linux' not in sys_platform"),
        ("--deps \"numpy; python_version < '3.12'\" pandas", "numpy; python_version < '3.12' pandas"),
        ('--deps ["numpy", "a[b]"]', '["numpy", "a[b]"]'),
        ('--deps ""', ""),
        ("--deps=numpy pandas", "numpy pandas"),
        ("-d numpy --deps pandas", "numpy\npandas"),
        ("-dnumpy", "numpy"),
        ("--deps", None),
    ],
)
def test_deps_values(line, deps):
    if deps is None:
        error = error_of(line)
        assert str(error).startswith("--deps needs a value")
        assert error.hint == 'Example: --deps "numpy pandas>=2"'
    else:
        assert read_cell_line(line).text("deps") == deps


def test_lists_expand_to_json_or_lines():
    needs = ["numpy", "pandas>=2"]
    assert read_cell_line("--deps $needs", needs=needs).text("deps") == '["numpy", "pandas>=2"]'
    assert read_cell_line('--deps "$needs"', needs=needs).text("deps") == '["numpy", "pandas>=2"]'
    assert read_cell_line("--deps scipy $needs", needs=needs).text("deps") == "scipy numpy\npandas>=2"
    assert read_cell_line("--deps $needs {needs}", needs=needs).expanded == (
        ("$needs", "numpy\npandas>=2"),
        ("{needs}", "numpy\npandas>=2"),
    )


def test_secret_values_are_not_shown():
    line = read_cell_line("--set variables=TOKEN=$mine --set panel=$panel", mine="quiet", panel="html")
    assert line.each("set") == ("variables=TOKEN=quiet", "panel=html")
    assert line.expanded == (("$mine", "(not shown)"), ("$panel", "html"))


def test_expanded_text_is_never_an_option():
    line = read_cell_line("--deps $x", x="numpy --dry-run")
    assert line.text("deps") == "numpy --dry-run"
    assert not line.has("dry_run")
    assert "unexpected argument $x" in str(error_of("$x", x="--dry-run"))


@each(
    ("line", "message"),
    [
        ("--dpes numpy", "unknown option --dpes; did you mean --deps?"),
        ("--python=3.12 --bakcend=x", "unknown option --bakcend; did you mean --backend?"),
        ("-z", "unknown option -z"),
        ("--dry-run=yes", "--dry-run takes no value"),
        ("--python -b local", "--python needs a value: Python version or specifier to run on"),
        ("-p 3.11 -p 3.12", "-p is given twice"),
        ("numpy", "unexpected argument numpy"),
        ("deps numpy", "unexpected argument deps; did you mean --deps?"),
        ("--set a=1 b=2", "unexpected argument b=2"),
    ],
)
def test_invalid_lines_are_rejected_with_a_hint(line, message):
    error = error_of(line)
    assert str(error) == message
    assert error.hint


def test_options_can_be_repeated_and_joined():
    line = read_cell_line("-r a.txt -r 'b c.txt' --set x=1 --set y=2 -p3.12")
    assert line.each("requirements") == ("a.txt", "b c.txt")
    assert line.each("set") == ("x=1", "y=2")
    assert line.text("python") == "3.12"


def test_positional_argument():
    line = opt.read(RUN, opt.tokenize("script.py --deps numpy"), "terminal")
    assert (line.argument, line.text("deps")) == ("script.py", "numpy")
    assert opt.read(LOGS, (), "notebook", {}).argument == ""
    assert opt.read(LOGS, opt.tokenize("$run"), "notebook", {"run": "r1"}).argument == "r1"
    assert opt.read(RUN, opt.tokenize("--help"), "terminal").has("help")
    with pytest.raises(SpecError, match="run needs FILE") as exc_info:
        opt.read(RUN, opt.tokenize("--deps numpy script.py"), "terminal")
    assert "Write FILE before --deps" in exc_info.value.hint
    with pytest.raises(SpecError, match="unexpected argument two") as exc_info:
        opt.read(LOGS, opt.tokenize("one two"), "notebook", {})
    assert exc_info.value.hint == "Example: %argo logs"


def test_options_of_another_front_end_are_unknown():
    with pytest.raises(SpecError, match="unknown option --push"):
        opt.read(RUN, opt.tokenize("x.py --push a"), "terminal")


def test_terminal_lines_are_not_expanded():
    assert opt.read(RUN, opt.tokenize("$x --deps {y} $$"), "terminal").argument == "$x"


@each(
    ("line", "name"),
    [
        ("-s", "main"),
        ("--session plots", "plots"),
        ("-s --deps numpy", "main"),
        ("--session=a", "a"),
        ("-sb", "b"),
        ("-s my-model", "my-model"),
        ("-s 2nd --deps numpy", "2nd"),
        ("--session my-session.1", "my-session.1"),
    ],
)
def test_session_name_has_a_default(line, name):
    assert read_cell_line(line).text("session") == name


def test_session_is_named_once():
    assert "unexpected argument numpy" in error_of("-s a numpy").message
    assert "given twice" in error_of("-s a -s b").message
