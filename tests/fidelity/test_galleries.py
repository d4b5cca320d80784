"""Real scripts give the same outputs in a plain cell and under `%%argo`."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import compare
import galleries
import table


@pytest.mark.fidelity
@pytest.mark.timeout(3600)
def test_gallery_scripts_give_the_same_outputs():
    archives = galleries.folder()
    if archives is None:
        pytest.skip(f"{galleries.FOLDER} names no folder with the source distributions")
    pairs = galleries.compare_scripts(archives)
    assert len(pairs) >= 40
    different = {name.partition("/")[2]: found for name, pair in pairs.items() if (found := compare.differences(*pair))}
    assert different == galleries.EXPECTED


def test_table_in_docs_lists_the_scripts():
    page = table.DOCS.read_text(encoding="utf-8")
    listed = page.partition("<!-- galleries -->")[2].partition("<!-- /galleries -->")[0]
    rows = [line for line in listed.splitlines() if line.endswith("| the same |")]
    assert len(rows) >= 40
    names = {name for _, _, scripts in galleries.GALLERIES.values() for name in scripts.split()}
    assert {line.split("|")[1].strip().partition("/")[2] for line in rows} <= names


def test_scripts_are_read_from_archive(tmp_path, monkeypatch):
    import io
    import tarfile

    monkeypatch.setitem(galleries.GALLERIES, "networkx", ("examples", ("networkx",), "a/one"))
    with tarfile.open(tmp_path / "networkx-1.0.tar.gz", "w:gz") as tar:
        member = tarfile.TarInfo("networkx-1.0/examples/a/one.py")
        member.size = len(b"print(1)\n")
        tar.addfile(member, io.BytesIO(b"print(1)\n"))
    (cell,) = galleries.scripts(tmp_path)
    assert (cell.name, cell.source, cell.deps) == ("networkx-1.0/a/one", "print(1)\n", ("networkx",))
    assert [path.name for path in tmp_path.iterdir()] == ["networkx-1.0.tar.gz"]
