"""Package names that differ from a popular name by one edit: typing errors and typosquatting.

Rules:
- One edit inserts, removes or replaces a letter, digit or dash, or swaps two neighbours.
- A popular name is never a look-alike. Short names have no look-alikes, because most words of four letters differ from
  another one by a single edit.
"""

from __future__ import annotations

import functools

from uv_argo_magic.core.requirements.import_names import POPULAR

SHORTEST = 5
"""Minimum length of a popular name to compare with."""

MORE_POPULAR = (
    "absl-py", "aiobotocore", "aiofiles", "aiosignal", "airflow", "alembic", "annotated-types", "ansible",
    "antlr4-python3-runtime", "apache-airflow", "argcomplete", "argon2-cffi", "arrow", "asgiref", "asn1crypto",
    "asttokens", "async-timeout", "attrs", "azure-core", "azure-identity", "azure-storage-blob", "babel", "backoff",
    "bcrypt", "beautifulsoup4", "black", "bleach", "blinker", "boto", "botocore", "build", "cachetools", "cattrs",
    "certifi", "cffi", "chardet", "charset-normalizer", "colorama", "coloredlogs", "comm", "contourpy", "coverage",
    "cryptography", "cycler", "databricks-sql-connector", "dataclasses-json", "debugpy", "decorator", "deprecated",
    "diskcache", "distlib", "dnspython", "docker", "docutils", "einops", "elasticsearch", "email-validator",
    "et-xmlfile", "evaluate", "exceptiongroup", "execnet", "executing", "faiss-cpu", "faiss-gpu", "fastai", "filelock",
    "flake8", "fonttools", "frozenlist", "gevent", "google-api-core", "google-api-python-client", "google-auth",
    "google-cloud-bigquery", "google-cloud-storage", "googleapis-common-protos", "gradio", "greenlet", "grpcio",
    "grpcio-status", "grpcio-tools", "gunicorn", "h11", "httpcore", "httplib2", "httptools", "huggingface-hub",
    "humanfriendly", "hydra-core", "identify", "idna", "imageio", "imbalanced-learn", "importlib-metadata",
    "importlib-resources", "iniconfig", "ipytest", "isodate", "isort", "itables", "itsdangerous", "jedi", "jmespath",
    "json5", "jsonpointer", "jupyter", "jupyter-client", "jupyter-core", "jupyter-server", "jupyterlab", "kiwisolver",
    "kombu", "kubernetes", "langchain", "langchain-core", "lazy-loader", "librosa", "llvmlite", "loguru", "markdown",
    "markdown-it-py", "markdown2", "markupsafe", "marshmallow", "mistune", "mkdocs", "more-itertools", "msgpack",
    "msrest", "multidict", "multiprocess", "mypy", "mypy-extensions", "mysql-connector-python", "nbclient", "nbconvert",
    "nbformat", "nest-asyncio", "nodeenv", "notebook", "numcodecs", "oauthlib", "omegaconf", "onnxruntime",
    "opencv-python-headless", "opentelemetry-api", "opentelemetry-sdk", "orjson", "oscrypto", "packaging", "paramiko",
    "parse", "parsel", "parso", "pathspec", "peewee", "pendulum", "pexpect", "platformdirs", "pluggy", "poetry",
    "poetry-core", "portalocker", "pre-commit", "prometheus-client", "prompt-toolkit", "proto-plus", "psycopg",
    "psycopg2", "ptyprocess", "pure-eval", "py4j", "pyaml", "pyasn1", "pyasn1-modules", "pybind11", "pycodestyle",
    "pycparser", "pycryptodome", "pydantic-core", "pydantic-settings", "pyflakes", "pygments", "pyjwt", "pylint",
    "pymupdf", "pynacl", "pyodbc", "pyopenssl", "pyparsing", "pypdf", "pypdf2", "pyproject-hooks", "pyserial",
    "pytest-asyncio", "pytest-cov", "pytest-mock", "pytest-xdist", "python-dateutil", "python-docx", "python-dotenv",
    "python-json-logger", "python-multipart", "python-pptx", "pytorch-lightning", "pytz", "pyzmq", "referencing",
    "regex", "requests-oauthlib", "requests-toolbelt", "rpds-py", "ruamel-yaml", "s3transfer", "sacrebleu",
    "safetensors", "selenium", "setuptools", "setuptools-scm", "shellingham", "simplejson", "simpy", "skimpy",
    "slack-sdk", "smart-open", "snowflake-connector-python", "sortedcontainers", "soupsieve", "sphinx", "sqlparse",
    "stack-data", "starlette", "tenacity", "tensorboard", "termcolor", "threadpoolctl", "timm", "toml", "tomli",
    "tomlkit", "torchx", "tornado", "traitlets", "trove-classifiers", "typeguard", "typer", "types-requests",
    "typing-extensions", "typing-inspect", "tzdata", "tzlocal", "ujson", "uvicorn", "uvloop", "virtualenv", "wandb",
    "watchdog", "watchfiles", "wcwidth", "webencodings", "websocket-client", "websockets", "werkzeug", "wheel",
    "widgetsnbextension", "wrapt", "yarl", "zipp",
)  # fmt: skip
"""Popular packages in addition to those that messages suggest."""


@functools.cache
def _popular() -> tuple[frozenset[str], dict[int, tuple[str, ...]]]:
    """All popular names; and, by length, those to compare with."""
    names = frozenset((*POPULAR, *MORE_POPULAR))
    by_length: dict[int, list[str]] = {}
    for name in sorted(names):
        if len(name) >= SHORTEST:
            by_length.setdefault(len(name), []).append(name)
    return names, {length: tuple(listed) for length, listed in by_length.items()}


def popular_name(name: str) -> str:
    """The popular package that a canonical name is one edit away from; "" if there is none, or the name is popular."""
    names, by_length = _popular()
    if name in names:
        return ""
    near = (other for length in (len(name), len(name) - 1, len(name) + 1) for other in by_length.get(length, ()))
    return next((other for other in near if is_one_edit(name, other)), "")


def is_one_edit(left: str, right: str) -> bool:
    """Whether one edit turns one name into the other."""
    start = 0
    while start < min(len(left), len(right)) and left[start] == right[start]:
        start += 1
    end = 0
    while end < min(len(left), len(right)) - start and left[-1 - end] == right[-1 - end]:
        end += 1
    left_rest, right_rest = left[start : len(left) - end], right[start : len(right) - end]
    return 0 < max(len(left_rest), len(right_rest)) <= 1 or (len(left_rest) == 2 and left_rest == right_rest[::-1])
