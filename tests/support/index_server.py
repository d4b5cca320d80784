"""A package index on 127.0.0.1 for tests, with wheels and sdists created in memory, and faults on demand.

    with IndexServer() as index:
        index.add("alpha", "1.0", requires=["beta<2"], files={"alpha.py": "x = 1"})
        index.misbehave("alpha", "503")
        subprocess.run(["uv", "pip", "install", "--default-index", index.url, "alpha"])

Rules:
- The same arguments give the same bytes (with fixed times in every archive), so hashes are equal in all runs.
- It provides the JSON form of the simple index, with sizes, upload times and separate metadata files for wheels.
- `requests` has all requested paths in order, so that a test can count them.
"""

from __future__ import annotations

import base64
import contextlib
import gzip
import hashlib
import io
import json
import socket
import struct
import tarfile
import threading
import zipfile
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Literal, Self
from urllib.parse import unquote

from packaging.utils import canonicalize_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from types import TracebackType

Fault = Literal[
    "401", "403", "404", "407", "429", "500", "503", "reset", "slow", "text", "wrong-hash", "corrupt", "truncated"
]
"""The fault of a package: a status, a broken connection, no response, plain text, or wrong bytes."""

JSON_TYPE = "application/vnd.pypi.simple.v1+json"

BACKEND = '''
"""A build backend without requirements: it packs the modules in its folder."""
import os, zipfile

def build_wheel(directory, config_settings=None, metadata_directory=None):
    with open("PKG-INFO") as file:
        metadata = file.read()
    name, version = "{name}", "{version}"
    info = f"{{name}}-{{version}}.dist-info"
    file = f"{{name}}-{{version}}-py3-none-any.whl"
    with zipfile.ZipFile(os.path.join(directory, file), "w") as wheel:
        for module in {modules!r}:
            wheel.write(module)
        wheel.writestr(f"{{info}}/METADATA", metadata)
        lines = ["Wheel-Version: 1.0", "Generator: test", "Root-Is-Purelib: true", "Tag: py3-none-any", ""]
        wheel.writestr(f"{{info}}/WHEEL", "\\n".join(lines))
        wheel.writestr(f"{{info}}/RECORD", "")
    return file
'''


@dataclass(frozen=True, kw_only=True)
class File:
    """One file of the index: its name, its bytes, and its data in the index."""

    name: str
    version: str
    filename: str
    body: bytes
    metadata: str = ""
    requires_python: str = ""
    yanked: bool | str = False
    uploaded: str = "2026-01-01T00:00:00Z"

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.body).hexdigest()


@dataclass
class IndexServer:
    """The index server; a context manager.

    With `credentials` ("user:password"), all requests need them. `max_age` is the number of seconds for which responses
    can be cached. `pause` is the time in seconds for each file, and `most_at_once` the maximum of simultaneous
    downloads so far.
    """

    credentials: str = ""
    max_age: int = 0
    pause: float = 0.0
    most_at_once: int = 0
    address: str = "127.0.0.1"
    requests: list[str] = field(default_factory=list)
    _files: dict[str, dict[str, File]] = field(default_factory=dict)
    _pages: dict[str, Fault] = field(default_factory=dict)
    _downloads: dict[str, Fault] = field(default_factory=dict)
    _sending: list[str] = field(default_factory=list)
    _closing: threading.Event = field(default_factory=threading.Event)
    _server: ThreadingHTTPServer | None = None
    _thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        this = self

        class Handler(_Handler):
            index = this

        self._server = _Server((self.address, 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.set()
        assert self._server
        assert self._thread
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def host(self) -> str:
        """ "127.0.0.1:PORT"."""
        assert self._server, "use it as a context manager"
        return f"{self.address}:{self._server.server_address[1]}"

    @property
    def url(self) -> str:
        """The URL for `--default-index`, without credentials."""
        return f"http://{self.host}/simple"

    def add(
        self,
        name: str,
        version: str,
        *,
        requires: Iterable[str] = (),
        extras: Mapping[str, Iterable[str]] | None = None,
        requires_python: str = "",
        files: Mapping[str, str] | None = None,
        scripts: Mapping[str, str] | None = None,
        tag: str = "py3-none-any",
        yanked: bool | str = False,
        size: int = 0,
        uploaded: str = "2026-01-01T00:00:00Z",
    ) -> File:
        """Add a wheel. `size` is its minimum size in bytes; `scripts` maps a command to "module:function"."""
        extras = extras or {}
        metadata = _metadata(name, version, requires, extras, requires_python)
        body = _wheel(name, version, metadata, files or {}, scripts or {}, tag, size)
        return self._keep(
            File(
                name=canonicalize_name(name),
                version=version,
                filename=f"{_escaped(name)}-{version}-{tag}.whl",
                body=body,
                metadata=metadata,
                requires_python=requires_python,
                yanked=yanked,
                uploaded=uploaded,
            )
        )

    def add_sdist(
        self,
        name: str,
        version: str,
        *,
        requires: Iterable[str] = (),
        files: Mapping[str, str] | None = None,
        backend: str = "",
        requires_python: str = "",
        dynamic: bool = False,
    ) -> File:
        """Add a source distribution with its own build backend; `backend` replaces the source of that backend.

        With `dynamic`, a resolver must run the backend to find the requirements of the package.
        """
        metadata = _metadata(name, version, requires, {}, requires_python)
        if dynamic:
            metadata += "Dynamic: Requires-Dist\n"
        modules = dict(files or {f"{_escaped(name)}.py": ""})
        members = {
            "PKG-INFO": metadata,
            "pyproject.toml": '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n',
            "backend.py": backend or BACKEND.format(name=_escaped(name), version=version, modules=sorted(modules)),
            **modules,
        }
        root = f"{_escaped(name)}-{version}"
        file = File(
            name=canonicalize_name(name),
            version=version,
            filename=f"{root}.tar.gz",
            body=_tarball(root, members),
            requires_python=requires_python,
        )
        return self._keep(file)

    def remove(self, name: str) -> None:
        """Remove all files of a package."""
        self._files.pop(canonicalize_name(name), None)

    def misbehave(self, name: str, fault: Fault | Literal[""], *, where: Literal["page", "file"] = "page") -> None:
        """Add a fault to a package's page or files; "" removes it."""
        if fault in {"wrong-hash", "corrupt", "truncated"}:
            where = "file"
        table = self._pages if where == "page" else self._downloads
        if fault:
            table[canonicalize_name(name)] = fault
        else:
            table.pop(canonicalize_name(name), None)

    def file_url(self, file: File) -> str:
        """The URL of a file, for `name @ URL` requirements."""
        return f"http://{self.host}/files/{file.name}/{file.filename}"

    def _keep(self, file: File) -> File:
        self._files.setdefault(file.name, {})[file.filename] = file
        return file

    def _page(self, name: str) -> bytes:
        """The JSON page of a package."""
        files = self._files[name]
        corrupt = self._downloads.get(name) == "corrupt"
        entries = []
        for file in files.values():
            body = _CORRUPT if corrupt else file.body
            entry: dict[str, object] = {
                "filename": file.filename,
                "url": f"/files/{file.name}/{file.filename}",
                "hashes": {"sha256": hashlib.sha256(body).hexdigest()},
                "size": len(body),
                "upload-time": file.uploaded,
                "yanked": file.yanked,
            }
            if file.requires_python:
                entry["requires-python"] = file.requires_python
            if file.metadata:
                entry["core-metadata"] = {"sha256": hashlib.sha256(file.metadata.encode()).hexdigest()}
            entries.append(entry)
        page = {
            "meta": {"api-version": "1.1"},
            "name": name,
            "versions": sorted({file.version for file in files.values()}),
            "files": entries,
        }
        return json.dumps(page).encode()


_CORRUPT = b"this is not an archive, despite its name...\n" * 8


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Print nothing, because some tests make clients disconnect."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 10
    index: IndexServer

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
        """Print nothing, because `requests` is the log."""

    def handle(self) -> None:
        with contextlib.suppress(ConnectionError):
            super().handle()

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        index = self.index
        path = unquote(self.path.split("?")[0])
        index.requests.append(path)
        if index.credentials and not self._known():
            self._send(401, b"who are you?", headers={"WWW-Authenticate": 'Basic realm="index"'})
            return
        parts = [part for part in path.split("/") if part]
        match parts:
            case ["simple", name] if fault := index._pages.get(name):
                self._misbehave(fault)
            case ["simple", name] if name in index._files:
                self._send(200, index._page(name), JSON_TYPE)
            case ["files", name, filename] if name in index._files:
                self._file(name, filename)
            case _:
                self._send(404, b"no such thing")

    def _known(self) -> bool:
        authorization = self.headers.get("Authorization", "")
        return authorization == "Basic " + base64.b64encode(self.index.credentials.encode()).decode()

    def _file(self, name: str, filename: str) -> None:
        index = self.index
        file = index._files[name].get(filename.removesuffix(".metadata"))
        fault = index._downloads.get(name)
        if file is None:
            self._send(404, b"no such file")
        elif filename.endswith(".metadata"):
            # Without a fault, because the download is tested, and uv reads the metadata first.
            self._send(200, file.metadata.encode())
        elif fault == "wrong-hash":
            self._send(200, file.body + b"\0")
        elif fault == "corrupt":
            self._send(200, _CORRUPT)
        elif fault == "truncated":
            self._send(200, file.body[: len(file.body) // 2], length=len(file.body))
            self.close_connection = True
        elif fault:
            self._misbehave(fault)
        else:
            index._sending.append(filename)
            index.most_at_once = max(index.most_at_once, len(index._sending))
            index._closing.wait(index.pause)
            index._sending.remove(filename)
            self._send(200, file.body)

    def _misbehave(self, fault: Fault) -> None:
        if fault == "reset":
            # With a linger time of 0, close() resets the connection.
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
            self.close_connection = True
        elif fault == "slow":
            self.index._closing.wait(60)
            self.close_connection = True
        elif fault == "text":
            self._send(200, b"Welcome to the hotel. Please accept the terms.\n", "text/plain")
        else:
            self._send(int(fault), HTTPStatus(int(fault)).phrase.encode())

    def _send(
        self,
        status: int,
        body: bytes,
        kind: str = "application/octet-stream",
        *,
        length: int | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        # Not cached by default, because a page can change between two runs in a test.
        self.send_header("Cache-Control", f"max-age={self.index.max_age}" if self.index.max_age else "no-store")
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def _escaped(name: str) -> str:
    return canonicalize_name(name).replace("-", "_")


def _metadata(
    name: str, version: str, requires: Iterable[str], extras: Mapping[str, Iterable[str]], requires_python: str
) -> str:
    lines = ["Metadata-Version: 2.2", f"Name: {name}", f"Version: {version}"]
    if requires_python:
        lines.append(f"Requires-Python: {requires_python}")
    lines += [f"Requires-Dist: {line}" for line in requires]
    for extra, lines_of_extra in extras.items():
        lines.append(f"Provides-Extra: {extra}")
        lines += [f'Requires-Dist: {line}; extra == "{extra}"' for line in lines_of_extra]
    return "\n".join(lines) + "\n"


def _wheel(
    name: str, version: str, metadata: str, files: Mapping[str, str], scripts: Mapping[str, str], tag: str, size: int
) -> bytes:
    info = f"{_escaped(name)}-{version}.dist-info"
    pure = str(tag.endswith("-any")).lower()
    members = dict(files or {f"{_escaped(name)}.py": f'__version__ = "{version}"\n'})
    if size:
        # The archive is not compressed, so that it has at least the requested size.
        members[f"{_escaped(name)}_padding.txt"] = "x" * size
    members[f"{info}/METADATA"] = metadata
    members[f"{info}/WHEEL"] = f"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: {pure}\nTag: {tag}\n"
    if scripts:
        lines = [f"{command} = {target}" for command, target in scripts.items()]
        members[f"{info}/entry_points.txt"] = "\n".join(["[console_scripts]", *lines, ""])
    record = []
    for path, text in members.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
        record.append(f"{path},sha256={digest},{len(text.encode())}")
    members[f"{info}/RECORD"] = "\n".join([*record, f"{info}/RECORD,,", ""])
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for path, text in members.items():
            entry = zipfile.ZipInfo(path, date_time=(2026, 1, 1, 0, 0, 0))
            entry.external_attr = (0o100755 if "/scripts/" in path else 0o644) << 16
            archive.writestr(entry, text)
    return out.getvalue()


def _tarball(root: str, members: Mapping[str, str]) -> bytes:
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as archive:
        for path, text in members.items():
            entry = tarfile.TarInfo(f"{root}/{path}")
            entry.size = len(text.encode())
            archive.addfile(entry, io.BytesIO(text.encode()))
    return gzip.compress(raw.getvalue(), mtime=0)
