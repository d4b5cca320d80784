"""core/requirements/import_names.py: the packages behind import names and misspellings, and Python's own modules."""

from __future__ import annotations

import sys

import pytest
from support.cases import each

from uv_argo_magic.core.requirements import import_names
from uv_argo_magic.core.requirements.import_names import (
    ALSO_IMPORTED,
    MISSPELLINGS,
    PACKAGE_OF,
    POPULAR,
    REMOVED,
    STANDARD_LIBRARY,
    suggest,
)
from uv_argo_magic.core.requirements.parser import parse


@each(("name", "package"), PACKAGE_OF.items())
def test_import_names_are_taken_with_a_warning(name, package):
    found = parse(name)
    assert found.lines == (name,)
    assert found.warnings == (f"{name} is an import name; its package is usually {package}.",)
    assert parse(package).warnings == ()


@pytest.mark.parametrize("name", ["PIL", "Yaml", "SKLEARN", "pkg_resources"])
def test_import_names_are_known_however_written(name):
    assert len(parse(name).warnings) == 1


@each("name", sorted(STANDARD_LIBRARY & sys.stdlib_module_names))
def test_modules_of_python_are_taken_with_a_warning(name):
    (warning,) = parse(name).warnings
    assert "is part of Python's standard library" in warning


def test_modules_of_python_come_with_this_one_too():
    assert not STANDARD_LIBRARY - sys.stdlib_module_names
    assert len(STANDARD_LIBRARY) > 150


@each(
    ("name", "meant"),
    [
        ("sklearn", "scikit-learn"),
        ("PIL", "pillow"),
        ("mpl_toolkits", "matplotlib"),
        ("pandsa", "pandas"),
        ("numppy", "numpy"),
        ("numpy", ""),
        ("zzzzqqq", ""),
    ],
)
def test_suggest(name, meant):
    assert suggest(name) == meant


def test_the_tables_are_well_formed():
    assert list(POPULAR) == sorted(set(POPULAR))
    assert all(name == name.lower() and "_" not in name for name in (*MISSPELLINGS, *POPULAR))


@each(
    ("module", "package"),
    [
        ("sklearn.svm", "scikit-learn"),
        ("PIL", "pillow"),
        ("mpl_toolkits.mplot3d", "matplotlib"),
        ("cgi", "legacy-cgi"),
        ("distutils.core", "setuptools"),
        ("Bio", "biopython"),
        ("pandas", "pandas"),
    ],
)
def test_the_package_of_a_module(module, package):
    assert import_names.package_of(module) == package


@each("name", ["time", "sqlite3", "tkinter", "py-compile", "cProfile"])
def test_a_module_of_python(name):
    assert import_names.in_standard_library(name)
    assert not import_names.in_standard_library(name + "x")


def test_a_removed_module_is_in_no_other_table():
    assert not set(REMOVED) & (STANDARD_LIBRARY | set(PACKAGE_OF) | set(ALSO_IMPORTED))
