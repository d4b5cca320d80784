"""core/spec/quantity.py: Kubernetes quantities."""

from __future__ import annotations

import pytest
from support.cases import each

from uv_argo_magic.core.spec import quantity
from uv_argo_magic.errors import SpecError


@each(
    ("kind", "text", "parsed", "limit"),
    [
        ("cpu", "2", "2", 2),
        ("cpu", "0.5", "0.5", 0.5),
        ("cpu", "500m..2", "500m..2", 2),
        ("cpu", "500m", "500m", 0.5),
        ("gpu", "1", "1", 1),
        ("memory", "8Gi", "8Gi", 8 * 2**30),
        ("memory", "8GiB", "8Gi", 8 * 2**30),
        ("memory", "8 gib", "8Gi", 8 * 2**30),
        ("memory", "8GB", "8G", 8 * 10**9),
        ("memory", "1.5g", "1.5G", 1.5 * 10**9),
        ("memory", "500m", "500M", 500 * 10**6),
        ("memory", "500kb", "500k", 500_000),
        ("memory", "500KiB", "500Ki", 512_000),
        ("memory", "1Gi..4Gi", "1Gi..4Gi", 4 * 2**30),
        ("disk", "20000000", "20000000", 20_000_000),
    ],
)
def test_quantities_are_normalized(kind, text, parsed, limit):
    assert quantity.parse(kind, text) == parsed
    assert quantity.limit(parsed) == limit


def test_empty_quantity_has_no_limit():
    assert quantity.limit("") == 0


@each(
    ("kind", "text"),
    [
        ("memory", "8"),
        ("memory", "lots"),
        ("memory", "1Gi.."),
        ("memory", ""),
        ("gpu", "0.5"),
        ("cpu", "2Gi"),
        ("disk", "1Gii"),
    ],
)
def test_invalid_quantities_are_rejected(kind, text):
    with pytest.raises(SpecError, match=f"{kind} needs a quantity") as exc_info:
        quantity.parse(kind, text)
    assert exc_info.value.hint.startswith("Example: ")
