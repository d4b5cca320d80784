"""core/commands/parser.py: the tokenizer, the expansion, the reader."""

from __future__ import annotations

from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.cases import each

from uv_argo_magic.core.commands import parser as opt
from uv_argo_magic.core.commands.table import CELL, COMMANDS
from uv_argo_magic.errors import SpecError

RUN = next(command for command in COMMANDS if command.name == "run")
LOGS = next(command for command in COMMANDS if command.name == "logs")


def texts(line, **keywords):
    return [word.text for word in opt.tokenize(line, **keywords)]


def cell(line, **names):
    return opt.read(CELL, opt.tokenize(line), "notebook", names)


def refused(line, **names):
    with pytest.raises(SpecError) as caught:
        cell(line, **names)
    return caught.value


@each(
    ("line", "expected"),
    [
        ("", []),
        ("  a \t b ", ["a", "b"]),
        ('"a b" c', ["a b", "c"]),
        ("'a b' c", ["a b", "c"]),
        ('"a "b" c"', ['a "b', 'c"']),  # the first quote with a blank behind it ends the word
        ('"it\'s"', ["it's"]),
        ('""', [""]),
        ('a"b', ['a"b']),
        ("python_version<'3.12'", ["python_version<'3.12'"]),
        ('x=="a b"', ['x=="a', 'b"']),  # two equals signs compare: no quoting
        ('--deps="numpy pandas"', ["--deps=numpy pandas"]),
        ("exclude_newer='30 days' x", ["exclude_newer=30 days", "x"]),
        ('["numpy", "pandas>=2"] x', ['["numpy", "pandas>=2"]', "x"]),
        ('--deps=["a", "b"]', ['--deps=["a", "b"]']),
        ('["numpy", pandas] x', ['["numpy",', "pandas]", "x"]),  # no JSON: plain words, and the grammar says so later
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
def test_words(line, expected):
    assert texts(line) == expected


@each(("line", "column"), [('"a', 1), ("--deps 'numpy", 8), ('--deps="numpy pandas', 8), ('"a"b', 1), ("x=3 y='z", 7)])
def test_an_open_quote_is_named_with_its_column(line, column):
    with pytest.raises(SpecError, match=f"the quote at character {column} of the line is not closed") as caught:
        opt.tokenize(line)
    assert "Close it" in caught.value.hint


def test_an_open_quote_is_a_word_while_somebody_types():
    assert texts('--deps "numpy pan', complete=False) == ["--deps", "numpy pan"]
    assert texts('"', complete=False) == [""]


@given(st.text(max_size=80))
def test_words_never_fail_but_by_their_error_and_cover_the_line(line):
    words = opt.tokenize(line, complete=False)
    assert "".join("".join(word.raw for word in words).split()) == "".join(line.split())
    assert all(line[word.start : word.end] == word.raw for word in words)


@given(st.text(alphabet=st.characters(blacklist_characters="'\"", blacklist_categories=["Cs"]), max_size=60))
def test_a_quoted_word_is_verbatim(text):
    assert texts(f'"{text}"') == [text]
    assert texts(f"x '{text}' y")[1] == text


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
        ("{a.b}", "{a.b}"),
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
def test_expand(text, expected):
    names = {
        "a": 1,
        "list": ["numpy", "pandas>=2; python_version < '4'"],
        "empty": [],
        "pair": ("é", "b"),
        "path": PurePosixPath("d/e"),
        "real": 1.5,
    }
    assert opt.expand(text, names, {}) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("$nope", r"\$nope is on the line, but nope is not defined$"),
        ("{depss}", r"\{depss\} is on the line, but depss is not defined; did you mean deps\?"),
        ("$frame", r"\$frame is a dict, which cannot be used on this line"),
        ("$mixed", r"\$mixed is a list"),
    ],
)
def test_expand_refuses(text, message):
    with pytest.raises(SpecError, match=message) as caught:
        opt.expand(text, {"deps": "x", "frame": {}, "mixed": ["a", 1]}, {})
    assert caught.value.hint


def test_the_literal_that_the_hint_gives_is_right():
    for text in ("$nope", "{nope}"):
        with pytest.raises(SpecError) as caught:
            opt.expand(text, {}, {})
        literal = caught.value.hint.split("write ")[1].split(" for")[0]
        assert opt.expand(literal, {}, {}) == text


def test_deps_run_on_until_the_next_option():
    line = cell("--deps numpy pandas>=2 , scipy -p 3.12 --dry-run")
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
def test_deps(line, deps):
    if deps is None:
        error = refused(line)
        assert str(error).startswith("--deps needs a value")
        assert error.hint == 'Example: --deps "numpy pandas>=2"'
    else:
        assert cell(line).text("deps") == deps


def test_lists_expand_alone_as_json_and_among_others_as_lines():
    needs = ["numpy", "pandas>=2"]
    assert cell("--deps $needs", needs=needs).text("deps") == '["numpy", "pandas>=2"]'
    assert cell('--deps "$needs"', needs=needs).text("deps") == '["numpy", "pandas>=2"]'
    assert cell("--deps scipy $needs", needs=needs).text("deps") == "scipy numpy\npandas>=2"
    assert cell("--deps $needs {needs}", needs=needs).expanded == (
        ("$needs", "numpy\npandas>=2"),
        ("{needs}", "numpy\npandas>=2"),
    )


def test_what_may_be_secret_is_not_shown():
    line = cell("--set variables=TOKEN=$mine --set panel=$panel", mine="quiet", panel="html")
    assert line.each("set") == ("variables=TOKEN=quiet", "panel=html")
    assert line.expanded == (("$mine", "(not shown)"), ("$panel", "html"))


def test_what_expands_is_data_and_never_an_option():
    line = cell("--deps $x", x="numpy --dry-run")
    assert line.text("deps") == "numpy --dry-run"
    assert not line.has("dry_run")
    assert "unexpected argument $x" in str(refused("$x", x="--dry-run"))


@each(
    ("line", "message"),
    [
        ("--dpes numpy", "unknown option --dpes; did you mean --deps?"),
        ("--python=3.12 --bakcend=x", "unknown option --bakcend; did you mean --backend?"),
        ("-z", "unknown option -z"),
        ("--dry-run=yes", "--dry-run takes no value"),
        ("--python -b local", "--python needs a value: Python version to run on"),
        ("-p 3.11 -p 3.12", "-p is given twice"),
        ("numpy", "unexpected argument numpy"),
        ("deps numpy", "unexpected argument deps; did you mean --deps?"),
        ("--set a=1 b=2", "unexpected argument b=2"),
    ],
)
def test_wrong_lines_say_what_is_right(line, message):
    error = refused(line)
    assert str(error) == message
    assert error.hint


def test_repeated_and_joined_forms():
    line = cell("-r a.txt -r 'b c.txt' --set x=1 --set y=2 -p3.12")
    assert line.each("requirements") == ("a.txt", "b c.txt")
    assert line.each("set") == ("x=1", "y=2")
    assert line.text("python") == "3.12"


def test_an_argument():
    line = opt.read(RUN, opt.tokenize("script.py --deps numpy"), "terminal")
    assert (line.argument, line.text("deps")) == ("script.py", "numpy")
    assert opt.read(LOGS, (), "notebook", {}).argument == ""
    assert opt.read(LOGS, opt.tokenize("$run"), "notebook", {"run": "r1"}).argument == "r1"
    assert opt.read(RUN, opt.tokenize("--help"), "terminal").has("help")
    with pytest.raises(SpecError, match="run needs FILE") as caught:
        opt.read(RUN, opt.tokenize("--deps numpy script.py"), "terminal")
    assert "Write FILE before --deps" in caught.value.hint
    with pytest.raises(SpecError, match="unexpected argument two") as caught:
        opt.read(LOGS, opt.tokenize("one two"), "notebook", {})
    assert caught.value.hint == "Example: %argo logs"


def test_options_of_another_place_are_unknown():
    with pytest.raises(SpecError, match="unknown option --push"):
        opt.read(RUN, opt.tokenize("x.py --push a"), "terminal")


def test_without_names_nothing_expands():
    assert opt.read(RUN, opt.tokenize("$x --deps {y} $$"), "terminal").argument == "$x"


@each(
    ("line", "name"),
    [("-s", "main"), ("--session plots", "plots"), ("-s --deps numpy", "main"), ("--session=a", "a"), ("-sb", "b")],
)
def test_a_session_has_a_name_or_the_usual_one(line, name):
    assert cell(line).text("session") == name


def test_what_is_no_identifier_is_not_the_name_of_a_session():
    assert "unexpected argument 9x" in refused("-s 9x").message
    assert "given twice" in refused("-s a -s b").message
