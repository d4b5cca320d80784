"""Package indexes: the settings `index_url` and `indexes` as uv's variables, with separate credentials.

Rules:
- `environment` contains no secrets, so it can be shown and sent; `credentials` must not be.
- Named indexes come before the default one. uv takes each package from the first index that has it (its first-index
  strategy), so a package of the same name on a later index is never installed.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit, urlunsplit

from uv_argo_magic.errors import SpecError

if TYPE_CHECKING:
    from uv_argo_magic.core.spec.settings import Settings

DEFAULT = "default"
"""Name of the index of `index_url`, if it needs a name."""

_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")


def by_name(settings: Settings) -> dict[str, str]:
    """Every index in the settings as name -> URL as written; the default one is last.

    Raises:
        SpecError: a name or a URL is invalid.
    """
    addresses: dict[str, str] = {}
    for name, url in settings.indexes:
        if not _NAME.fullmatch(name) or name == DEFAULT:
            raise SpecError(
                f"invalid index name: {name!r}", hint="Use letters, digits, - and _: --set indexes=NAME=URL"
            )
        addresses[name] = _checked(f"index {name}", url, f"--set indexes={name}=https://index.example.com/simple")
    if settings.index_url:
        example = "--set index_url=https://index.example.com/simple"
        addresses[DEFAULT] = _checked("index_url", settings.index_url, example)
    return addresses


def environment(settings: Settings) -> dict[str, str]:
    """Uv's variables for the indexes, without user names and passwords."""
    urls = {name: without_credentials(url) for name, url in by_name(settings).items()}
    default = urls.pop(DEFAULT, "")
    variables = {}
    if default:
        # The default index needs a name only if it has credentials.
        secrets = [name for name, _ in settings.index_secrets if name not in urls]
        name = secrets[0] if secrets else DEFAULT if credentials(settings) else ""
        variables["UV_DEFAULT_INDEX"] = f"{name}={default}" if name else default
    if urls:
        variables["UV_INDEX"] = " ".join(f"{name}={url}" for name, url in urls.items())
    return variables


def credentials(settings: Settings) -> dict[str, str]:
    """Uv's variables with the user names and passwords of the URLs."""
    variables: dict[str, str] = {}
    for name, url in by_name(settings).items():
        parts = urlsplit(url)
        if parts.username or parts.password:
            variables[variable(name, "USERNAME")] = unquote(parts.username or "")
            variables[variable(name, "PASSWORD")] = unquote(parts.password or "")
    return variables


def variable(name: str, suffix: str) -> str:
    """The variable that uv reads for the USERNAME or PASSWORD of an index."""
    return f"UV_INDEX_{re.sub(r'[^A-Za-z0-9]', '_', name).upper()}_{suffix}"


def without_credentials(url: str) -> str:
    """A URL without user name and password."""
    try:
        parts = urlsplit(url)
    except ValueError:  # an invalid host
        return re.sub(r"//[^/]*@", "//", url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2])) if "@" in parts.netloc else url


def _checked(subject: str, url: str, example: str) -> str:
    # In UV_INDEX, spaces separate the URLs.
    if not url.startswith(("https://", "http://", "file://")) or re.search(r"\s", url) or not _has_valid_host(url):
        raise SpecError(f"{subject} is not an index URL: {without_credentials(url)!r}", hint=f"Write {example}")
    return url


def _has_valid_host(url: str) -> bool:
    try:
        urlsplit(url)
    except ValueError:
        return False
    return True
