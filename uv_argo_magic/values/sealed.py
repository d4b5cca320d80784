"""Pulled values: plain data is decoded; any other value becomes a `Sealed`, which stays pickled.

Rule: code of a value runs only in `Sealed.open`, which the user calls.
"""

from __future__ import annotations

import html
import json
import pickletools
import re
import sys
from dataclasses import dataclass, field
from importlib import metadata
from typing import TYPE_CHECKING, Any

from uv_argo_magic.core import humanize
from uv_argo_magic.core.frozen import frozen
from uv_argo_magic.core.protocol import values
from uv_argo_magic.core.stand_ins import StandIn
from uv_argo_magic.errors import ArgoMagicError, PolicyError
from uv_argo_magic.guest_values import files, pickles, trees
from uv_argo_magic.policy import files as files_of_policies
from uv_argo_magic.values import pickling

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from uv_argo_magic.core.protocol.events import Value

_FILE = re.compile(r"pulled-[0-9a-f]{16}")


@frozen
class Origin:
    """The run of a value: its id, the folder of its files, the key of its lock and its packages."""

    run: str
    folder: Path | None = None
    lock: str = ""
    packages: tuple[tuple[str, str], ...] = ()


class SealedValueError(ArgoMagicError, AttributeError, TypeError):
    """The value is needed, but it is sealed."""


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class Sealed(StandIn):
    """A pickled value of a run: its type, size (bytes), SHA-256, run, lock and preview.

    `--push` sends it without unpickling it; `open` unpickles it in the notebook.
    """

    type: str
    size: int
    digest: str
    origin: Origin
    name: str
    view: dict[str, str] = field(default_factory=dict)
    _body: str = ""
    _file: str = ""

    @property
    def run(self) -> str:
        """The id of the run of the value."""
        return self.origin.run

    @property
    def lock(self) -> str:
        """The key of the lock of that run; "" without packages."""
        return self.origin.lock

    def __repr__(self) -> str:
        text = self.view.get("text/plain", "")
        return f"<Sealed {self.type}>" + (f"\n{text}" if "\n" in text else f" {text}" if text else "")

    def _repr_html_(self) -> str | None:
        if "text/html" not in self.view:
            return None
        origin = html.escape(f"{humanize.size(self.size)}, from the run {self.run}")
        caption = f'Sealed {html.escape(self.type)} <span class="uv-volatile">{origin}</span>'
        return f"<div><small>{caption}</small></div>{self.view['text/html']}"

    def _error(self, use: str) -> SealedValueError:
        return SealedValueError(
            f"{use} needs the value of {self.name}, a sealed {self.type}",
            hint="Open it with .open() if you trust the cell that made it, or send it to another cell: "
            f"--push {self.name}.",
        )

    def read(self) -> tuple[str, list[values.Raw]]:
        """The text and the buffers of the pulled value.

        Raises:
            ArgoMagicError: they no longer exist, or were changed.
        """
        return read(self.name, self._body, self._file, self.digest, self.origin)

    def header(self) -> dict[str, str]:
        """The encoding: `format` ("plain", "pickle" or "cloudpickle"), and the versions of Python and cloudpickle.

        Raises:
            ArgoMagicError: as in `read`.
        """
        return header(self.read()[0])

    def open(self) -> object:
        """Unpickle the value, which runs its code.

        Raises:
            ArgoMagicError: the value was changed, or a package that it needs is missing or has another version.
            PolicyError: the package policy does not allow this.
        """
        text, buffers = self.read()
        head = header(text)
        if head["format"] == "plain":
            return values.decode(text, buffers)
        self._refuse_by_policy()
        tree = json.loads(text)
        body = tree["v"]
        data = buffers[body["v"]] if isinstance(body, dict) else trees.raw(tree)
        if head["format"] == pickles.CLOUDPICKLE:
            if head["python"] != pickles.minor():
                raise ArgoMagicError(
                    f"{self.name} contains code of Python {head['python']}, and this is Python {pickles.minor()}",
                    hint=f"Push it to a cell with --python {head['python']} instead.",
                )
            pickling.load_cloudpickle()
        try:
            return pickles.loads(data)
        except Exception as problem:
            raise self._cannot_open(problem, data) from problem

    def _refuse_by_policy(self) -> None:
        policy = files_of_policies.read()
        for statement in policy.of("values.open_sealed") if policy else ():
            raise PolicyError(
                f"the package policy {statement.origin} does not allow opening {self.name} here, "
                "because this would run its code",
                hint=f"Push it to a cell instead: --push {self.name}.",
            )

    def _cannot_open(self, problem: Exception, data: values.Raw) -> ArgoMagicError:
        """The error for a value that cannot be unpickled, with missing or different packages."""
        missing, different = [], []
        origin_versions = {name.lower().replace("_", "-"): version for name, version in self.origin.packages}
        owners = metadata.packages_distributions()
        for module in modules_of(data):
            names = owners.get(module, [])
            if not names and module not in sys.stdlib_module_names and module != pickles.PRIVATE:
                missing.append(module)
            for name in names:
                version = origin_versions.get(name.lower().replace("_", "-"))
                local_version = metadata.version(name)
                if version and version != local_version:
                    different.append(f"{name} {version} (here {local_version})")
        needs = [f"{', '.join(missing)} not installed here"] if missing else []
        needs += [f"made with {', '.join(different)}"] if different else []
        reason = "; ".join(needs) or f"{type(problem).__name__}: {problem}"
        return ArgoMagicError(
            f"cannot open {self.name}, a {self.type}: {reason}",
            hint=f"Push it to a cell with those packages instead: --push {self.name}.",
        )


def modules_of(data: values.Raw) -> list[str]:
    """The top-level modules that a pickle imports, found without running it."""
    found: dict[str, None] = {}
    texts: list[str] = []
    try:
        for opcode, argument, _ in pickletools.genops(bytes(data)):
            if opcode.name == "GLOBAL":
                found[str(argument).partition(" ")[0].partition(".")[0]] = None
            elif opcode.name == "STACK_GLOBAL" and len(texts) > 1:
                found[texts[-2].partition(".")[0]] = None
            elif isinstance(argument, str):
                texts.append(argument)
    except ValueError:
        pass
    return list(found)


def header(text: str) -> dict[str, str]:
    """The encoding of a value, from its text."""
    tree: Any = json.loads(text) if text.startswith('{"v":') or '"@":"sealed"' in text[-400:] else None
    if not isinstance(tree, dict) or tree.get(trees.TAG) != "sealed":
        return {"format": "plain"}
    return {key: str(tree[key]) for key in ("format", "python", "cloudpickle") if key in tree}


def read(name: str, body: str, file: str, digest: str, origin: Origin) -> tuple[str, list[values.Raw]]:
    """The text and the buffers of a pulled value.

    Raises:
        ArgoMagicError: they no longer exist, or their SHA-256 is not `digest`.
    """
    changed = f"{name} was changed since the run {origin.run} sent it"
    if not file:
        if digest and trees.digest_of(body) != digest:
            raise ArgoMagicError(f"{changed}: its SHA-256 does not match", hint="Run that cell again.")
        return body, []
    if origin.folder is None or not _FILE.fullmatch(file):
        raise ArgoMagicError(f"{name} names the file {file}, which no run has", hint="Run that cell again.")
    text, buffers = "", []
    try:
        text, buffers = files.read(str(origin.folder / file), digest)
    except files.Damaged as problem:
        raise ArgoMagicError(f"{changed}: {problem}", hint="Run that cell again.") from None
    except OSError as problem:
        raise ArgoMagicError(
            f"{name} of the run {origin.run} is gone: {problem.strerror}", hint="Run that cell again."
        ) from None
    return text, buffers


def receive(pulled: Iterable[Value], origin: Origin) -> tuple[dict[str, object], list[str]]:
    """(values by name, problems) from the records of a run; sealed values stay sealed."""
    found: dict[str, object] = {}
    problems = []
    for record in pulled:
        if record.problem:
            problems.append(record.problem)
            continue
        sealed = Sealed(
            type=record.type or "object", size=record.size, digest=record.digest, origin=origin, name=record.name,
            view={mime: str(text) for mime, text in json.loads(record.view).items()}, _body=record.body,
            _file=record.file,
        )  # fmt: skip
        try:
            found[record.name] = _open_plain(record, sealed)
        except ArgoMagicError as problem:
            problems.append(problem.message)
    return found, problems


def _open_plain(record: Value, sealed: Sealed) -> object:
    text, buffers = sealed.read()
    if record.sealed:
        return sealed
    try:
        return values.decode(text, buffers)
    except values.MissingLibrary:
        return sealed
