from __future__ import annotations

import pytest

from uv_argo_magic._os import text_file
from uv_argo_magic.errors import SpecError


def test_file_is_read_without_its_byte_order_mark(tmp_path):
    (tmp_path / "a.txt").write_bytes("\ufeffä".encode())
    assert text_file.read(tmp_path / "a.txt", "a.txt", hint="", encoding="utf-8-sig") == "ä"


def test_missing_and_invalid_files_are_reported(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"\xff")
    with pytest.raises(SpecError, match=r"cannot read b\.txt: No such file") as raised:
        text_file.read(tmp_path / "b.txt", "b.txt", hint="Name another one.")
    assert raised.value.hint == "Name another one."
    with pytest.raises(SpecError, match=r"a\.txt is not UTF-8 text") as raised:
        text_file.read(tmp_path / "a.txt", "a.txt", hint="Name another one.")
    assert raised.value.hint == "Save it as UTF-8."
