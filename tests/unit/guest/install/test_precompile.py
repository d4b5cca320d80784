"""guest/install/precompile.py; contract/test_isolation.py tests the process."""

from __future__ import annotations

import importlib.util

import pytest

from uv_argo_magic.guest.install import precompile

FILES = {
    "alpha/__init__.py": "from . import (\n    one,\n    two,\n)\n",
    "alpha/one.py": "import os, beta.deep as deep\n",
    "alpha/two.py": "from .sub.three import x\nif TYPE_CHECKING:\n    from . import types\n",
    "alpha/sub/__init__.py": "",
    "alpha/sub/three.py": "from .. import four\nfrom ..five import y\n",
    "alpha/four.py": "1 +\n",
    "alpha/five.py": "",
    "alpha/types.py": "",
    "alpha/tests.py": "",
    "beta/__init__.py": "",
    "beta/deep.py": "",
    "gamma.py": "",
}


@pytest.fixture
def site(tmp_path):
    """A folder with these packages."""
    for path, text in FILES.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    return tmp_path


def compiled(site):
    return {path for path in FILES if (site / importlib.util.cache_from_source(path)).exists()}


@pytest.mark.parametrize(
    ("source", "package", "names"),
    [
        ("import a", "", ["a"]),
        ("import a.b as c, d  # e", "", ["a.b", "as", "c", "d"]),
        ("from a.b import c, d", "", ["a.b", "a.b.c", "a.b.d"]),
        ("from a import (\n    b,\n    c,\n)\nimport d", "", ["a", "a.b", "a.c", "d"]),
        ("from . import b", "a", ["a", "a.b"]),
        ("from .b import c", "a.x", ["a.x.b", "a.x.b.c"]),
        ("from ..b import c", "a.x", ["a.b", "a.b.c"]),
        ("def f():\n    import a\nimportant = 1\nfrom_ = 2", "", []),
    ],
)
def test_names_in_import_statements(source, package, names):
    assert precompile.imported(source, package) == names


def test_imported_modules_are_compiled(site):
    precompile.compile_imports(str(site), ["alpha.one"], lambda: False)
    assert compiled(site) == set(FILES) - {"alpha/four.py", "alpha/types.py", "alpha/tests.py", "gamma.py"}


def test_last_module_is_compiled_first(site):
    precompile.compile_imports(str(site), ["beta", "alpha", "gamma"], lambda: compiled(site))
    assert compiled(site) == {"gamma.py"}


def test_compiled_modules_are_not_compiled_again(site):
    path = site / importlib.util.cache_from_source("gamma.py")
    path.parent.mkdir()
    path.write_bytes(b"other")
    precompile.compile_imports(str(site), ["gamma"], lambda: False)
    assert path.read_bytes() == b"other"


@pytest.mark.parametrize("names", [["..."], ["/etc"], ["os"], [""]])
def test_other_names_are_skipped(site, names):
    precompile.compile_imports(str(site), names, lambda: False)
    assert compiled(site) == set()


@pytest.mark.parametrize(("cell", "quota"), [("print(1)", "max 100000"), ("import gamma", "150000 100000")])
def test_nothing_starts_without_imports_or_with_one_core(site, cell, quota, monkeypatch):
    (site / "cpu.max").write_text(quota)
    monkeypatch.setattr(precompile, "QUOTA", str(site / "cpu.max"))
    assert precompile.start(None, str(site), cell) is None
