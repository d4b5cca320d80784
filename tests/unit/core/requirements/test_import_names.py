"""core/requirements/import_names.py: packages of import names and misspellings, and the standard library."""

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
def test_import_names_are_accepted_with_a_warning(name, package):
    requirements = parse(name)
    assert requirements.lines == (name,)
    assert requirements.warnings == (f"{name} is an import name; its package is usually {package}.",)
    assert parse(package).warnings == ()


@pytest.mark.parametrize("name", ["PIL", "Yaml", "SKLEARN", "pkg_resources"])
def test_import_names_are_case_insensitive(name):
    assert len(parse(name).warnings) == 1


@each("name", sorted(STANDARD_LIBRARY & sys.stdlib_module_names))
def test_standard_library_names_are_accepted_with_a_warning(name):
    (warning,) = parse(name).warnings
    assert "is part of Python's standard library" in warning


def test_standard_library_table_matches_this_python():
    assert not STANDARD_LIBRARY - sys.stdlib_module_names
    assert len(STANDARD_LIBRARY) > 150


@each(
    ("name", "package"),
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
def test_suggest_package_for_name(name, package):
    assert suggest(name) == package


def test_tables_are_sorted_and_normalized():
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
def test_package_of_module(module, package):
    assert import_names.package_of(module) == package


@each("name", ["time", "sqlite3", "tkinter", "py-compile", "cProfile"])
def test_in_standard_library(name):
    assert import_names.in_standard_library(name)
    assert not import_names.in_standard_library(name + "x")


def test_removed_modules_are_in_one_table():
    assert not set(REMOVED) & (STANDARD_LIBRARY | set(PACKAGE_OF) | set(ALSO_IMPORTED))


@each(
    ("module", "package"),
    [
        ("google", ""),
        ("google.cloud", ""),
        ("google.cloud.nope", ""),
        ("google.colab", ""),
        ("google.cloud.storage", "google-cloud-storage"),
        ("google.cloud.pubsub_v1", "google-cloud-pubsub"),
        ("google.cloud.bigquery_storage", "google-cloud-bigquery-storage"),
        ("google.cloud.bigquery.Client", "google-cloud-bigquery"),
        ("google.api_core.exceptions", "google-api-core"),
        ("google.oauth2.service_account", "google-auth"),
        ("google.protobuf", "protobuf"),
        ("googleapiclient.discovery", "google-api-python-client"),
        ("azure.storage.blob", "azure-storage-blob"),
        ("azure.storage", ""),
        ("azure.identity", "azure-identity"),
    ],
)
def test_package_of_a_module_in_a_shared_namespace(module, package):
    assert import_names.package_of(module) == package
