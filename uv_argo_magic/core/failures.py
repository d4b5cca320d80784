"""What went wrong with an install, why, and what to do: tables over what uv writes to its standard error.

Rules:
- One ordered table, most certain cause first: a full disk is a full disk, whatever uv was doing when it met it.
- Only uv's own words decide. What a build or git printed is not uv's word; it may say "timed out" for its own reasons.
  The exception is memory and disk, which are as real in a build.
- Every sentence names the package where uv names one, and shows no user name, password or query of any URL.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from typing import Literal, TypeAlias

Cause: TypeAlias = Literal[
    "memory", "disk", "killed", "permission", "integrity", "auth", "proxy", "portal", "certificate", "network",
    "offline", "git", "build", "url", "corrupt", "input", "python", "platform", "unknown-package", "version",
    "conflict", "other",
]  # fmt: skip

UNREACHABLE: frozenset[Cause] = frozenset({"network", "proxy", "portal", "certificate"})
"""Causes that say something about the way from here to the index, nothing about the requirements."""


@dataclass(frozen=True, kw_only=True)
class InstallFailure:
    """Why uv failed: one `sentence`, the next step as `hint`, and whether the same may work a little later."""

    cause: Cause
    sentence: str
    hint: str
    retryable: bool = False

    @property
    def unreachable(self) -> bool:
        """Whether the index could not be reached from where uv ran; elsewhere it might be."""
        return self.cause in UNREACHABLE


@dataclass(frozen=True, kw_only=True)
class _Said:
    """uv's standard error, taken apart: all of it, its own words as lines, and what a build printed."""

    rc: int
    text: str
    lines: tuple[str, ...]
    printed: tuple[str, ...]

    @property
    def words(self) -> str:
        return "\n".join(self.lines)

    @property
    def last(self) -> str:
        """The last `cause:` or the `error:` itself, without that word."""
        said = [line.split(": ", 1)[1] for line in self.lines if line.startswith(("error: ", "cause: "))]
        return said[-1].rstrip(". ") if said else ""

    @property
    def hints(self) -> tuple[str, ...]:
        return tuple(line.removeprefix("hint: ") for line in self.lines if line.startswith("hint: "))

    @property
    def what(self) -> str:
        """The package this is about, as a person writes it ("alpha 1.0"), or ""."""
        for pattern in _SUBJECTS:
            found = pattern.search(self.words)
            if found:
                return _named(found[1])
        return ""

    @property
    def host(self) -> str:
        found = re.search(r"https?://([^\s/`)'\"]+)", self.words)
        return found[1] if found else "the package index"


_SUBJECTS = tuple(
    re.compile(pattern)
    for pattern in (
        r"Failed to (?:download and build|download|build|read|install|prepare|extract)[^`\n]*`([^`]+)`",
        r"Failed to install: \S+ \(([^)]+)\)",
        r"Failed to install: ([A-Za-z0-9_.]+-[0-9][^-\s]*)-\S+\.whl",
        r"Hash mismatch for `([^`]+)`",
        r"provided for: (\S+)",
        r"but found: (\S+)",
        r"Requested package name `([^`]+)`",
        r"https?://\S+/([A-Za-z0-9_.]+-[0-9][^-\s/]*)-[^\s/]+\.whl",
        r"https?://\S+/([A-Za-z0-9][A-Za-z0-9._-]*)/[\s`)]",
        r"https?://\S+/([A-Za-z0-9][A-Za-z0-9._-]*)/$",
        r"Because (?:all versions of )?(\S+) (?:was|were) not found",
        r"[Bb]ecause (\S+) (?:was not found in the cache|has no )",
        r"and you require (\S+?)(?:,| and|$)",
    )
)


def redact(text: str) -> str:
    """`text` without the user names, passwords and queries of the URLs in it."""
    text = re.sub(r"://[^\s/`'\"]*@", "://", text)
    return re.sub(r"(://[^\s?`'\")]+)\?[^\s`'\")]+", r"\1", text)


def suggest(name: str) -> str:
    """The package that somebody who wrote `name` most likely meant, or ""."""
    plain = re.sub(r"[-_.]+", "-", name).lower()
    if plain in MEANT:
        return MEANT[plain]
    close = difflib.get_close_matches(plain, POPULAR, n=1, cutoff=0.8)
    return close[0] if close and close[0] != plain else ""


def classify(rc: int, stderr: str) -> InstallFailure:
    """What a failed uv meant; `rc` is its exit status (negative, or 128 and more: the signal that ended it)."""
    said = _take_apart(rc, stderr)
    for rule in _RULES:
        if re.search(rule.pattern, said.text if rule.anywhere else said.words):
            return _failure(said, rule)
    signal = -rc if rc < 0 else rc - 128 if rc > 128 else 0
    if signal:
        return _ended(said, signal)
    if "No solution found" in said.words or "unsatisfiable" in said.words:
        return _unsolved(said)
    line = said.last or next((line for line in said.text.splitlines() if line.strip()), "it said nothing")
    return InstallFailure(
        cause="other",
        sentence=f"uv failed with exit status {rc}{_about(said)}: {_short(line)}.",
        hint="The full output of uv is kept in the run's install log.",
    )


@dataclass(frozen=True, kw_only=True)
class _Rule:
    """A cause and how it reads. In `sentence`: {what}, {about} (" (for WHAT)" or ""), {host}, {line}, {printed}, {found}."""

    cause: Cause
    pattern: str
    sentence: str
    hint: str
    retryable: bool = False
    anywhere: bool = False


_RULES = (
    _Rule(
        cause="memory",
        pattern=r"memory allocation of \d+ bytes failed|failed to spawn thread|global rayon pool|os error 12\b",
        sentence="There was not enough memory to install {what}.",
        hint="Give the install more memory (--resources memory=4Gi, --set install_memory=...), or ask for fewer packages.",
        anywhere=True,
    ),
    _Rule(
        cause="disk",
        pattern=r"os error 27\b|File too large",
        sentence="Installing {what} would write a file larger than is allowed there.",
        hint="Allow more disk (--resources disk=10Gi, --set install_disk=...), or ask for fewer packages.",
        anywhere=True,
    ),
    _Rule(
        cause="disk",
        pattern=r"os error (?:28|112|122)\b|No space left on device|Disk quota exceeded",
        sentence="The disk is full: {what} could not be installed.",
        hint="Free some space (`uv cache prune` helps), or ask for more (--resources disk=10Gi).",
        anywhere=True,
    ),
    _Rule(
        cause="permission",
        pattern=r"os error (?:1|5|13|30)\b|Read-only file system|Permission denied",
        sentence="The install may not write there: {line}.",
        hint="Make uv's cache and the folder of environments writable, or set UV_CACHE_DIR to one that is.",
    ),
    _Rule(
        cause="integrity",
        pattern=r"Hash mismatch",
        sentence="The file of {what} is not the one that was asked for: its SHA-256 differs.",
        hint="Do not use it before you know why: a changed file on the index, a proxy that rewrites, or a wrong --hash.",
    ),
    _Rule(
        cause="integrity",
        pattern=r"require-hashes",
        sentence="There is no pinned version and hash for {what}.",
        hint="Resolve again, so that every package has its version and hash; git requirements cannot have one.",
    ),
    _Rule(
        cause="proxy",
        pattern=r"407 Proxy Authentication",
        sentence="The proxy wants a login before it lets a request for {what} through.",
        hint="Put the proxy with its credentials into HTTPS_PROXY where uv runs.",
    ),
    _Rule(
        cause="auth",
        pattern=r"\(401 Unauthorized\)|lack of valid authentication",
        sentence="{host} asks who you are before it serves {what} (401).",
        hint="Give the credentials of the index where uv runs: UV_INDEX_<NAME>_USERNAME and _PASSWORD, or a .netrc file.",
    ),
    _Rule(
        cause="auth",
        pattern=r"\(?403 Forbidden",
        sentence="{host} refuses to serve {what} (403).",
        hint="Check the index URL, that the credentials may read this package, and that no firewall blocks it.",
    ),
    _Rule(
        cause="portal",
        pattern=r"Unsupported `Content-Type`",
        sentence="{host} answered with a page that is no package index, when asked for {what}.",
        hint="A captive portal or proxy may be in the way: open the address in a browser, and check the index URL.",
    ),
    _Rule(
        cause="git",
        pattern=r"Git operation failed|Git executable not found",
        sentence="{what} comes from git, and git failed: {printed}.",
        hint="Git requirements have no hash and are not supported: build a wheel and give its URL.",
    ),
    _Rule(
        cause="certificate",
        pattern=r"corrupt message of type InvalidContentType",
        sentence="{host} does not speak https{about}.",
        hint="Check the index URL and the proxy; an index of plain http is written http://.",
    ),
    _Rule(
        cause="certificate",
        pattern=r"invalid peer certificate|certificate verify|UnknownIssuer",
        sentence="The certificate of {host} is not trusted{about}.",
        hint="Behind a company's proxy, set SSL_CERT_FILE to its CA bundle, or UV_SYSTEM_CERTS=1.",
    ),
    _Rule(
        cause="network",
        pattern=r"dns error|failed to lookup address|resolving DNS",
        sentence="The name of {host} could not be looked up{about}.",
        hint="Check the network and the index URL; without a network, --set offline=true uses what is cached.",
        retryable=True,
    ),
    _Rule(
        cause="network",
        pattern=r"429 Too Many Requests",
        sentence="{host} counts too many requests from here, 429{about}.",
        hint="Wait a minute and run the cell again.",
        retryable=True,
    ),
    _Rule(
        cause="network",
        pattern=r"HTTP status server error \((5\d\d[^)]*)\)",
        sentence="{host} has a problem of its own, {found}{about}.",
        hint="Run the cell again in a while, or use another index: --set index_url=https://...",
        retryable=True,
    ),
    _Rule(
        cause="network",
        pattern=r"timed out",
        sentence="{host} took too long to answer{about}.",
        hint="Run the cell again; a slow index may need UV_HTTP_TIMEOUT.",
        retryable=True,
    ),
    _Rule(
        cause="network",
        pattern=r"tcp connect error|Connection refused",
        sentence="{host} could not be reached{about}.",
        hint="Check the network, the proxy and the index URL (--set index_url=https://...).",
        retryable=True,
    ),
    _Rule(
        cause="network",
        pattern=r"connection (?:error|closed|reset)|Connection reset|reading a body|decoding response body"
        r"|error sending request|Request failed after",
        sentence="The connection to {host} broke off{about}.",
        hint="Run the cell again.",
        retryable=True,
    ),
    _Rule(
        cause="offline",
        pattern=r"network was disabled|not found in the cache",
        sentence="{what} is not in uv's cache, and the network is switched off.",
        hint="Run once with --set offline=false to fill the cache.",
    ),
    _Rule(
        cause="url",
        pattern=r"404 Not Found|Distribution not found at",
        sentence="There is no file at the address of {what} (404).",
        hint="Check the URL; if it came from the index, the file was removed: resolve again.",
    ),
    _Rule(
        cause="build",
        pattern=r"Failed to build|build backend returned|Failed to download and build",
        sentence="{what} could not be built from source: {printed}.",
        hint="Take a version that has a wheel for this Python and platform, or build a wheel and give its URL.",
    ),
    _Rule(
        cause="corrupt",
        pattern=r"central directory|Invalid zip|Failed to (?:read|extract|unpack)|invalid gzip|unexpected header",
        sentence="The file of {what} is damaged: it is no archive that can be read.",
        hint="If it was downloaded, run `uv cache clean` for this package and try again; else publish the file anew.",
    ),
    _Rule(
        cause="input",
        pattern=r"Failed to parse|Couldn't parse|does not match `|File not found|Expected one of",
        sentence="uv could not read the requirements: {line}.",
        hint="Correct the requirement; a name with a URL is written `name @ https://...`.",
    ),
    _Rule(
        cause="input",
        pattern=r"invalid value '",
        sentence="uv refuses a setting: {line}.",
        hint="Correct the value given with --set, %config or in the [tool.uv] block.",
    ),
    _Rule(
        cause="input",
        pattern=r"unexpected argument|No virtual environment found|error: the argument '",
        sentence="This uv cannot be called so: {line}.",
        hint="Update it: pip install --upgrade uv.",
    ),
    _Rule(
        cause="python",
        pattern=r"No interpreter found (?:for|at path) (.+?)(?= in (?:virtual|managed|search|system)|\n|$)",
        sentence="There is no {found} where uv ran.",
        hint="Choose one that is with --python, or get it: uv python install 3.12.",
    ),
)


def _failure(said: _Said, rule: _Rule) -> InstallFailure:
    found = re.search(rule.pattern, said.text)
    values = {
        "what": said.what or "the packages",
        "about": _about(said),
        "host": said.host,
        "line": _short(said.last),
        "printed": _short(said.printed[-1] if said.printed else said.last),
        "found": found[1] if found and found.re.groups else "",
    }
    sentence = rule.sentence.format_map(values)
    return InstallFailure(
        cause=rule.cause,
        sentence=_capital(sentence) if sentence.startswith("the ") else sentence,
        hint=rule.hint,
        retryable=rule.retryable,
    )


def _ended(said: _Said, signal: int) -> InstallFailure:
    """uv was ended by a signal and said nothing of use."""
    what = said.what or "the packages"
    if signal == 9:
        return InstallFailure(
            cause="killed",
            sentence=f"uv was killed while it installed {what}, most likely for want of memory.",
            hint="Give the install more memory (--resources memory=4Gi), or ask for fewer packages.",
        )
    return InstallFailure(
        cause="killed",
        sentence=f"uv was ended by signal {signal} while it installed {what}.",
        hint="Run the cell again; if it happens every time, update uv: pip install --upgrade uv.",
    )


def _unsolved(said: _Said) -> InstallFailure:
    """No set of versions fits: the first of these that explains why."""
    for explain in (_wrong_python, _no_wheel, _unknown, _no_version):
        failure = explain(said)
        if failure:
            return failure
    return InstallFailure(
        cause="conflict",
        sentence=f"These requirements cannot be met together: {_short(_chain(said), 700)}.",
        hint="Loosen or remove one of them, or give them a cell each.",
    )


def _wrong_python(said: _Said) -> InstallFailure | None:
    found = re.search(r"Python version \(([^)]+)\) does not satisfy Python([^\s,]+)", said.words)
    if not found:
        return None
    whose = re.search(r"(?:and|[Bb]ecause) ([^\s,]+|all versions of [^\s,]+) depends? on Python", said.words)
    who = _named(whose[1]) if whose else "a package"
    lower = re.search(r">=?(\d+\.\d+)", found[2])
    return InstallFailure(
        cause="python",
        sentence=f"{who} needs Python {found[2]}, and this cell's Python is {found[1]}.",
        hint=f"Choose another Python (--python {lower[1] if lower else '3.X'}), or another version of the package.",
    )


def _no_wheel(said: _Said) -> InstallFailure | None:
    found = re.search(
        r"[Bb]ecause ([^\s,]+|all versions of [^\s,]+) (?:has|have) no (usable wheels|wheels with[^,(]*)", said.words
    )
    if not found:
        return None
    who = _named(found[1])
    if found[2] == "usable wheels" or not said.hints:
        return InstallFailure(
            cause="platform",
            sentence=f"{who} has no wheel, only source, and building from source is switched off.",
            hint="Take a version with a wheel, or allow builds, which run code of the package: --set only_binary=false.",
        )
    return InstallFailure(
        cause="platform",
        sentence=f"{who} has no wheel for this Python and platform.",
        hint=f"{_capital(said.hints[0]).replace('`', '').rstrip('.')}. Choose another version, or another Python (--python).",
    )


def _unknown(said: _Said) -> InstallFailure | None:
    found = re.search(
        r"[Bb]ecause ([^\s,]+) was not found in the package registry(?: and ([^,]+?) depends? on)?", said.words
    )
    if not found:
        return None
    name = re.split(r"[=<>!~\[]", found[1])[0]
    needed = f", which {_named(found[2])} needs" if found[2] else ""
    meant = suggest(name)
    first = f"Did you mean {meant}? " if meant else ""
    return InstallFailure(
        cause="unknown-package",
        sentence=f"The package index has no {name}{needed}.",
        hint=f"{first}Check the name; if it is right, the index URL or its credentials are wrong.",
    )


def _no_version(said: _Said) -> InstallFailure | None:
    """A version that is not there; only where nothing else depends on something, which is a conflict."""
    if re.search(r"depends? on", said.words):
        return None
    cutoff = next((hint for hint in said.hints if "exclude-newer" in hint), "")
    if cutoff:
        before = re.search(r"before (\S+?)T", cutoff)
        date = f" before {before[1]}" if before else " early enough"
        newest = re.search(r"is v(\S+), published at (\S+?)T", cutoff)
        what = re.search(r"^`([^`]+)`", cutoff)
        return InstallFailure(
            cause="version",
            sentence=f"{what[1] if what else 'A package'} has no version that was published{date}.",
            hint=f"{f'Version {newest[1]} came out on {newest[2]}. ' if newest else ''}Choose a later exclude_newer.",
        )
    yanked = re.search(r"[Bb]ecause (\S+) was yanked(?: \(reason: ([^)]*)\))?", said.words)
    if yanked:
        why = f' ("{yanked[2]}")' if yanked[2] else ""
        return InstallFailure(
            cause="version",
            sentence=f"{_named(yanked[1])} was withdrawn by its authors{why}.",
            hint="Choose another version, or write this one with == to have it all the same.",
        )
    absent = re.search(r"there (?:is|are) no versions? of ([^\s,]+)", said.words)
    only = re.search(r"only (?:the following versions of )?([^,]+?) (?:is|are) available", said.words)
    if not absent and not only:
        return None
    wanted = re.search(r"you require ([^\s,]+)", said.words)
    missing = absent[1] if absent else wanted[1] if wanted else "such a package"
    name = re.split(r"[=<>!~\[]", missing)[0]
    return InstallFailure(
        cause="version",
        sentence=f"There is no version {missing[len(name) :]} of {name}".replace("version  of", "version of") + ".",
        hint=f"{f'The index has {only[1]}. ' if only else ''}Write {name} without a version to get the newest.",
    )


def _chain(said: _Said) -> str:
    """The premises of uv's "Because ..., we can conclude that ..." chain, without the conclusions between them."""
    text = " ".join(line.split(": ", 1)[1] for line in said.lines if line.startswith("cause: "))
    premises = []
    for part in re.split(r"(?:\bAnd because |\bBecause )", text)[1:]:
        premise = re.split(r",? we can conclude that ", part)[0].strip(" .,")
        premise = re.sub(r"we know from \(\d+\) that .*?(?:, | and )(?=\S)", "", premise, count=1)
        if premise and premise not in premises:
            premises.append(premise)
    return "; ".join(premises) or said.last


def _take_apart(rc: int, stderr: str) -> _Said:
    """uv's own words (from its last `error:` on), one line each, and apart from them what a build or git printed."""
    text = redact(re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", stderr).replace("\r", "\n"))
    rows = text.splitlines()
    start = max((i for i, row in enumerate(rows) if row.startswith("error: ")), default=0)
    lines: list[str] = []
    printed: list[str] = []
    block = False
    for row in rows[start:]:
        plain = row.strip()
        if re.match(r"(?:error|  cause|hint|warning): ?", row):
            block = False
            lines.append(plain)
        elif re.match(r"\s+(?:\[std(?:out|err)\]|--- std(?:out|err))$", row):
            block = True
        elif block:
            printed += [plain] if plain else []
        elif plain and lines and row.startswith(" "):
            lines[-1] += f" {plain}"
        elif plain:
            lines.append(plain)
    return _Said(rc=rc, text=text, lines=tuple(lines), printed=tuple(printed))


def _about(said: _Said) -> str:
    return f" (for {said.what})" if said.what else ""


def _named(spec: str) -> str:
    """ "alpha==1.0" as "alpha 1.0", "alpha @ URL" as "alpha (URL)", "alpha-1.0" of a file name as "alpha 1.0"."""
    name, at, url = spec.partition(" @ ")
    if at:
        return f"{name} ({url})"
    spec = re.sub(r"^([A-Za-z0-9_.]+)-(\d[^-]*)$", r"\1 \2", spec)
    return spec.replace("==", " ")


def _short(text: str, limit: int = 300) -> str:
    text = " ".join(text.split()).rstrip(". ")
    return text if len(text) <= limit else f"{text[:limit].rstrip()}..."


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


MEANT = {
    "attr": "attrs", "bs4": "beautifulsoup4", "crypto": "pycryptodome", "cv": "opencv-python-headless",
    "cv2": "opencv-python-headless", "dateutil": "python-dateutil", "docx": "python-docx", "dotenv": "python-dotenv",
    "fitz": "pymupdf", "git": "gitpython", "google-protobuf": "protobuf", "igraph-python": "igraph",
    "jose": "python-jose", "jwt": "pyjwt", "ldap": "python-ldap", "lightgbm-python": "lightgbm",
    "magic": "python-magic", "mpl-toolkits": "matplotlib", "mysqldb": "mysqlclient", "opencv": "opencv-python-headless",
    "osgeo": "gdal", "pil": "pillow", "pptx": "python-pptx", "psycopg2-bin": "psycopg2-binary", "pylab": "matplotlib",
    "pytorch": "torch", "serial": "pyserial", "skimage": "scikit-image", "sklearn": "scikit-learn", "slugify":
    "python-slugify", "spark": "pyspark", "tensor-flow": "tensorflow", "umap": "umap-learn", "usb": "pyusb",
    "win32api": "pywin32", "yaml": "pyyaml", "zmq": "pyzmq",
}  # fmt: skip
"""Names of modules, and famous misspellings, with the package that is meant."""

POPULAR = (
    "aiohttp", "altair", "anyio", "bokeh", "boto3", "catboost", "celery", "click", "cython", "dask", "datasets",
    "distributed", "django", "duckdb", "fastapi", "fiona", "flask", "fsspec", "gensim", "geopandas", "gitpython", "h5py",
    "httpx", "hypothesis", "ipywidgets", "jax", "jinja2", "joblib", "jsonschema", "keras", "lightgbm", "lxml",
    "matplotlib", "mlflow", "networkx", "nltk", "numba", "numexpr", "numpy", "openpyxl", "optuna", "pandas", "pillow",
    "plotly", "polars", "prophet", "psutil", "psycopg2-binary", "pyarrow", "pydantic", "pymongo", "pyspark", "pytest",
    "pyyaml", "rasterio", "redis", "requests", "rich", "s3fs", "scikit-image", "scikit-learn", "scipy", "seaborn",
    "sentence-transformers", "shapely", "spacy", "sqlalchemy", "statsmodels", "streamlit", "sympy", "tabulate",
    "tensorflow", "tokenizers", "torch", "torchvision", "tqdm", "transformers", "urllib3", "xarray", "xgboost", "xlrd",
    "zarr",
)  # fmt: skip
"""Packages that notebooks use most: what a misspelt name is compared with."""
