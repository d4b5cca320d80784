"""core/policy/advisories.py: the versions that a record in the OSV format affects, valid or not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.cases import each

from uv_argo_magic.core.policy.advisories import Advisory, Source, describe, distinct, find, read_source


def build_record(*events, versions=None, name="Beta_Package", ecosystem="PyPI", kind="ECOSYSTEM", **more):
    part = {"package": {"name": name, "ecosystem": ecosystem}, "ranges": [{"type": kind, "events": list(events)}]}
    if versions is not None:
        part["versions"] = versions
    return {"id": "GHSA-1", "summary": "Bad\nthings.", "aliases": ["CVE-2024-1"], "affected": [part], **more}


def affects(records, version):
    return bool(list(find(records, {"beta-package": version})))


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
def test_events_of_a_range_define_affected_versions(events, affected, others):
    assert [version for version in (*affected, *others) if affects(build_record(*events), version)] == affected


def test_version_in_any_range_is_affected():
    record = build_record({"introduced": "0"}, {"fixed": "3"})
    record["affected"][0]["ranges"].append({"type": "ECOSYSTEM", "events": [{"introduced": "1"}, {"fixed": "1.5"}]})
    assert affects(record, "2")
    assert not affects(record, "3")


def test_listed_versions_are_normalized():
    record = build_record(versions=["1.0", "no version"])
    assert affects(record, "1.0.0")
    assert not affects(record, "1.1")


def test_unknown_version_is_affected():
    assert affects(build_record({"introduced": "1"}, {"fixed": "2"}), "")


def test_records_of_other_packages_do_not_match():
    everything = {"introduced": "0"}
    assert not affects(build_record(everything, ecosystem="npm"), "1")
    assert not affects(build_record(everything, name="gamma"), "1")
    assert not affects(build_record(everything, kind="GIT"), "1")
    assert not affects(build_record(everything, withdrawn="2024-01-01T00:00:00Z"), "1")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["package", "name", "ecosystem", "ranges", "events", "type", "fixed"]), inner)
    ),
    max_leaves=8,
)


@given(part=JSON, ranges=JSON, events=JSON, versions=JSON)
def test_malformed_records_do_not_match(part, ranges, events, versions):
    package = {"package": {"name": "beta-package", "ecosystem": "PyPI"}}
    with_ranges = {**package, "ranges": ranges, "versions": versions}
    with_events = {**package, "ranges": [{"type": "ECOSYSTEM", "events": events}]}
    for affected in (part, [part], [with_ranges], [with_events]):
        assert not affects({"affected": affected}, "1.0") or "1" in str(versions)


def test_advisory_has_one_line_and_the_fixed_versions():
    (advisory,) = find(build_record({"introduced": "0"}, {"fixed": "1.9"}), {"beta-package": "1"})
    assert advisory == Advisory(
        id="GHSA-1", package="beta-package", summary="Bad things.", aliases=("CVE-2024-1",), fixed=("1.9",)
    )
    assert describe({"id": "MAL-1", "aliases": 3, "details": "Steals"}, "x") == Advisory(
        id="MAL-1", package="x", summary="Steals"
    )
    (advisory,) = find(
        build_record({"introduced": "2"}, {"fixed": "2.1"}, {"introduced": "0"}, {"fixed": "1.9"}, {"fixed": "1.8.5"}),
        {"beta-package": "1"},
    )
    assert advisory.fixed == ("1.8.5", "1.9", "2.1")
    (advisory,) = find(build_record({"introduced": "0"}, {"fixed": "1.9"}), {"beta-package": ""})
    assert advisory.fixed == ("1.9",)
    assert describe({"id": "MAL-1"}, "x").is_malware


def test_advisories_with_the_same_alias_are_merged():
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
    ("value", "source", "text"),
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
def test_source_is_a_url_or_a_path(value, source, text):
    assert read_source(value) == source
    assert str(source) == text
    assert source.is_server is text.startswith("https")


@each("value", ["", 3, {}, {"source": 3}, {"source": "x", "ignore": "A"}, {"source": "x", "other": 1}])
def test_invalid_sources_are_rejected(value):
    with pytest.raises(ValueError):  # noqa: PT011 - the message is internal
        read_source(value)
