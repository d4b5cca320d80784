"""core/spec/script_export.py: a cell as a script for plain `uv run`, and the notes on the differences."""

from __future__ import annotations

import tomllib

from support.cases import each

from uv_argo_magic.core.requirements.pep723 import parse_script, without_block
from uv_argo_magic.core.resolution.lock import Lock, Package, Target
from uv_argo_magic.core.spec.run_spec import Settings
from uv_argo_magic.core.spec.script_export import pins, standalone


def export(cell, *, lines=("numpy==2.0",), pinned=True, **settings):
    return standalone(
        cell, lines=lines, minor="3.12", settings=Settings(**settings), comment="Exported: the run r1.", pinned=pinned
    )


def table(text):
    block = text.split("# /// script\n", 1)[1].split("# ///\n", 1)[0]
    return tomllib.loads("".join(line[2:] for line in block.splitlines(keepends=True)))


def test_script_ends_with_the_unchanged_cell():
    cell = 'from __future__ import annotations\nprint(\'{{x}}\', """\n# /// not\n""")'
    text = export(cell).text
    assert text.endswith(f"# ///\n# Exported: the run r1.\n\n{cell}\n")
    assert table(text) == {
        "requires-python": "==3.12.*",
        "dependencies": ["numpy==2.0"],
        "tool": {"uv": {"no-build": True}},
    }
    assert parse_script(text)
    compile(text, "x", "exec")


def test_existing_script_block_is_replaced():
    cell = '# first\n# /// script\n# dependencies = ["numpy"]\n# ///\nprint(1)\n'
    assert without_block(cell) == "# first\nprint(1)\n"
    text = export(cell).text
    assert text.count("# /// script") == 1
    assert text.endswith("\n\n# first\nprint(1)\n")
    assert without_block("print(1)\r\n") == "print(1)\r\n"


def test_unpinned_script_has_the_resolution_settings():
    rules = {"exclude_newer": "30 days", "prerelease": "allow", "constraints": ("six<2",), "only_binary": False}
    assert "tool" not in table(export("pass", **rules).text)
    assert table(export("pass", pinned=False, **rules).text)["tool"] == {
        "uv": {"exclude-newer": "30 days", "prerelease": "allow", "constraint-dependencies": ["six<2"]}
    }


def test_index_has_no_password():
    script = export("pass", index_url="https://me:secret@index.example.com/simple")
    assert table(script.text)["tool"]["uv"]["index"] == [{"url": "https://index.example.com/simple", "default": True}]
    assert "secret" not in script.text
    assert script.notes == ("Index credentials are not included: set them in uv's environment or in a .netrc file.",)
    assert export("pass", index_url="https://index.example.com/simple").notes == ()
    both = export("pass", index_url="https://a.example.com", indexes=(("own", "https://me:secret@b.example.com"),))
    assert table(both.text)["tool"]["uv"]["index"] == [
        {"url": "https://b.example.com", "name": "own"},
        {"url": "https://a.example.com", "default": True},
    ]
    assert "secret" not in both.text


def test_pins_list_all_packages_of_a_lock():
    packages = (
        Package(name="numpy", version="2.0", sha256="aa"),
        Package(name="own", version="", sha256="bb", url="https://example.com/own-1-py3-none-any.whl"),
        Package(name="sub", version="", sha256="cc", url="https://example.com/a.zip#subdirectory=x"),
    )
    assert pins(Lock(packages=packages, target=Target(python="3.12.1"), base_packages=(("torch", "2.9"),))) == (
        "torch==2.9",
        "numpy==2.0",
        "own @ https://example.com/own-1-py3-none-any.whl#sha256=bb",
        "sub @ https://example.com/a.zip#subdirectory=x&sha256=cc",
    )


@each(
    ("cell", "message"),
    [
        ("x = 1\nx", "does not display its last expression"),
        ("x.describe()", "does not display its last expression"),
        ("print(1)", ""),
        ("x = 1", ""),
        ("await f()\nx = 1", "Top-level await"),
        ("display(1)\nx = 1", "no display()"),
        ("from IPython.display import display\ndisplay(1)\nx = 1", ""),
        ("def display(x): pass\ndisplay(1)\nx = 1", ""),
        ("display = print\ndisplay(1)\nx = 1", ""),
        ("this is no Python", ""),
        ("", ""),
    ],
)
def test_differences_to_a_cell_are_noted(cell, message):
    notes = export(cell).notes
    assert (message in " ".join(notes)) if message else notes == ()


def test_variables_are_noted_without_values():
    script = export("x = 1", variables=(("TOKEN", "secret"), ("B", "2")))
    assert script.notes == ("Set the environment variables of the cell: TOKEN, B.",)
    assert "secret" not in script.text
