"""The layout of the package: the number of modules in a folder, and the tests of each module."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from support.cases import each

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "uv_argo_magic"
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path.name != "__init__.py")
FOLDERS = sorted({path.parent for path in MODULES})
MOST_MODULES = {PACKAGE: 7}
"""Maximum number of modules in a folder; 16 in other folders."""


@each("folder", FOLDERS)
def test_folders_have_few_modules(folder):
    assert len([path for path in MODULES if path.parent == folder]) <= MOST_MODULES.get(folder, 16)


MOST_LATE_IMPORTS = 35
"""Maximum number of imports within functions; each saves measured time, and its comment says how much."""


def late_imports(path: Path) -> list[str]:
    """The lines of a module with imports within functions."""
    source = path.read_text(encoding="utf-8")
    without_types = re.sub(r"^if TYPE_CHECKING:\n(?: .*\n|\n)+", "", source, flags=re.MULTILINE)
    if not re.search(r"^ +(?:import|from) ", without_types, re.MULTILINE):  # parsing takes much longer
        return []
    lines = source.splitlines()
    functions = [node for node in ast.walk(ast.parse("\n".join(lines))) if isinstance(node, ast.FunctionDef)]
    late = {
        node.lineno
        for function in functions
        for node in ast.walk(function)
        if isinstance(node, ast.Import | ast.ImportFrom)
    }
    return [lines[number - 1] for number in sorted(late)]


def test_late_imports_are_few_and_have_a_reason():
    client_modules = [
        path for path in PACKAGE.rglob("*.py") if not path.relative_to(PACKAGE).parts[0].startswith("guest")
    ]
    late = [line for path in client_modules for line in late_imports(path)]
    assert len(late) <= MOST_LATE_IMPORTS
    assert [line for line in late if not re.search(r"# noqa: PLC0415 - \w", line)] == []


def test_every_module_has_a_test_or_is_listed_in_contributing():
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
