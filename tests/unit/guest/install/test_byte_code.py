"""Byte code that environments share; how runs use it is in contract/test_isolation.py."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import pytest

from uv_argo_magic.guest.install import byte_code, integrity

FILES = {"alpha/__init__.py": "VALUE = 1\n", "alpha/tests/test_it.py": "x = 1\n", "alpha/data.txt": "text"}


@pytest.fixture
def environment(tmp_path):
    """make(name) -> (its folder, the digests of its files), as a store has it."""

    def make(name):
        home = tmp_path / name
        for path, text in FILES.items():
            (home / "site" / path).parent.mkdir(parents=True, exist_ok=True)
            (home / "site" / path).write_text(text)
        digests = integrity.digests(str(home / "site"), read_only=True)
        integrity.write(str(home), digests)
        return home, digests

    return make


def compiled(home):
    return sorted(path.name.partition(".")[0] for path in home.rglob("*.pyc"))


def test_an_environment_is_compiled_without_tests_and_the_next_one_has_its_byte_code(environment, tmp_path):
    first, second = environment("first"), environment("second")
    byte_code.compile_all(str(tmp_path), str(first[0]))
    assert compiled(first[0]) == ["__init__"]
    byte_code.add(str(tmp_path), str(second[0] / "site"), second[1])
    assert compiled(second[0]) == ["__init__"]
    source = str(second[0] / "site" / "alpha" / "__init__.py")
    loader = importlib.util.spec_from_file_location("alpha", source).loader
    linked = Path(importlib.util.cache_from_source(source))
    before = linked.stat().st_ino
    assert loader.get_code("alpha").co_filename == source
    assert linked.stat().st_ino == before  # Python has used it


def test_without_hard_links_nothing_is_shared(environment, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "link", lambda *_: (_ for _ in ()).throw(OSError))
    home, digests = environment("first")
    byte_code.compile_all(str(tmp_path), str(home))
    byte_code.add(str(tmp_path), str(home / "site"), digests)
    assert compiled(home) == ["__init__"]
    assert list((tmp_path / "bytecode").glob("*/*")) == []


def test_a_file_of_another_time_is_not_kept(environment, tmp_path):
    home, _ = environment("first")
    os.utime(home / "site" / "alpha" / "__init__.py", (5, 5))
    byte_code.compile_all(str(tmp_path), str(home))
    assert list((tmp_path / "bytecode").glob("*/*")) == []
