"""Convert the dependencies of a conda environment.yml to requirements, if a package index has the same packages.

Rules:
- A conda name is accepted if the index is known to have the package: from the tables here, from a family of names
  (such as pytest-*), or from a build of Python code (pyhd8ed1ab_0, py311...), which has the same name in both. The
  build pypi_0 is a package that pip installed.
  A different name of the same package is translated.
- C libraries and parts of Python that have a build are left out, with a note, because an export lists all of them.
- Every other line is refused. One error lists them all, each with a hint. Nothing is guessed.
- `=1.2` means 1.2.*; `==1.2`, or `1.2` after a space or with a build, means exactly that version.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from packaging.utils import canonicalize_name

from uv_argo_magic.core.frozen import frozen
from uv_argo_magic.core.requirements import parser
from uv_argo_magic.core.requirements.parsed_file import ParsedRequirements
from uv_argo_magic.errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

COMMON = """
aiofiles aiohttp alembic altair anyio arrow astropy asttokens attrs babel backcall beautifulsoup4 bioframe biopython
black bleach bokeh boto3 botocore bottleneck bqplot cachetools cartopy cattrs certifi cffi cftime chardet
charset-normalizer click cloudpickle cmake colorama colorcet comm contextily contourpy coverage cryptography cvxpy
cycler cython cytoolz dash dask dask-ml datasets datashader dateparser debugpy decorator distributed django dnspython
docutils duckdb einops et-xmlfile evaluate executing faiss-cpu fastapi fastparquet filelock fiona flake8 flask folium
fonttools fsspec future gast geopandas geopy gitpython gluonts greenlet grpcio gunicorn h5netcdf h5py holoviews
html5lib httpx huggingface-hub hvplot hydra-core hypothesis idna imageio imbalanced-learn iminuit importlib-metadata
ipykernel ipympl ipython ipywidgets isort jax jaxlib jedi jinja2 joblib jsonschema jupyter jupyterlab keras kiwisolver
libcst librosa lightgbm lightning llvmlite lmfit loguru lxml lz4 mako markdown markupsafe matplotlib mesa mistune
mlflow mne mpmath multidict mypy nbconvert nbformat nest-asyncio netcdf4 networkx nibabel nilearn ninja nltk notebook
numba numcodecs numexpr numpy numpyro omegaconf openai openpyxl optuna orjson packaging pandas pandera pandocfilters
panel param paramiko parso patsy pexpect pickleshare pillow pint pip-tools plotly plotnine polars pooch prefect
prettytable prompt-toolkit prophet protobuf psutil psycopg pure-eval pyarrow pybind11 pycodestyle pycparser pydantic
pydeck pydot pyflakes pygments pyjwt pylint pymc pymongo pymysql pyopenssl pyparsing pyproj pyreadstat pysal pyserial
pyshp pysocks pytest python-dateutil python-docx python-dotenv python-slugify python-snappy pytorch-lightning pytz
pyvista pywavelets pyyaml pyzmq rapidfuzz rasterio regex requests rfc3339-validator rich rioxarray rtree ruff s3fs
sacrebleu scikit-image scikit-learn scikit-optimize scipy seaborn selenium sentencepiece setuptools shap shapely
simpleitk six sktime sortedcontainers soupsieve spacy sqlalchemy sqlmodel stack-data starlette statsmodels streamlit
sympy tabulate tenacity tensorboard tensorflow textblob threadpoolctl tifffile timm tinycss2 tokenizers toml tomli
toolz torchaudio torchvision tornado tqdm traitlets transformers typer typing-extensions umap-learn urllib3 uv uvicorn
vaex virtualenv wandb wcwidth websockets werkzeug wheel widgetsnbextension wordcloud wrapt xarray xgboost xlrd
xlsxwriter xlwt yarl zarr zict zipp zstandard
"""

SAME = frozenset(COMMON.split())
"""Names that mean the same package in conda and on the index."""

FAMILIES = re.compile(
    r"(?:pytest|sphinx|flask|django|mkdocs|jupyter|jupyterlab|google-cloud|azure|types|opentelemetry)-[a-z0-9-]+"
)
"""Families of names that mean the same packages in conda and on the index."""

RENAMED = {
    "dask-core": "dask",
    "flask-core": "flask",
    "matplotlib-base": "matplotlib",
    "msgpack-python": "msgpack",
    "opencv": "opencv-python-headless",
    "psycopg2": "psycopg2-binary",
    "py-opencv": "opencv-python-headless",
    "py-xgboost": "xgboost",
    "pyqt": "pyqt5",
    "pytables": "tables",
    "python-duckdb": "duckdb",
    "python-flatbuffers": "flatbuffers",
    "python-graphviz": "graphviz",
    "python-igraph": "igraph",
    "python-kaleido": "kaleido",
    "python-tzdata": "tzdata",
    "python-xxhash": "xxhash",
    "pytorch": "torch",
    "pytorch-cpu": "torch",
    "seaborn-base": "seaborn",
    "streamlit-base": "streamlit",
    "python-build": "build",
    "ray-core": "ray",
    "redis-py": "redis",
    "ray-default": "ray[default]",
    "uvicorn-standard": "uvicorn[standard]",
}
"""Conda's name (canonical) -> the index's name of the same package."""

CUDA = "remove it: wheels such as torch and tensorflow[and-cuda] include CUDA"
BLAS = "remove it: the wheels of numpy and scipy include it"
LIBRARY = "remove it: it is a C library, and wheels include those that they need"
WITH_PYTHON = "remove it: it comes with Python or the image"
PROGRAM = "remove it, or use an image that has it: it is a program, not a Python package"
COMPILER = "remove it: wheels are installed, nothing is compiled"

CONTAINED = frozenset({CUDA, BLAS, LIBRARY, WITH_PYTHON, COMPILER})
"""The reasons to leave out an exported package."""

REFUSED = (
    (re.compile(r"r-.+|bioconductor-.+"), "remove it: it is an R package"),
    (re.compile(r"cuda.*|cudnn|nccl|pytorch-cuda|libcu.+|libnccl|tensorflow-gpu|tensorrt"), CUDA),
    (
        re.compile(r"mkl.*|blas(?:-.+)?|libblas|lib(?:c|open)blas|openblas|liblapack.*|intel-openmp|llvm-openmp|nomkl"),
        BLAS,
    ),
    (
        re.compile(r"(?:gcc|gxx|gfortran|clang|clangxx|binutils|sysroot)(?:[-_].+)?|compilers|.+-compiler|make"),
        COMPILER,
    ),
    (
        re.compile(
            r"openssl|ca-certificates|sqlite|zlib|xz|bzip2|readline|ncurses|tk|tzdata|libffi|ld-impl.+|python-abi|zstd|lz4-c"
            r"|expat|krb5|icu"
        ),
        WITH_PYTHON,
    ),
    (
        re.compile(
            r"nodejs|git|git-lfs|ffmpeg|graphviz|pandoc|openjdk|curl|wget|imagemagick|samtools|bcftools|bedtools|blast"
            r"|postgresql|mysql|redis(?:-server)?|texlive-core|tectonic|firefox|geckodriver|poppler|tesseract"
        ),
        PROGRAM,
    ),
    (
        re.compile(r"lib.+|-.+|gdal|geos|proj|hdf5|netcdf-c|arrow-cpp|boost(?:-cpp)?|eigen|fftw|gsl|.+-devel|.+-base"),
        LIBRARY,
    ),
)
"""Patterns for names that the index does not have, and the advice for each."""

UNKNOWN = "if the index has the same package, move it to the pip section; else remove it"

SPEC = re.compile(r"(?:[^\s:]+::)?([A-Za-z0-9_][A-Za-z0-9_.-]*)((?:[\s=<>!~\[*].*)?)")
EXACT = re.compile(r"(={0,2})\s*([0-9][^\s=,|<>!~*]*(?:\.\*)?)(?:(?:\s*=|\s+)([^\s=]+))?")
CLAUSE = re.compile(r"(>=|<=|>|<|!=|~=|==|=|)\s*([0-9][^\s=,|<>!~*]*)(\.\*)?")
PYTHON_BUILD = re.compile(r"py(?:hd?[0-9a-f]{6,}|thon)?(?:[23]\d*)?(?:h[0-9a-f]+)?(?:_.*)?")


@frozen
class Line:
    """One entry of `dependencies`: its text and its line in the file."""

    number: int
    text: str


def read_conda(lines: Sequence[Line], *, source: str) -> ParsedRequirements:
    """The requirements of these entries; `python` becomes `requires_python`, `pip` is ignored.

    Raises:
        SpecError: entries are invalid or not on the index; the error lists each with its line and a hint.
    """
    requirements, refused, python, left_out = [], [], "", []
    for line in lines:
        try:
            name, specifier = _split(line.text)
            if name == "python":
                python = specifier
            elif name != "pip":
                requirements.append(parser.parse_items([f"{name}{specifier}"], source=f"{source}, line {line.number}"))
        except _LeftOut:
            left_out.append(line.text.partition("=")[0])
        except _Refused as refusal:
            refused.append(f"line {line.number}: {line.text}: {refusal}")
        except SpecError as error:
            refused.append(f"line {line.number}: {line.text}: {error.message.rpartition('; ')[2] or error.message}")
    if refused:
        number = f"{len(refused)} of its {len(lines)} conda packages" if len(lines) > 1 else "its conda package"
        raise SpecError(f"{source}: {number} cannot come from a package index", hint="\n".join(refused))
    note = f"{source}: left out packages that wheels or Python include: {', '.join(left_out)}."
    return ParsedRequirements(
        requirements=parser.merge(*requirements),
        requires_python=((python, source),) if python else (),
        notes=(note,) if left_out else (),
    )


class _Refused(ValueError):
    """An entry is not accepted; the text is the advice."""


class _LeftOut(ValueError):
    """An exported entry that wheels or Python contain, so that it is not needed."""


def _split(text: str) -> tuple[str, str]:
    """The index's name and the specifier of an entry."""
    match = SPEC.fullmatch(text.strip())
    if not match:
        raise _Refused("write it as name, name=1.2 or name>=1.2")
    name, rest = canonicalize_name(match[1]), match[2].strip()
    if rest.startswith("["):
        raise _Refused("write its version after its name: name>=1.2")
    exact = EXACT.fullmatch(rest)
    build = exact[3] if exact and exact[3] else ""
    index_name = _name(name, build)
    if not rest or rest == "*":
        return index_name, ""
    if exact:
        equals, version = exact[1], exact[2]
        # python==3.11 means any 3.11; in an export, the patch version is that of the exporting environment.
        if name == "python" and build:
            build, version = "", ".".join(version.split(".")[:2])
        fuzzy = (equals == "=" and not build) or (name == "python" and version.count(".") < 2)
        fuzzy = fuzzy and not version.endswith(".*")
        return index_name, f"=={version}.*" if fuzzy else f"=={version}"
    return index_name, ",".join(_clauses(rest))


def _name(name: str, build: str) -> str:
    if name in ("python", "pip") or name in SAME or build.startswith("pypi_"):
        return name
    if name in RENAMED:
        return RENAMED[name]
    for pattern, advice in REFUSED:
        if pattern.fullmatch(name):
            raise _LeftOut if build and advice in CONTAINED else _Refused(advice)
    if FAMILIES.fullmatch(name) or PYTHON_BUILD.fullmatch(build):
        return name
    raise _Refused(UNKNOWN)


def _clauses(text: str) -> Iterator[str]:
    if "|" in text:
        raise _Refused('"|" is not supported: choose one of the versions')
    for piece in text.split(","):
        clause = CLAUSE.fullmatch(piece.strip())
        if not clause:
            raise _Refused("write its version as =1.2, ==1.2.3 or >=1.2,<2")
        operator, version, any_end = clause.groups()
        if operator in ("=", "", "=="):
            yield f"=={version}.*" if operator == "=" or any_end else f"=={version}"
        elif operator == "!=":
            yield f"!={version}{any_end or ''}"
        else:
            # conda reads >=1.2.* as >=1.2.
            yield f"{operator}{version}"
