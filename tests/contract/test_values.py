"""Values of heavy packages: what of pandas can travel."""

import pytest

from uv_argo_magic.guest import values as guest

LIMIT = 10_000


def test_frames_are_refused_with_the_way_to_pull_their_data():
    pandas = pytest.importorskip("pandas")
    with pytest.raises(guest.CannotTravel, match=r"df is a pandas DataFrame.*df.to_numpy\(\) or df.to_dict\('list'\)"):
        guest.encode("df", pandas.DataFrame({"a": [1]}), LIMIT)
