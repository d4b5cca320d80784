"""Look up known vulnerabilities on an OSV server, or in an offline copy of its data (a folder or a zip of records).

Rules:
- Only names and versions of packages are sent to a server. Its responses are cached for a day.
- Every failure becomes a `problem` in the result, with which the policy refuses the run.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import time
import zipfile
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib import request
from urllib.error import URLError
from urllib.parse import quote

from uv_argo_magic._os import atomic_write, paths
from uv_argo_magic.core.policy import advisories
from uv_argo_magic.core.policy.advisories import Advisory, Found

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from uv_argo_magic.core.policy.advisories import Source

MAX_AGE = 24 * 3600.0
"""Seconds for which a response of a server is cached."""
TIMEOUT = 10.0
"""Maximum seconds for a response of a server."""
LARGEST = 32 * 1024 * 1024
"""Maximum bytes of a response."""


def look_up(source: Source, packages: Mapping[str, str]) -> Found:
    """The advisories of the source for these packages (canonical name -> version)."""
    try:
        found = _ask(source.address, packages) if source.is_server else _search(Path(source.address), packages)
        return Found(source=source.address, advisories=advisories.distinct(found))
    except Exception as error:  # noqa: BLE001 - any invalid response, record or zip file
        reason = error.reason if isinstance(error, URLError) else error
        sentence = str(reason).rstrip(".") or type(error).__name__
        return Found(source=source.address, problem=f"{source.address}: {sentence}")


def _ask(address: str, packages: Mapping[str, str]) -> tuple[Advisory, ...]:
    """The advisories from a server, cached for a day."""
    names = sorted(packages)
    question = json.dumps([address, [(name, packages[name]) for name in names]])
    cache = paths.cache_dir() / "osv" / f"{hashlib.sha256(question.encode()).hexdigest()[:32]}.json"
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        stored = json.loads(cache.read_text(encoding="utf-8"))
        if 0 <= time.time() - stored["time"] < MAX_AGE:
            return tuple(_advisory(item) for item in stored["advisories"])
    pairs: list[tuple[str, str]] = []
    queries: list[dict[str, Any]] = [
        {"package": {"name": name, "ecosystem": advisories.ECOSYSTEM}}
        # Without a version, the server responds with the advisories of every version.
        | ({"version": packages[name]} if packages[name] else {})
        for name in names
    ]
    queried = names
    while queries:
        results = _request(f"{address}/v1/querybatch", {"queries": queries})["results"]
        more: list[tuple[str, dict[str, Any]]] = []
        for name, query, result in zip(queried, queries, results, strict=True):
            pairs += [(name, str(vulnerability["id"])) for vulnerability in result.get("vulns") or ()]
            if token := result.get("next_page_token"):
                more.append((name, {**query, "page_token": token}))
        queried, queries = [name for name, _ in more], [query for _, query in more]
    records = {id_: _request(f"{address}/v1/vulns/{quote(id_, safe='')}") for id_ in sorted({id_ for _, id_ in pairs})}
    found = []
    for name, id_ in pairs:
        advisory = next(iter(advisories.find(records[id_], {name: packages[name]})), None)
        # The server matches the version; the record has the summary, and the versions that fix the problem.
        if not records[id_].get("withdrawn"):
            found.append(advisory or advisories.describe(records[id_], name))
    with contextlib.suppress(OSError):
        atomic_write.write(cache, json.dumps({"time": time.time(), "advisories": [asdict(item) for item in found]}))
    return tuple(found)


def _advisory(data: dict[str, Any]) -> Advisory:
    return Advisory(**{**data, "aliases": tuple(data["aliases"]), "fixed": tuple(data["fixed"])})


def _request(url: str, body: object = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    query = request.Request(url, data=data, headers={"Content-Type": "application/json"})  # noqa: S310 - https or http: Source.is_server
    with request.urlopen(query, timeout=TIMEOUT) as response:  # noqa: S310 - as above
        text = response.read(LARGEST + 1)
    if len(text) > LARGEST:
        raise ValueError(f"the response has more than {LARGEST} bytes")
    return json.loads(text)


def _search(path: Path, packages: Mapping[str, str]) -> Iterator[Advisory]:
    """The advisories in an offline copy for these packages."""
    names = "|".join(re.escape(name).replace(r"\-", "[-_.]+") for name in packages)
    # Parsing only records that contain one of the names is ten times as fast.
    mentions = re.compile(rf'"name"\s*:\s*"(?:{names})"', re.IGNORECASE)
    text = ""
    for text in _texts(path):
        if mentions.search(text):
            yield from advisories.find(json.loads(text), packages)
    if not text:
        raise ValueError("it has no records")


def _texts(path: Path) -> Iterator[str]:
    if path.is_dir():
        for file in sorted(path.rglob("*.json")):
            yield file.read_text(encoding="utf-8")
        return
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            if name.endswith(".json"):
                yield archive.read(name).decode("utf-8")
