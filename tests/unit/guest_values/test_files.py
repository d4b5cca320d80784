"""guest_values/files.py: values in files, and rejection of damaged files."""

from __future__ import annotations

import json
import stat

import pytest

from uv_argo_magic.guest_values import files

BUFFERS = [b"", b"abc", memoryview(b"d" * 3_000_000)]


@pytest.mark.parametrize("is_sealed", [False, True])
def test_text_and_buffers_are_read_to_writable_memory(tmp_path, is_sealed):
    path = tmp_path / "x"
    digest = files.write(str(path), '"tä\ud800"', BUFFERS, is_sealed)
    assert len(digest) == (64 if is_sealed else 0)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    text, buffers = files.read(str(path), digest)
    assert (text, [bytes(buffer) for buffer in buffers]) == ('"tä\ud800"', [bytes(buffer) for buffer in BUFFERS])
    assert not any(memoryview(buffer).readonly for buffer in buffers)
    with pytest.raises(FileExistsError):
        files.write(str(path), "1", [])


def test_modified_files_are_rejected(tmp_path):
    path = tmp_path / "x"
    digest = files.write(str(path), "[1]", [b"abc" * 1000], is_sealed=True)
    data = path.read_bytes()
    plain = data.replace(b'"sealed": true', b'"sealed": false')
    changed = [
        data[:-100] + b"X" + data[-99:], data[:-1], data + b"X", b"", b"\n", b"{}\n", b"[]\n1", plain, plain[:-64],
        json.dumps({"text": -1, "buffers": [], "sealed": False}).encode() + b"\n",
    ]  # fmt: skip
    for damaged in changed:
        path.write_bytes(damaged)
        with pytest.raises(files.Damaged):
            files.read(str(path), digest)
    path.write_bytes(data)
    with pytest.raises(files.Damaged, match="SHA-256"):
        files.read(str(path), "0" * 64)
