"""core/spec/run_spec.py: digests of specs."""

from __future__ import annotations

from dataclasses import replace

from uv_argo_magic.core.requirements.model import Requirements
from uv_argo_magic.core.spec.run_spec import RunSpec, Settings


def test_digests_differ_between_specs() -> None:
    spec = RunSpec(cell="a", requirements=Requirements())
    assert spec.digest == RunSpec(cell="a").digest
    others = [replace(spec, cell="b"), replace(spec, python="3.12"), replace(spec, settings=Settings(offline=True))]
    assert len({spec.digest, *(other.digest for other in others)}) == 4
    assert replace(spec, python="3.12").cell_digest == spec.cell_digest != replace(spec, cell="b").cell_digest
