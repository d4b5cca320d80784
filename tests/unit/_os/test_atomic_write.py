"""_os/atomic_write.py: all of a file or nothing."""

from __future__ import annotations

import stat

import pytest

from uv_argo_magic._os import atomic_write


def test_written_whole_with_its_folder_and_rights(tmp_path):
    path = tmp_path / "new" / "a.json"
    atomic_write.write(path, "one")
    atomic_write.write(path, "two", mode=0o640)
    assert path.read_text() == "two"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert [one.name for one in path.parent.iterdir()] == ["a.json"]


def test_what_cannot_be_encoded_leaves_the_old_file_and_nothing_aside(tmp_path):
    path = tmp_path / "a.json"
    atomic_write.write(path, "one")
    with pytest.raises(UnicodeEncodeError):
        atomic_write.write(path, "\ud800")
    assert [one.read_text() for one in tmp_path.iterdir()] == ["one"]
