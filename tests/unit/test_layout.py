"""The layout of the package: how many modules a folder has, and that each has a test that a reader finds."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from support.cases import each

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "uv_argo_magic"
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path.name != "__init__.py")
FOLDERS = sorted({path.parent for path in MODULES})
MOST = {PACKAGE: 7}
"""Modules in a folder, but for those that have 16: the top is what a newcomer sees."""


@each("folder", FOLDERS)
def test_no_folder_has_too_many_modules(folder):
    assert len([path for path in MODULES if path.parent == folder]) <= MOST.get(folder, 16)


MOST_LATE_IMPORTS = 35
"""Imports within functions: each saves measured time of `uv-argo run` or `%load_ext`, and says how much."""


def late_imports(path: Path) -> list[str]:
    """The lines of a module with imports within functions."""
    source = path.read_text(encoding="utf-8")
    without_types = re.sub(r"^if TYPE_CHECKING:\n(?: .*\n|\n)+", "", source, flags=re.MULTILINE)
    if not re.search(r"^ +(?:import|from) ", without_types, re.MULTILINE):  # parsing takes much longer
        return []
    lines = source.splitlines()
    functions = [node for node in ast.walk(ast.parse("\n".join(lines))) if isinstance(node, ast.FunctionDef)]
    found = {
        node.lineno
        for function in functions
        for node in ast.walk(function)
        if isinstance(node, ast.Import | ast.ImportFrom)
    }
    return [lines[number - 1] for number in sorted(found)]


def test_few_imports_are_late_and_each_has_a_reason():
    ours = [path for path in PACKAGE.rglob("*.py") if not path.relative_to(PACKAGE).parts[0].startswith("guest")]
    found = [line for path in ours for line in late_imports(path)]
    assert len(found) <= MOST_LATE_IMPORTS
    assert [line for line in found if not re.search(r"# noqa: PLC0415 - \w", line)] == []


def test_every_module_has_a_test_of_its_name_or_a_line_in_contributing():
    stems = {path.stem for path in (ROOT / "tests").rglob("test_*.py")}
    table = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").partition("## Where a module is tested")[2]
    tested_in = dict(re.findall(r"^\| `([\w/.*]+)` \| (.+) \|$", table, re.MULTILINE))
    names = [path.relative_to(PACKAGE) for path in MODULES]
    untested = [
        name
        for name in names
        if not {f"test_{name.stem}", f"test_{name.parent.name}_{name.stem}"} & stems
        and not any(name.match(pattern) for pattern in tested_in)
    ]
    assert untested == []
    assert [pattern for pattern in tested_in if not any(name.match(pattern) for name in names)] == []
    tests = [test for cell in tested_in.values() for test in re.findall(r"`([\w/]+\.py)`", cell)]
    assert [test for test in tests if not (ROOT / "tests" / test).exists()] == []
