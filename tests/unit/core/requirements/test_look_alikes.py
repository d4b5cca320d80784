"""core/requirements/look_alikes.py: names that differ from a popular one by one edit."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from support.cases import each

from uv_argo_magic.core.requirements.import_names import POPULAR
from uv_argo_magic.core.requirements.look_alikes import MORE_POPULAR, is_one_edit, popular_name
from uv_argo_magic.core.suggest import distance


@each(
    ("name", "popular"),
    [
        ("requets", "requests"),
        ("requestss", "requests"),
        ("reqeusts", "requests"),
        ("nunpy", "numpy"),
        ("scikitlearn", "scikit-learn"),
        ("urllib4", "urllib3"),
        ("beautifulsoup5", "beautifulsoup4"),
    ],
)
def test_misspelled_popular_names_are_recognized(name, popular):
    assert popular_name(name) == popular


@each("name", ["numpy", "numba", "pydantic", "corp-data", "task", "dusk", "x", "sklearn", "rqeuestss"])
def test_other_names_are_not_look_alikes(name):
    assert popular_name(name) == ""


def test_popular_names_are_not_look_alikes():
    assert [name for name in (*POPULAR, *MORE_POPULAR) if popular_name(name)] == []
    assert list(MORE_POPULAR) == sorted(MORE_POPULAR)
    assert not set(POPULAR) & set(MORE_POPULAR)


NAMES = st.text("abc-", max_size=6)


@given(left=NAMES, right=NAMES)
def test_one_edit_is_a_distance_of_one(left, right):
    assert is_one_edit(left, right) is (distance(left, right) == 1)
