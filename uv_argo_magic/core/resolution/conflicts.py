"""Why the requirements have no solution: uv's "Because ..., we can conclude that ..." in plain English.

Rule: the first explanation that fits counts, from facts (the Python, the platform) to what only the user can decide
(a conflict).
"""

from __future__ import annotations

import re

from uv_argo_magic.core.requirements.typo_hints import PACKAGE_OF
from uv_argo_magic.core.resolution.uv_stderr import InstallFailure, UvOutput, capitalize, display_name, shorten
from uv_argo_magic.core.suggest import nearest


def unsolved(output: UvOutput) -> InstallFailure:
    """Explain why uv found no solution."""
    for explain in (_wrong_python, _no_wheel, _unknown, _no_version):
        failure = explain(output)
        if failure:
            return failure
    return InstallFailure(
        cause="conflict",
        sentence=f"The requirements conflict: {shorten(_chain(output), 700)}.",
        hint="Loosen or remove one of them, or run them in separate cells.",
    )


def _wrong_python(output: UvOutput) -> InstallFailure | None:
    match = re.search(r"Python version \(([^)]+)\) does not satisfy Python([^\s,]+)", output.message)
    if not match:
        return None
    depends = re.search(r"(?:and|[Bb]ecause) ([^\s,]+|all versions of [^\s,]+) depends? on Python", output.message)
    package = display_name(depends[1]) if depends else "A package"
    lower = re.search(r">=?(\d+\.\d+)", match[2])
    return InstallFailure(
        cause="python",
        sentence=f"{package} requires Python {match[2]}, but the cell runs on Python {match[1]}.",
        hint=f"Use another Python (--python {lower[1] if lower else '3.X'}), or another version of the package.",
    )


def _no_wheel(output: UvOutput) -> InstallFailure | None:
    match = re.search(
        r"(?:[Bb]ecause|and) ([^\s,]+|all versions of [^\s,]+) (?:has|have) no (usable wheels|wheels with[^,(]*)",
        output.message,
    )
    if not match:
        return None
    package = display_name(match[1])
    if match[2] == "usable wheels":
        return InstallFailure(
            cause="platform",
            sentence=f"{package} has no wheel, and building from source is disabled.",
            hint="Use a version with a wheel, or allow builds (they run the package's code): --set only_binary=false.",
        )
    available = f"{capitalize(output.hints[0]).replace('`', '').rstrip('.')}. " if output.hints else ""
    return InstallFailure(
        cause="platform",
        sentence=f"{package} has no wheel for this Python and platform.",
        hint=f"{available}Use another version, or another Python with --python.",
    )


def _unknown(output: UvOutput) -> InstallFailure | None:
    match = re.search(
        r"[Bb]ecause ([^\s,]+) was not found in the package registry(?: and ([^,]+?) depends? on)?", output.message
    )
    if not match:
        return None
    name = re.split(r"[=<>!~\[]", match[1])[0]
    dependent = f" (required by {display_name(match[2])})" if match[2] else ""
    suggestion = suggest(name)
    question = f"Did you mean {suggestion}? " if suggestion else ""
    return InstallFailure(
        cause="unknown-package",
        sentence=f"Package {name} was not found on the index{dependent}.",
        hint=f"{question}Check the name, the index URL and its credentials.",
    )


def _no_version(output: UvOutput) -> InstallFailure | None:
    """A version that does not exist; with a dependency in the explanation it is a conflict."""
    if re.search(r"depends? on", output.message):
        return None
    cutoff = next((hint for hint in output.hints if "exclude-newer" in hint), "")
    if cutoff:
        before = re.search(r"before (\S+?)T", cutoff)
        date = f" before {before[1]}" if before else " early enough"
        newest = re.search(r"is v(\S+), published at (\S+?)T", cutoff)
        requirement = re.search(r"^`([^`]+)`", cutoff)
        return InstallFailure(
            cause="version",
            sentence=f"{requirement[1] if requirement else 'A package'} has no version published{date}.",
            hint=f"{f'Version {newest[1]} was published on {newest[2]}. ' if newest else ''}Use a later exclude_newer.",
        )
    yanked = re.search(r"(?:[Bb]ecause|and) (\S+) was yanked(?: \(reason: ([^)]*)\))?", output.message)
    if yanked:
        reason = f' ("{yanked[2]}")' if yanked[2] else ""
        return InstallFailure(
            cause="version",
            sentence=f"{display_name(yanked[1])} was yanked{reason}.",
            hint="Use another version, or pin this one with == to install it anyway.",
        )
    only = re.search(r"only (?:the following versions of )?([^,]+?) (?:is|are) available", output.message)
    absent = re.search(r"there (?:is|are) no versions? of ([^\s,]+)", output.message)
    if not absent and only:
        absent = re.search(r"you require ([^\s,]+)", output.message)
    if not absent:
        return None
    requested = absent[1]
    name = re.split(r"[=<>!~\[]", requested)[0]
    version = f"version {requested.removeprefix(name).removeprefix('==')}" if requested != name else "version"
    return InstallFailure(
        cause="version",
        sentence=f"There is no {version} of {name}.",
        hint=f"{f'The index has {only[1]}. ' if only else ''}Use {name} without a version to get the latest.",
    )


def _chain(output: UvOutput) -> str:
    """The premises of uv's explanation, without the conclusions.

    A long explanation repeats one argument for each version: its beginning and its end are enough.
    """
    text = " ".join(line.split(": ", 1)[1] for line in output.lines if line.startswith("cause: "))
    premises: list[str] = []
    for part in re.split(r"\b(?:And b|B)ecause ", text)[1:]:
        premise = re.split(r",? we can conclude that ", part)[0].strip(" .,")
        if not re.match(r"we know from \(|only the following versions", premise) and premise not in premises:
            premises.append(premise)
    if len(premises) > 4:
        premises = [*premises[:2], "and so on for other versions", premises[-1]]
    return "; ".join(premises) or output.last


def suggest(name: str) -> str:
    """The package most likely meant by `name`, or ""."""
    plain = re.sub(r"[-_.]+", "-", name).lower()
    package = MISSPELLINGS.get(plain) or PACKAGE_OF.get(plain)
    if package:
        return package
    close = nearest(plain, POPULAR)
    return close if close != plain else ""


MISSPELLINGS = {
    "cv": "opencv-python-headless",
    "lightgbm-python": "lightgbm",
    "opencv": "opencv-python-headless",
    "psycopg2-bin": "psycopg2-binary",
    "pylab": "matplotlib",
    "pytorch": "torch",
    "spark": "pyspark",
    "tensor-flow": "tensorflow",
}
"""Common misspelling (canonical) -> the package; typo_hints.PACKAGE_OF has the names of modules."""

POPULAR = (
    "aiohttp", "altair", "anyio", "bokeh", "boto3", "catboost", "celery", "click", "cython", "dask", "datasets",
    "distributed", "django", "duckdb", "fastapi", "fiona", "flask", "fsspec", "gensim", "geopandas", "gitpython",
    "h5py", "httpx", "hypothesis", "ipywidgets", "jax", "jinja2", "joblib", "jsonschema", "keras", "lightgbm", "lxml",
    "matplotlib", "mlflow", "networkx", "nltk", "numba", "numexpr", "numpy", "openpyxl", "optuna", "pandas", "pillow",
    "plotly", "polars", "prophet", "psutil", "psycopg2-binary", "pyarrow", "pydantic", "pymongo", "pyspark", "pytest",
    "pyyaml", "rasterio", "redis", "requests", "rich", "s3fs", "scikit-image", "scikit-learn", "scipy", "seaborn",
    "sentence-transformers", "shapely", "spacy", "sqlalchemy", "statsmodels", "streamlit", "sympy", "tabulate",
    "tensorflow", "tokenizers", "torch", "torchvision", "tqdm", "transformers", "urllib3", "xarray", "xgboost", "xlrd",
    "zarr",
)  # fmt: skip
"""Popular packages, to compare a misspelt name with."""
