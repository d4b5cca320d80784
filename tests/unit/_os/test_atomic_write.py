"""_os/atomic_write.py: a file is written completely or not at all."""

from __future__ import annotations

import stat

import pytest

from uv_argo_magic._os import atomic_write


def test_write_creates_the_folder_and_sets_the_mode(tmp_path):
    path = tmp_path / "new" / "a.json"
    atomic_write.write(path, "one")
    atomic_write.write(path, "two", mode=0o640)
    assert path.read_text() == "two"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert [entry.name for entry in path.parent.iterdir()] == ["a.json"]


def test_failed_write_keeps_the_old_file(tmp_path):
    path = tmp_path / "a.json"
    atomic_write.write(path, "one")
    with pytest.raises(UnicodeEncodeError):
        atomic_write.write(path, "\ud800")
    assert [entry.read_text() for entry in tmp_path.iterdir()] == ["one"]
