"""guest/byte_code.py: byte code shared between environments; contract/test_isolation.py tests its use."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import pytest

from uv_argo_magic.guest.install import byte_code, integrity

FILES = {"alpha/__init__.py": "VALUE = 1\n", "alpha/tests/test_it.py": "x = 1\n", "alpha/data.txt": "text"}


@pytest.fixture
def create_environment(tmp_path):
    """A function that creates an environment as in a store, and returns its folder and the digests of its files."""

    def make(name):
        home = tmp_path / name
        for path, text in FILES.items():
            (home / "site" / path).parent.mkdir(parents=True, exist_ok=True)
            (home / "site" / path).write_text(text)
        digests = integrity.digests(str(home / "site"), read_only=True)
        integrity.write(str(home), digests)
        return home, digests

    return make


def compiled_modules(home):
    return sorted(path.name.partition(".")[0] for path in home.rglob("*.pyc"))


def test_byte_code_is_shared_with_the_next_environment(create_environment, tmp_path):
    first, second = create_environment("first"), create_environment("second")
    byte_code.compile_all(str(tmp_path), str(first[0]))
    assert compiled_modules(first[0]) == ["__init__"]
    byte_code.add(str(tmp_path), str(second[0] / "site"), second[1])
    assert compiled_modules(second[0]) == ["__init__"]
    source = str(second[0] / "site" / "alpha" / "__init__.py")
    loader = importlib.util.spec_from_file_location("alpha", source).loader
    linked = Path(importlib.util.cache_from_source(source))
    before = linked.stat().st_ino
    assert loader.get_code("alpha").co_filename == source
    assert linked.stat().st_ino == before  # Python did not compile it again


def test_environment_in_a_folder_of_tests_is_compiled(create_environment, tmp_path):
    home, _ = create_environment("tests/store")
    byte_code.compile_all(str(tmp_path), str(home))
    assert compiled_modules(home) == ["__init__"]


def test_byte_code_is_not_shared_without_hard_links(create_environment, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "link", lambda *_: (_ for _ in ()).throw(OSError))
    home, digests = create_environment("first")
    byte_code.compile_all(str(tmp_path), str(home))
    byte_code.add(str(tmp_path), str(home / "site"), digests)
    assert compiled_modules(home) == ["__init__"]
    assert list((tmp_path / "bytecode").glob("*/*")) == []


def test_other_byte_code_is_shared_if_a_link_fails(create_environment, tmp_path, monkeypatch):
    home, _ = create_environment("first")
    (home / "site" / "beta.py").write_text("VALUE = 2\n")
    integrity.write(str(home), integrity.digests(str(home / "site"), read_only=True))
    link, failures = os.link, [FileExistsError]

    def fail_once(source, target):
        if failures:
            raise failures.pop()
        link(source, target)

    monkeypatch.setattr(os, "link", fail_once)
    byte_code.compile_all(str(tmp_path), str(home))
    assert len(list((tmp_path / "bytecode").glob("*/*"))) == 1


def test_byte_code_of_changed_files_is_not_shared(create_environment, tmp_path):
    home, _ = create_environment("first")
    os.utime(home / "site" / "alpha" / "__init__.py", (5, 5))
    byte_code.compile_all(str(tmp_path), str(home))
    assert list((tmp_path / "bytecode").glob("*/*")) == []
