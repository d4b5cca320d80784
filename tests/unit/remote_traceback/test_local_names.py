"""remote_traceback/local_names.py: finding a name in the notebook and its folder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.cases import each

from uv_argo_magic.remote_traceback import local_names

NAMES = {"df": 1, "js": json, "Path": Path, "utils": 2}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "utils.py").touch()
    (tmp_path / "tool").mkdir()
    (tmp_path / "tool" / "__init__.py").touch()
    (tmp_path / "data").mkdir()


@each(
    ("name", "expected"),
    [
        ("df", ("variable", "")),
        ("js", ("module", "json")),
        ("Path", ("definition", "")),
        ("utils", ("file", "utils.py is next to the notebook")),
        ("tool", ("file", "tool/ is next to the notebook")),
        ("data", None),
        ("zork", None),
    ],
)
def test_name_is_found_in_the_folder_or_the_notebook(name, expected):
    item = local_names.find(name, "study.ipynb", NAMES)
    assert (item and (item.kind, item.detail)) == expected


def test_name_is_found_in_the_folder_of_a_script(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "helper.py").touch()
    item = local_names.find("helper", str(tmp_path / "sub" / "run.py"), {})
    assert item.detail == "helper.py is next to the script"
    assert local_names.find("utils", "", {}).detail == "utils.py is in this folder"
