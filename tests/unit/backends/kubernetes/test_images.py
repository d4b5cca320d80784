"""backends/kubernetes/images.py: the image and the wheel tags for a version of Python."""

from __future__ import annotations

import sys

import pytest
from packaging.tags import Tag
from packaging.version import Version

from uv_argo_magic.backends.kubernetes import images
from uv_argo_magic.core.spec.run_spec import Settings
from uv_argo_magic.errors import SpecError

CONFIGURED_IMAGES = (("3.12.1", "own:12"), ("3.12.2", "own:12.2"), ("3.11.2", "own:11"))


@pytest.mark.parametrize(
    ("python", "full", "image"),
    [
        ("3.12", "3.12.2", "own:12.2"),
        ("3.12.1", "3.12.1", "own:12"),
        ("3.11", "3.11.2", "own:11"),
        (">=3.12,<3.12.2", "3.12.1", "own:12"),
    ],
)
def test_version_selects_an_image_from_the_settings(python, full, image):
    image_target = images.target(python, Settings(images=CONFIGURED_IMAGES))
    assert (image_target.target.python, image_target.image) == (full, image)


def test_default_is_the_minor_version_of_this_kernel():
    image_target = images.target("", Settings(images=CONFIGURED_IMAGES))
    minor = f"{sys.version_info[0]}.{sys.version_info[1]}"
    if minor in {"3.11", "3.12", "3.13", "3.14"}:
        assert image_target.target.minor == minor
    assert image_target.image


def test_built_in_images_are_pinned():
    for version, image in images.IMAGES.items():
        assert f"python{'.'.join(version.split('.')[:2])}-" in image
        assert Version(version).micro >= 0
        assert ":" in image
        assert "latest" not in image


def test_custom_image_needs_the_full_version():
    assert images.target("3.12.5", Settings(image="mine:1")).image == "mine:1"
    for python in ("", "3.12", ">=3.12"):
        with pytest.raises(SpecError, match="unknown Python version in the image"):
            images.target(python, Settings(image="mine:1"))


@pytest.mark.parametrize(
    ("python", "settings", "message"),
    [
        ("3.7", {}, "no image for Python 3.7"),
        ("3.13t", {}, "invalid Python version for an image"),
        ("3.12", {"images": (("3.12", "x"),)}, "not a full Python version"),
        ("", {"platform": "windows"}, "invalid platform: windows"),
    ],
)
def test_invalid_combinations_are_rejected(python, settings, message):
    with pytest.raises(SpecError, match=message) as exc_info:
        images.target(python, Settings(**settings))
    assert exc_info.value.hint


def test_tags_depend_on_version_and_platform():
    image_target = images.target("3.12.1", Settings(image="mine:1"))
    assert image_target.target.abi == "cp312"
    assert image_target.target.platform == "x86_64-manylinux_2_28"
    tags = set(image_target.wheel_tags)
    assert image_target.wheel_tags[0] == Tag("cp312", "cp312", "manylinux_2_28_x86_64")
    for supported in ("cp312-cp312-manylinux2014_x86_64", "cp38-abi3-manylinux1_x86_64", "py3-none-any"):
        assert Tag(*supported.split("-")) in tags
    for unsupported in ("cp312-cp312-manylinux_2_34_x86_64", "cp311-cp311-manylinux_2_17_x86_64"):
        assert Tag(*unsupported.split("-")) not in tags
    arm = images.target("3.12.1", Settings(image="mine:1", platform="aarch64-manylinux_2_28"))
    assert {tag.platform for tag in arm.wheel_tags} >= {"manylinux2014_aarch64", "any"}
    assert "manylinux1_aarch64" not in {tag.platform for tag in arm.wheel_tags}
    assert images.architecture(Settings(platform="aarch64-manylinux_2_28")) == "arm64"
