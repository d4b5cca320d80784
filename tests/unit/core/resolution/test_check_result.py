"""core/resolution/check_result.py: the one-line result of checking a requirements file."""

from __future__ import annotations

import pytest

from uv_argo_magic.core.resolution.check_result import CheckResult
from uv_argo_magic.core.resolution.lock import Lock, Package, Target

TARGET = Target(python="3.12.1")

PACKAGES = (Package(name="numpy", version="2.3.4", size=16_000_000), Package(name="six", version="1.17", size=11_000))


@pytest.mark.parametrize(
    ("result", "sentence"),
    [
        (CheckResult(problem="No.", hint="Do."), "No."),
        (CheckResult(problem="The index is away.", unreachable=True), "Not checked: The index is away."),
        (CheckResult(lock=Lock(packages=(), target=TARGET)), "No packages."),
        (
            CheckResult(lock=Lock(packages=PACKAGES, target=TARGET), target="Python 3.12.1"),
            "2 packages, 16.0 MB, for Python 3.12.1",
        ),
        (
            CheckResult(
                lock=Lock(packages=PACKAGES, target=TARGET), target="Python 3.12.1", cached=frozenset({"numpy"})
            ),
            "2 packages, 16.0 MB, 11.0 kB to download, for Python 3.12.1",
        ),
        (
            CheckResult(lock=Lock(packages=PACKAGES, target=TARGET), target="Python 3.12.1", cached=frozenset()),
            "2 packages, 16.0 MB to download, for Python 3.12.1",
        ),
        (
            CheckResult(
                lock=Lock(packages=PACKAGES, target=TARGET), target="Python 3.12.1", cached=frozenset({"numpy", "six"})
            ),
            "2 packages, 16.0 MB, nothing to download, for Python 3.12.1",
        ),
        (
            CheckResult(lock=Lock(packages=(Package(name="x", version="1"),), target=TARGET), target="Python 3.12.1"),
            "1 package, for Python 3.12.1",
        ),
    ],
)
def test_sentence_is_one_line(result, sentence):
    assert result.sentence() == sentence


def test_stored_lock_has_an_age():
    lock = Lock(packages=(Package(name="x", version="1"),), target=TARGET, created_at=1000.0)
    result = CheckResult(lock=lock, stored=True, target="Python 3.12.1")
    assert result.sentence(1000.0 + 3 * 86400) == "1 package, for Python 3.12.1, locked 3 days ago"
    assert result.sentence() == "1 package, for Python 3.12.1"


def test_versions_of_the_lock():
    assert CheckResult(problem="No.").versions == {}
    lock = Lock(packages=PACKAGES, target=TARGET)
    assert CheckResult(lock=lock).versions == {"numpy": "2.3.4", "six": "1.17"}
