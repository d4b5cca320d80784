"""core/spec/indexes.py: environment variables for uv, with credentials separate."""

from __future__ import annotations

from dataclasses import replace

import pytest
from support.cases import each

from uv_argo_magic.core.spec import indexes
from uv_argo_magic.core.spec.run_spec import Settings
from uv_argo_magic.errors import SpecError

CORP_URL = "https://me:se%2Fcret@index.example.com/corp/simple"


def test_default_index_needs_no_name():
    settings = Settings(index_url="https://index.example.com/simple")
    assert indexes.environment(settings) == {"UV_DEFAULT_INDEX": "https://index.example.com/simple"}
    assert indexes.credentials(settings) == {}
    assert indexes.environment(Settings()) == {}


def test_credentials_are_separate_from_urls():
    settings = Settings(
        index_url=CORP_URL, indexes=(("my-corp", CORP_URL), ("open", "https://open.example.com/simple"))
    )
    assert indexes.environment(settings) == {
        "UV_DEFAULT_INDEX": "default=https://index.example.com/corp/simple",
        "UV_INDEX": "my-corp=https://index.example.com/corp/simple open=https://open.example.com/simple",
    }
    assert indexes.credentials(settings) == {
        "UV_INDEX_MY_CORP_USERNAME": "me",
        "UV_INDEX_MY_CORP_PASSWORD": "se/cret",
        "UV_INDEX_DEFAULT_USERNAME": "me",
        "UV_INDEX_DEFAULT_PASSWORD": "se/cret",
    }
    secret = Settings(index_url="https://a.example.com/", indexes=(("corp", CORP_URL),), index_secrets=(("corp", "s"),))
    assert indexes.environment(secret)["UV_DEFAULT_INDEX"] == "default=https://a.example.com/"
    named = replace(secret, index_secrets=(("corp", "s"), ("main", "t")))
    assert indexes.environment(named)["UV_DEFAULT_INDEX"] == "main=https://a.example.com/"
    token = Settings(indexes=(("corp", "https://:token@index.example.com/"),))
    assert indexes.credentials(token) == {"UV_INDEX_CORP_USERNAME": "", "UV_INDEX_CORP_PASSWORD": "token"}


@each("name", ["", "-x", "a b", "default", "ä"])
def test_invalid_names_are_rejected(name):
    with pytest.raises(SpecError, match="invalid index name"):
        indexes.by_name(Settings(indexes=((name, CORP_URL),)))


@pytest.mark.parametrize(
    "url", ["index.example.com", "ftp://me:secret@index.example.com", "https://a b", "https://me:secret@[x"]
)
def test_invalid_urls_are_rejected(url):
    with pytest.raises(SpecError, match="index corp is not an index URL") as exc_info:
        indexes.by_name(Settings(indexes=(("corp", url),)))
    assert "secret" not in f"{exc_info.value} {exc_info.value.hint}"
