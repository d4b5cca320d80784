"""core/spec/containerfile.py: the Containerfile for a lock."""

from __future__ import annotations

import ast
import re

import pytest

from uv_argo_magic.core.resolution.lock import Lock, Package, Target
from uv_argo_magic.core.spec import containerfile
from uv_argo_magic.errors import SpecError

ALPHA = Package(name="alpha", version="1.0", sha256="a" * 64)
URL = Package(name="beta", version="2.0", sha256="b" * 64, url="https://example.com/$(touch x)/`id`/beta.whl")
LOCK = Lock(packages=(ALPHA, URL), target=Target(python="3.12.1", abi="cp312", platform="x86_64-manylinux_2_28"))


def test_containerfile_has_the_key_and_lines_of_the_lock():
    text = containerfile.write(LOCK, "registry.example.com/base:1")
    assert text.startswith(containerfile.FIRST_LINE)
    assert "\nFROM registry.example.com/base:1\n" in text
    here_documents = dict(re.findall(r'^COPY <<"(\w+)" \S+\n(.*?\n)\1$', text, re.MULTILINE | re.DOTALL))
    assert here_documents == {"LOCK": "\n".join(LOCK.lines) + "\n", "SCRIPT": containerfile.SCRIPT}
    (command,) = re.findall(r"^RUN (.+)$", text, re.MULTILINE)
    assert f"{containerfile.BAKED} {LOCK.key} /opt/uv-argo/lock.txt" in command
    # Text of users is only in the quoted here-document.
    assert text.count("touch x") == 1


def test_containerfile_uses_the_build_of_pytorch():
    text = containerfile.write(LOCK, "base:1", "cu128")
    assert "\nARG UV_TORCH_BACKEND=cu128\n" in text
    assert "TORCH" not in containerfile.write(LOCK, "base:1")
    with pytest.raises(SpecError, match="invalid torch_backend"):
        containerfile.write(LOCK, "base:1", "cpu\nRUN id")


def test_script_supports_python_3_8():
    ast.parse(containerfile.SCRIPT, feature_version=(3, 8))


@pytest.mark.parametrize(
    ("lock", "image", "message"),
    [
        (Lock(packages=(), target=LOCK.target), "x", "there is nothing to bake"),
        (LOCK, "x\nRUN id", "invalid image name"),
        (LOCK, "", "invalid image name"),
    ],
)
def test_invalid_arguments_are_rejected(lock, image, message):
    with pytest.raises(SpecError, match=message):
        containerfile.write(lock, image)
