"""backends/argo/manifests/yaml_output.py: portable YAML, and a shortened form for people."""

from __future__ import annotations

import yaml
from hypothesis import given
from hypothesis import strategies as st

from uv_argo_magic.backends.argo.manifests import yaml_output

TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=40)


@given(st.dictionaries(TEXTS, TEXTS | st.lists(TEXTS, max_size=2), max_size=3))
def test_any_text_survives_a_round_trip(data):
    assert yaml.safe_load(yaml_output.dump(data)) == data


def test_braces_repeated_parts_and_several_documents():
    same = {"a": ["{{workflow.name}}", "{{=x}\n# not a comment\n", "on", "1e3"]}
    text = yaml_output.dump({"one": same, "two": same}, same)
    assert list(yaml.safe_load_all(text)) == [{"one": same, "two": same}, same]
    assert "&" not in text


def test_other_users_of_yaml_are_not_affected():
    before = yaml.safe_dump({"a": "b\nc"})
    yaml_output.dump({"a": "b\nc"})
    assert yaml.safe_dump({"a": "b\nc"}) == before


def test_abbreviate_replaces_base64():
    assert yaml_output.abbreviate("x = " + "QUJD" * 100 + ";") == "x = <400 characters of base64>;"
    assert yaml_output.abbreviate("a short one: QUJD") == "a short one: QUJD"
