"""The `env` command: the environments of a store, their verification and removal, and installation ahead of a run.

Rule: a store of this machine is read here; one of a cluster by a run that has it, with the same code (uv/store.py).
"""

from __future__ import annotations

import inspect
import json
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from uv_argo_magic._os import paths
from uv_argo_magic.backends import base
from uv_argo_magic.commands.registry import Failure
from uv_argo_magic.core import humanize
from uv_argo_magic.core.commands.table import run_options
from uv_argo_magic.core.resolution.lock import Lock
from uv_argo_magic.core.spec import settings_parser
from uv_argo_magic.core.suggest import unknown
from uv_argo_magic.core.view.tables import Table
from uv_argo_magic.engine import stages
from uv_argo_magic.engine.execute import execute
from uv_argo_magic.engine.front_end import QuietFrontEnd, SourceFrontEnd
from uv_argo_magic.engine.spec_builder import specify
from uv_argo_magic.errors import BackendError, SpecError
from uv_argo_magic.guest.install import environment
from uv_argo_magic.uv import store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from uv_argo_magic.commands.registry import Answer, Request
    from uv_argo_magic.history.store import History

Number = TypeVar("Number", int, float)
ACTIONS = ("list", "show", "prune", "verify", "warm")
SHOWN = 12
"""Characters of a key."""
LISTED = 20
"""Files that `verify` lists."""
_WARM = """\
# Import the requested packages, so that their byte code is in the environment.
import contextlib, importlib, importlib.metadata, json
for name in json.loads(@NAMES@):
    distribution = importlib.metadata.distribution(name)
    listed = (distribution.read_text("top_level.txt") or "").split()
    found = {file.parts[0] for file in distribution.files or () if len(file.parts) > 1 and file.suffix == ".py"}
    for module in listed or sorted(found):
        with contextlib.suppress(Exception):
            importlib.import_module(module)
"""


def handle(request: Request) -> Iterator[Answer]:
    """The `env` command.

    Raises:
        SpecError: an action, a key or a limit is invalid, or the cluster has no store.
        BackendError: the backend cannot be reached, or its answer cannot be read.
        RunError: the run that reads the store, or that installs, failed.
    """
    words = request.line.arguments
    action, names = (words[0], words[1:]) if words else ("list", ())
    if action not in ACTIONS:
        raise unknown("action", action, ACTIONS)
    for dest in ("older_than", "keep", "max_size", "dry_run"):
        if action != "prune" and request.line.has(dest):
            flag = f"--{dest.replace('_', '-')}"
            raise SpecError(f"{flag} belongs to env prune, not env {action}", hint=f"Leave {flag} out.")
    if action in ("list", "warm") and names:
        raise SpecError(f"env {action} takes no argument, but got {names[0]}", hint=f"Write env {action}.")
    if action == "warm":
        yield _warm(request)
        return
    place = _Place(request)
    if action == "prune":
        yield _prune(place, request, names)
        return
    if action == "verify":
        yield from _verify(place, names)
        return
    found = place.environments()
    if action == "show":
        if len(names) != 1:
            raise SpecError("env show needs one environment", hint="Write env show KEY; env list shows the keys.")
        yield _details(_choose(names[0], found))
    elif not found:
        yield f"No environments in {place.name}."
    else:
        yield _list(place, found, request.history)


class _Place:
    """Where environments are: the store of this machine, or that of a cluster."""

    def __init__(self, request: Request) -> None:
        configuration = request.configuration()
        self.request = request
        self.is_local = base.Capability.LOCAL in base.load(configuration.backend).capabilities
        self.root = str(paths.cache_dir() / "store")
        if not self.is_local and not configuration.settings.store:
            raise SpecError(
                f"the {configuration.backend} backend has no store", hint="Name its volume: --set store=claim/NAME."
            )
        self.name = "the store of this machine" if self.is_local else f"the store {configuration.settings.store}"

    def environments(self) -> list[store.Environment]:
        """The environments, the most recently used first; on this machine with the persistent ones of the cache."""
        if self.is_local:
            return store.environments(self.root) + store.persistent(str(paths.cache_dir() / "venvs"))
        return self._ask({"action": "list"})

    def prune(self, limits: store.Limits, *, dry_run: bool) -> list[store.Environment]:
        """Remove environments; those that were removed."""
        if self.is_local:
            return store.prune(self.root, limits, dry_run=dry_run)
        return self._ask({"action": "prune", "dry_run": dry_run, **asdict(limits)})

    def verify(self, keys: tuple[str, ...]) -> list[store.Environment]:
        """The environments with these keys, by default all, with their problems."""
        if self.is_local:
            return store.verify(self.root, keys, environment.verify)
        return self._ask({"action": "verify", "keys": keys})

    def _ask(self, question: dict[str, object]) -> list[store.Environment]:
        """The answer of a run that has the store."""
        # The guest, which runs the cell, is in the store.
        cell = (
            f"{inspect.getsource(store)}\n\nimport uv_argo_guest.install.environment as guest\n"
            f"print(answer({json.dumps(question)!r}, str(Path(guest.__file__).parents[4]), guest.verify))\n"
        )
        options = replace(run_options(self.request.line), deps="", requirements=(), dry_run=False)
        run = execute(cell, options, self.request.context, QuietFrontEnd())
        assert run is not None  # noqa: S101 - no dry run
        run.wait()
        run.raise_for_state()
        try:
            return store.read_answer(run.logs())
        except ValueError as error:
            raise BackendError("cannot read the response of the store", hint=str(error)) from error


def _list(place: _Place, found: list[store.Environment], history: History) -> Table:
    users = _users(history) if place.is_local else {}
    now = time.time()
    rows = tuple(
        (
            one.key[:SHOWN] if _is_shared(one) else _short_path(one.path),
            one.python,
            str(len(one.packages)),
            " ".join(name for name, _ in one.packages),
            humanize.size(one.bytes),
            "now" if one.in_use else humanize.ago(now - one.used),
            users.get(one.key, "" if place.is_local else one.used_by),
        )
        for one in found
    )
    total = humanize.size(sum(one.bytes for one in found))
    return Table(
        head=("ENVIRONMENT", "PYTHON", "COUNT", "PACKAGES", "SIZE", "LAST USED", "USER"),
        rows=rows,
        notes=(f"{humanize.count(len(found), 'environment')}, {total}, in {place.name}.",),
        right=frozenset({2, 4}),
        flexible=frozenset({3}),
    )


def _short_path(path: str) -> str:
    home = str(Path.home())
    return f"~{path.removeprefix(home)}" if path.startswith(f"{home}/") else path


def _is_shared(one: store.Environment) -> bool:
    return store.KEY.fullmatch(Path(one.path).parent.name) is not None


def _users(history: History) -> dict[str, str]:
    """Key of an environment -> the notebook that used it last, from the history."""
    users: dict[str, str] = {}
    for record in history.list():
        lock = record.lock()
        if isinstance(lock, Lock) and lock.packages:
            users.setdefault(lock.key, Path(record.notebook).name or record.id)
    return users


def _choose(name: str, found: list[store.Environment]) -> store.Environment:
    """The environment with this key, its first characters, or this path."""
    chosen = [one for one in found if name in (one.path, _short_path(one.path)) or one.key.startswith(name)]
    if len(chosen) != 1:
        raise SpecError(
            f"{len(chosen) or 'no'} environments match {name}", hint="Use a key or a path that env list shows."
        )
    return chosen[0]


def _details(one: store.Environment) -> Table:
    now = time.time()
    return Table(
        title=f"{one.key}: Python {one.python}, {humanize.size(one.bytes)}, {humanize.count(one.files, 'file')}",
        head=("PACKAGE", "VERSION"),
        rows=one.packages,
        notes=(
            f"Path: {one.path}",
            f"Installed {humanize.ago(now - one.built)}; "
            + ("in use now" if one.in_use else f"last used {humanize.ago(now - one.used)}")
            + (f" by {one.used_by}" if one.used_by else "")
            + ".",
        ),
    )


def _verify(place: _Place, names: tuple[str, ...]) -> Iterator[Answer]:
    found = place.environments() if names else []
    keys = tuple(_choose(name, [one for one in found if _is_shared(one)]).key for name in names)
    verified = place.verify(keys)
    differ = [one for one in verified if one.problems]
    count = humanize.count(len(verified), "environment")
    if not differ:
        yield f"{count} verified in {place.name}: every file is as it was installed."
        return
    rows = [(one.key[:SHOWN], path, what) for one in differ for path, what in one.problems]
    more = (f"{humanize.count(len(rows) - LISTED, 'more file')}.",) if len(rows) > LISTED else ()
    verb = "differs" if len(differ) == 1 else "differ"
    note = f"{len(differ)} of {count} in {place.name} {verb} from what was installed. The next run installs it again."
    yield Table(
        head=("ENVIRONMENT", "FILE", ""), rows=tuple(rows[:LISTED]), notes=(*more, note), flexible=frozenset({1})
    )
    yield Failure()


def _prune(place: _Place, request: Request, names: tuple[str, ...]) -> Table | str:
    line = request.line
    found = place.environments() if names else []
    limits = store.Limits(
        keys=tuple(_choose(name, [one for one in found if _is_shared(one)]).key for name in names),
        before=time.time() - _read(settings_parser.parse_time, "--older-than", "a time", line.text("older_than"), "30d")
        if line.has("older_than")
        else None,
        keep=_read(_count, "--keep", "an integer", line.text("keep"), "20") if line.has("keep") else None,
        max_bytes=_read(settings_parser.parse_size, "--max-size", "a size", line.text("max_size"), "20GB")
        if line.has("max_size")
        else None,
    )
    if limits == store.Limits():
        raise SpecError(
            "env prune needs a limit or the keys of environments",
            hint="Write env prune --older-than 30d, --keep 20, --max-size 20GB, or env prune KEY.",
        )
    dry_run = line.has("dry_run")
    removed = place.prune(limits, dry_run=dry_run)
    if not removed:
        return f"Nothing to remove in {place.name}."
    verb, size = "Would remove" if dry_run else "Removed", humanize.size(sum(one.bytes for one in removed))
    sentence = f"{verb} {humanize.count(len(removed), 'environment')}, {size}, from {place.name}."
    rows = tuple(
        (one.key[:SHOWN], " ".join(name for name, _ in one.packages), humanize.size(one.bytes)) for one in removed
    )
    return Table(
        head=("ENVIRONMENT", "PACKAGES", "SIZE"), rows=rows, notes=(sentence,), right=frozenset({2}),
        flexible=frozenset({1}),
    )  # fmt: skip


def _read(parse: Callable[[str], Number], flag: str, kind: str, text: str, example: str) -> Number:
    """The value of an option of `prune`.

    Raises:
        SpecError: `text` is not one.
    """
    try:
        return parse(text)
    except ValueError:
        raise SpecError(f"{flag} needs {kind}, not {text}", hint=f"Example: env prune {flag} {example}") from None


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise ValueError(text)
    return int(text)


def _warm(request: Request) -> str:
    """Install the environment of these requirements, and import the requested packages once."""
    place, context = _Place(request), request.context
    spec, _ = specify("", run_options(request.line), context)
    names = [item.name for item in spec.requirements.items]
    if not names:
        raise SpecError("env warm needs requirements", hint='Write env warm --deps "numpy pandas".')
    # The lock is the notebook's, so that its cells use this environment.
    front_end = SourceFrontEnd("env warm", context.notebook)
    run = stages.carry_out(replace(spec, cell=_WARM.replace("@NAMES@", repr(json.dumps(names)))), front_end)
    assert run is not None  # noqa: S101 - no dry run
    run.wait()
    run.raise_for_state()
    installed, key = run.state.installed, run.resolution.key if isinstance(run.resolution, Lock) else ""
    packages = humanize.count(len(installed.packages), "package") if installed else ""
    if installed and installed.cached:
        return f"{place.name.capitalize()} already has the environment {key[:SHOWN]} with {packages}."
    seconds = humanize.seconds(installed.seconds) if installed else ""
    return f"Installed {packages} in {seconds}: the environment {key[:SHOWN]} is in {place.name}."
