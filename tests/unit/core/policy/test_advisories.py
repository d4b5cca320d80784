"""core/policy/advisories.py: which versions a record in the OSV format is about, whatever is in it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.cases import each

from uv_argo_magic.core.policy.advisories import Advisory, Source, describe, distinct, find, read_source


def record(*events, versions=None, name="Beta_Package", ecosystem="PyPI", kind="ECOSYSTEM", **more):
    part = {"package": {"name": name, "ecosystem": ecosystem}, "ranges": [{"type": kind, "events": list(events)}]}
    if versions is not None:
        part["versions"] = versions
    return {"id": "GHSA-1", "summary": "Bad\nthings.", "aliases": ["CVE-2024-1"], "affected": [part], **more}


def is_about(found, version):
    return bool(list(find(found, {"beta-package": version})))


@each(
    ("events", "affected", "others"),
    [
        ([{"introduced": "0"}], ["0.1", "9"], []),
        ([{"introduced": "0"}, {"fixed": "1.9"}], ["0.1", "1.8.9", "1.9rc1"], ["1.9", "2.0"]),
        ([{"fixed": "1.9"}, {"introduced": "1.2"}], ["1.2", "1.8"], ["1.1", "1.9"]),
        ([{"introduced": "1"}, {"last_affected": "1.5"}], ["1", "1.5"], ["0.9", "1.5.1"]),
        (
            [{"introduced": "1"}, {"fixed": "1.1"}, {"introduced": "2"}, {"fixed": "2.1"}],
            ["1.0", "2.0"],
            ["0.9", "1.1", "1.9", "2.1"],
        ),
        ([{"introduced": "1"}, {"fixed": "2"}, {"introduced": "2"}], ["1", "2", "3"], ["0.9"]),
    ],
)
def test_the_events_of_a_range_say_which_versions(events, affected, others):
    assert [version for version in (*affected, *others) if is_about(record(*events), version)] == affected


def test_listed_versions_are_compared_as_versions():
    listed = record(versions=["1.0", "no version"])
    assert is_about(listed, "1.0.0")
    assert not is_about(listed, "1.1")


def test_an_unknown_version_may_be_any():
    assert is_about(record({"introduced": "1"}, {"fixed": "2"}), "")


def test_other_records_are_about_nothing():
    everything = {"introduced": "0"}
    assert not is_about(record(everything, ecosystem="npm"), "1")
    assert not is_about(record(everything, name="gamma"), "1")
    assert not is_about(record(everything, kind="GIT"), "1")
    assert not is_about(record(everything, withdrawn="2024-01-01T00:00:00Z"), "1")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["package", "name", "ecosystem", "ranges", "events", "type", "fixed"]), inner)
    ),
    max_leaves=8,
)


@given(part=JSON, ranges=JSON, events=JSON, versions=JSON)
def test_a_record_of_another_form_is_about_nothing(part, ranges, events, versions):
    about = {"package": {"name": "beta-package", "ecosystem": "PyPI"}}
    with_ranges = {**about, "ranges": ranges, "versions": versions}
    with_events = {**about, "ranges": [{"type": "ECOSYSTEM", "events": events}]}
    for affected in (part, [part], [with_ranges], [with_events]):
        assert not is_about({"affected": affected}, "1.0") or "1" in str(versions)


def test_an_advisory_has_one_line_and_the_versions_that_fix_it():
    (advisory,) = find(record({"introduced": "0"}, {"fixed": "1.9"}), {"beta-package": "1"})
    assert advisory == Advisory(
        id="GHSA-1", package="beta-package", summary="Bad things.", aliases=("CVE-2024-1",), fixed=("1.9",)
    )
    assert describe({"id": "MAL-1", "aliases": 3, "details": "Steals"}, "x") == Advisory(
        id="MAL-1", package="x", summary="Steals"
    )
    (advisory,) = find(
        record({"introduced": "2"}, {"fixed": "2.1"}, {"introduced": "0"}, {"fixed": "1.9"}, {"fixed": "1.8.5"}),
        {"beta-package": "1"},
    )
    assert advisory.fixed == ("1.8.5", "1.9", "2.1")
    (advisory,) = find(record({"introduced": "0"}, {"fixed": "1.9"}), {"beta-package": ""})
    assert advisory.fixed == ("1.9",)
    assert describe({"id": "MAL-1"}, "x").is_malware


def test_a_problem_that_several_databases_have_is_one():
    first = Advisory(id="GHSA-1", package="a", aliases=("CVE-1",))
    second = Advisory(id="PYSEC-1", package="a", aliases=("CVE-1",))
    other = Advisory(id="GHSA-2", package="a")
    malware = Advisory(id="MAL-1", package="a", aliases=("GHSA-2",))
    assert distinct([second, other, first, malware, Advisory(id="GHSA-1", package="b")]) == (
        Advisory(id="MAL-1", package="a", aliases=("GHSA-2",)),
        Advisory(id="GHSA-1", package="a", aliases=("CVE-1", "PYSEC-1")),
        Advisory(id="GHSA-1", package="b"),
    )


@pytest.mark.parametrize(
    ("value", "source", "shown"),
    [
        ("https://osv.example.com/", Source(address="https://osv.example.com"), "https://osv.example.com"),
        ("/data/osv.zip", Source(address="/data/osv.zip"), "/data/osv.zip"),
        (
            {"source": "/data", "ignore": ["B", "A"]},
            Source(address="/data", ignored=frozenset({"A", "B"})),
            "/data (except A, B)",
        ),
    ],
)
def test_a_source_is_an_address_or_a_path(value, source, shown):
    assert read_source(value) == source
    assert str(source) == shown
    assert source.is_server is shown.startswith("https")


@each("value", ["", 3, {}, {"source": 3}, {"source": "x", "ignore": "A"}, {"source": "x", "other": 1}])
def test_what_is_not_a_source_is_refused(value):
    with pytest.raises(ValueError):  # noqa: PT011 - its text is the value, which no user sees
        read_source(value)
