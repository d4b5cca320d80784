"""core/resolution/diff.py: the differences between two sets of packages."""

from __future__ import annotations

from uv_argo_magic.core.resolution.diff import Change, difference
from uv_argo_magic.core.resolution.lock import Package
from uv_argo_magic.core.view import tables
from uv_argo_magic.core.view.tables import changes


def package(name, version, sha256=""):
    return Package(name=name, version=version, sha256=sha256)


def test_difference_has_every_kind_of_change():
    before = [
        package("gone", "1"), package("up", "1.9"), package("down", "2"), package("file", "1", "a"),
        package("same", "1", "a"), package("unknown", "1"), package("odd", "what"), package("odder", "x"),
    ]  # fmt: skip
    after = [
        package("new", "1"), package("up", "1.10"), package("down", "1"), package("file", "1", "b"),
        package("same", "1", "a"), package("unknown", "1", "b"), package("odd", "when"), package("odder", "a"),
    ]  # fmt: skip
    differences = difference(before, after)
    assert differences == (
        Change(name="down", kind="older", before="2", after="1"),
        Change(name="file", kind="other file", before="1", after="1"),
        Change(name="gone", kind="removed", before="1"),
        Change(name="new", kind="added", after="1"),
        Change(name="odd", kind="newer", before="what", after="when"),
        Change(name="odder", kind="older", before="x", after="a"),
        Change(name="up", kind="newer", before="1.9", after="1.10"),
    )
    assert tables.text(changes(differences[:3], "From a to b")).splitlines() == [
        "From a to b",
        "CHANGE      PACKAGE  BEFORE  AFTER",
        "older       down     2       1",
        "other file  file     1       1",
        "removed     gone     1       -",
    ]
    assert tables.text(changes((), "From a to b")) == "From a to b: no changes"
