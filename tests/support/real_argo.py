"""A real Argo Workflows for the tests with the marker `cluster`: when there is one, and the settings of its cells."""

from __future__ import annotations

import os

import pytest

NEEDS_CLUSTER = pytest.mark.skipif(
    "UV_ARGO_TEST_KUBECONFIG" not in os.environ or "UV_ARGO_TEST_IMAGE" not in os.environ,
    reason="needs a real Argo Workflows: set UV_ARGO_TEST_KUBECONFIG and UV_ARGO_TEST_IMAGE",
)
CLUSTER_MARKS = [pytest.mark.cluster, NEEDS_CLUSTER]


def variables() -> dict[str, str]:
    """The environment variables with which cells run there."""
    image = os.environ["UV_ARGO_TEST_IMAGE"]
    return {
        "UV_ARGO_BACKEND": "argo",
        "UV_ARGO_KUBECONFIG": os.environ["UV_ARGO_TEST_KUBECONFIG"],
        "UV_ARGO_IMAGES": image,
        "UV_ARGO_PYTHON": image.partition("=")[0],
    }
