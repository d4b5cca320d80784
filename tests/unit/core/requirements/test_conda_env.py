"""core/requirements/conda_env.py: conda packages that an index also has, and errors for the others."""

from __future__ import annotations

import pytest
from support.cases import each

from uv_argo_magic.core.requirements.conda_env import RENAMED, SAME, Line, read_conda
from uv_argo_magic.core.requirements.parser import parse
from uv_argo_magic.errors import SpecError


def read(*texts):
    return read_conda(
        [Line(number=number, text=text) for number, text in enumerate(texts, 3)], source="environment.yml"
    )


@each(
    ("text", "line"),
    [
        ("numpy", "numpy"),
        ("NumPy =1.26", "numpy==1.26.*"),
        ("numpy=1.26.*", "numpy==1.26.*"),
        ("numpy==1.26.4", "numpy==1.26.4"),
        ("numpy 1.26.4", "numpy==1.26.4"),
        ("numpy=1.26.4=py311h64a7726_0", "numpy==1.26.4"),
        ("numpy 1.26.4 py311h64a7726_0", "numpy==1.26.4"),
        ("numpy>=1.26,<2", "numpy<2,>=1.26"),
        ("numpy >=1.26.*, !=1.26.3, !=1.27.*, ~=1.26.0", "numpy!=1.26.3,!=1.27.*,>=1.26,~=1.26.0"),
        ("numpy >1,=1.26,==1.26.4,1.26.4", "numpy==1.26.*,==1.26.4,>1"),
        ("numpy *", "numpy"),
        ("conda-forge::numpy=2", "numpy==2.*"),
        ("conda-forge/linux-64::numpy", "numpy"),
        ("pytorch=2.5", "torch==2.5.*"),
        ("matplotlib-base", "matplotlib"),
        ("py-opencv", "opencv-python-headless"),
        ("ray-default>=2", "ray[default]>=2"),
        ("typing_extensions", "typing-extensions"),
        ("librosa", "librosa"),
        ("pytest-xdist", "pytest-xdist"),
        ("jupyterlab_widgets=3", "jupyterlab-widgets==3.*"),
        ("some-thing=1.0=pyhd8ed1ab_0", "some-thing==1.0"),
        ("other=1.0=py311_0", "other==1.0"),
        ("libclang=1.0=pypi_0", "libclang==1.0"),
        ("other=1.0=py311h06a4308_0", "other==1.0"),
    ],
)
def test_conda_packages_on_an_index_are_translated(text, line):
    assert read(text).requirements.lines == (line,)


def test_python_and_pip_are_not_requirements():
    parsed = read("python=3.12", "pip", "numpy")
    assert parsed.requirements.lines == ("numpy",)
    assert parsed.requires_python == (("==3.12.*", "environment.yml"),)
    assert read("python==3.12").requires_python == (("==3.12.*", "environment.yml"),)
    assert read("python==3.12.1").requires_python == (("==3.12.1", "environment.yml"),)
    assert read("python>=3.11,<3.14").requires_python == ((">=3.11,<3.14", "environment.yml"),)
    assert read("python").requires_python == ()


def test_names_in_tables_are_valid():
    for name in (*SAME, *RENAMED.values()):
        assert parse(name).items[0].name
    assert not SAME & set(RENAMED)


@each(
    ("text", "advice"),
    [
        ("r-base=4.3", "it is an R package"),
        ("cudatoolkit=11.8", "include CUDA"),
        ("pytorch-cuda=12.1", "include CUDA"),
        ("mkl", "numpy and scipy include it"),
        ("blas=*=openblas", "numpy and scipy include it"),
        ("gcc_linux-64", "nothing is compiled"),
        ("openssl=3.0.13", "it comes with Python or the image"),
        ("ld_impl_linux-64=2.40", "it comes with Python or the image"),
        ("ffmpeg", "it is a program"),
        ("redis", "it is a program"),
        ("blast", "it is a program"),
        ("libpng", "it is a C library"),
        ("_libgcc_mutex", "it is a C library"),
        ("r-base=4.3.1=h29c4799_3", "it is an R package"),
        ("ffmpeg=6.1=gpl_hbd2d3e7", "it is a program"),
        ("nobody-knows=1.0=h1234567_0", "if the index has the same package"),
        ("numpy[version='>=1']", "write its version after its name"),
        ("numpy 1.26|1.27", "not supported: choose one"),
        ("numpy 1.2*", "write its version as"),
        ("numpy=1.26=", "write its version as"),
        ("https://example.com/x.conda", "write it as name"),
        ("numpy=1.abc", "write"),
    ],
)
def test_conda_only_packages_are_rejected(text, advice):
    with pytest.raises(SpecError) as exc_info:
        read("numpy", text)
    assert exc_info.value.message == "environment.yml: 1 of its 2 conda packages cannot come from a package index"
    assert exc_info.value.hint.startswith(f"line 4: {text}: ")
    assert advice in exc_info.value.hint


def test_exported_libraries_of_wheels_are_omitted():
    parsed = read("_libgcc_mutex=0.1=main", "openssl=3.0.13=h7f8727e_0", "libblas=3.9.0=23_linux64", "six=1.16.0=pyh_0")
    assert parsed.requirements.lines == ("six==1.16.0",)
    assert parsed.notes == (
        "environment.yml: left out packages that wheels or Python include: _libgcc_mutex, openssl, libblas.",
    )
    assert read("six").notes == ()


def test_exported_python_means_its_minor_version():
    for text, specifier in (
        ("python=3.11.9=hb806964_0_cpython", "==3.11.*"),
        ("python=3.11", "==3.11.*"),
        ("python==3.11.9", "==3.11.9"),
    ):
        assert read("six", text).requires_python == ((specifier, "environment.yml"),)


def test_all_problems_are_reported_at_once():
    with pytest.raises(SpecError) as exc_info:
        read("numpy", "mkl", "r-base")
    assert [line.partition(":")[0] for line in exc_info.value.hint.splitlines()] == ["line 4", "line 5"]
    with pytest.raises(SpecError, match="its conda package cannot come from"):
        read("mkl")
