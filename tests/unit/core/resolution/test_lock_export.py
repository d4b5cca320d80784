"""core/resolution/lock_export.py: a lock as requirements with hashes, and as pylock.toml."""

from __future__ import annotations

import tomllib

import pytest

from uv_argo_magic.core.resolution import lock_export
from uv_argo_magic.core.resolution.lock import Lock, Package, Target
from uv_argo_magic.errors import ResolutionError

A, B, C = "a" * 64, "b" * 64, "c" * 64
LOCK = Lock(
    packages=(
        Package(name="alpha", version="1", sha256=A, size=5, file="alpha-1-py3-none-any.whl", requested=True),
        Package(name="beta", version="2", sha256=B, file="beta-2.tar.gz", via=("alpha",)),
        Package(name="gamma", version="", sha256=C, file="g.whl", url="https://files.example.com/g.whl"),
    ),
    target=Target(python="3.12.1", platform="x86_64-manylinux_2_28"),
)
UV_PYLOCK = f"""
lock-version = "1.0"
[[packages]]
name = "alpha"
wheels = [
  {{ url = "https://files.example.com/other.whl", hashes = {{ sha256 = "{C}" }} }},
  {{ url = "https://files.example.com/alpha-1-py3-none-any.whl", hashes = {{ sha256 = "{A}" }} }},
]
[[packages]]
name = "beta"
sdist = {{ url = "https://files.example.com/beta-2.tar.gz", hashes = {{ sha256 = "{B}" }} }}
"""


def test_is_pylock_recognizes_file_names():
    assert all(map(lock_export.is_pylock, ("pylock.toml", "pylock.dev.toml")))
    assert not any(map(lock_export.is_pylock, ("pylock.a.b.toml", "uv.lock", "requirements.txt")))


def test_requirements_have_hashes():
    assert lock_export.requirements(LOCK).splitlines() == [
        "# Locked for Python 3.12 on x86_64-manylinux_2_28; one file for each package.",
        "alpha==1 \\",
        f"    --hash=sha256:{A}",
        "beta==2 \\",
        f"    --hash=sha256:{B}",
        "    # via alpha",
        "gamma @ https://files.example.com/g.whl \\",
        f"    --hash=sha256:{C}",
    ]
    bare = Lock(packages=(Package(name="bare", version="1"),), target=Target(python="3.12.1"))
    assert lock_export.requirements(bare).splitlines()[1:] == ["bare==1"]


def test_pylock_has_one_file_per_package():
    data = tomllib.loads(lock_export.pylock(LOCK, UV_PYLOCK))
    alpha, beta, gamma = data["packages"]
    assert (data["lock-version"], data["requires-python"]) == ("1.0", "==3.12.*")
    assert alpha["wheels"] == [
        {
            "name": "alpha-1-py3-none-any.whl",
            "url": "https://files.example.com/alpha-1-py3-none-any.whl",
            "size": 5,
            "hashes": {"sha256": A},
        }
    ]
    assert beta["sdist"]["name"] == "beta-2.tar.gz"
    assert gamma == {"name": "gamma", "archive": {"url": "https://files.example.com/g.whl", "hashes": {"sha256": C}}}
    with pytest.raises(ResolutionError, match=r"beta-2\.tar\.gz of beta 2 is no longer on the index"):
        lock_export.pylock(LOCK, UV_PYLOCK.replace(B, C))
    with pytest.raises(ResolutionError):
        lock_export.pylock(LOCK, "packages = 3")
