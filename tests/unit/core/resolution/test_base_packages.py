"""core/resolution/base_packages.py, uv/stub_wheels.py: base image packages, and the wheels that describe them to uv."""

from __future__ import annotations

import json
import zipfile

import pytest
from packaging.metadata import Metadata
from support.cases import each

from uv_argo_magic.core.resolution.base_packages import BaseEnvironment, Distribution, metadata, read_probe
from uv_argo_magic.uv import stub_wheels

ROWS = [
    ["NumPy", "1.26.4", [], []],
    ["pip", "23.0", [], []],
    ["Jax_Lib", "0.4.30+cuda12", ["numpy>=1.22", "scipy ; extra == 'all'"], ["all"]],
    ["debian-thing", "0.1-ubuntu 3", [], []],
]
PROBE_RESULT = {
    "python": "3.12.1+",
    "implementation": "cpython",
    "free": False,
    "machine": "x86_64",
    "libc": "glibc 2.36",
    "distributions": ROWS,
}


def probe_output(**changed):
    return "a warning\n" + json.dumps(PROBE_RESULT | changed) + "\n"


def test_probe_output_is_read():
    base = read_probe(probe_output())
    assert (base.python, base.implementation, base.platform) == ("3.12.1", "cpython", "x86_64-manylinux_2_36")
    assert [f"{distribution.name} {distribution.version}" for distribution in base.distributions] == [
        "jax-lib 0.4.30+cuda12",
        "numpy 1.26.4",
        "pip 23.0",
    ]
    assert [distribution.name for distribution in base.constraints] == ["jax-lib", "numpy"]
    assert BaseEnvironment.from_json(base.to_json()) == base
    assert base.digest == read_probe(probe_output(distributions=ROWS[::-1])).digest
    assert base.digest != read_probe(probe_output(distributions=ROWS[1:])).digest


@pytest.mark.parametrize(
    ("changed", "platform"),
    [
        ({"machine": "aarch64"}, "aarch64-manylinux_2_36"),
        ({"machine": "arm64", "libc": "glibc 2.31"}, "aarch64-manylinux_2_31"),
        ({"libc": ""}, ""),
        ({"machine": "riscv64"}, ""),
    ],
)
def test_platform_is_derived_from_machine_and_libc(changed, platform):
    assert read_probe(probe_output(**changed)).platform == platform


def test_free_threaded_python_is_another_implementation():
    assert read_probe(probe_output(free=True)).implementation == "cpythont"


@each(
    "text",
    ["", "nothing", "{", '{"python": "3.12"}', probe_output(distributions=3), probe_output(distributions=[["a"]])],
)
def test_invalid_probe_output_is_rejected(text):
    with pytest.raises(ValueError, match="not the output of the probe"):
        read_probe(text)


@pytest.mark.parametrize("text", ["[]", "{}", '{"distributions": [{}]}', '{"distributions": [3]}'])
def test_invalid_base_is_rejected(text):
    with pytest.raises(ValueError, match="not a base"):
        BaseEnvironment.from_json(text)


def test_stub_wheel_has_the_metadata_of_the_distribution(tmp_path):
    base = read_probe(probe_output())
    stub_wheels.write_wheels(base, tmp_path)
    files = sorted(path.name for path in tmp_path.glob("*.whl"))
    assert files == ["jax_lib-0.4.30+cuda12-py3-none-any.whl", "numpy-1.26.4-py3-none-any.whl"]
    assert (tmp_path / stub_wheels.BASE).read_text().splitlines() == [
        f"{name} @ {(tmp_path / file).as_uri()}" for name, file in zip(("jax-lib", "numpy"), files, strict=True)
    ]
    with zipfile.ZipFile(tmp_path / files[0]) as archive:
        text = archive.read("jax_lib-0.4.30+cuda12.dist-info/METADATA")
    wheel_metadata = Metadata.from_email(text, validate=True)
    assert (wheel_metadata.name, str(wheel_metadata.version)) == ("jax-lib", "0.4.30+cuda12")
    assert [str(requirement) for requirement in wheel_metadata.requires_dist or []] == [
        "numpy>=1.22",
        'scipy; extra == "all"',
    ]
    assert wheel_metadata.provides_extra == ["all"]


def test_metadata_is_one_line_per_field():
    text = metadata(Distribution(name="a", version="1", requires=("b\n>1", "c"), extras=("x",)))
    assert text.splitlines()[3:] == ["Requires-Dist: b >1", "Requires-Dist: c", "Provides-Extra: x"]


def test_metadata_has_no_urls():
    requires = ("b[x] @ https://files.example.com/b-1.zip ; extra == 'y'", "c (1.0)")
    text = metadata(Distribution(name="a", version="1", requires=requires))
    assert text.splitlines()[3:] == ['Requires-Dist: b[x]; extra == "y"', "Requires-Dist: c (1.0)"]
