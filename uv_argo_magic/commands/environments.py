"""The `env` command: list, show, verify, remove and pre-install environments.

Rule: the store of a cluster is read by a run that mounts it, with the same code as the store of this machine
(uv/store.py).
"""

from __future__ import annotations

import inspect
import json
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from uv_argo_magic._os import paths
from uv_argo_magic.backends import base, lookup
from uv_argo_magic.commands.registry import Failure
from uv_argo_magic.core import humanize
from uv_argo_magic.core.commands.run_options import run_options
from uv_argo_magic.core.resolution.lock import Lock
from uv_argo_magic.core.spec import settings_parser
from uv_argo_magic.core.suggest import unknown
from uv_argo_magic.core.view.tables import Table
from uv_argo_magic.engine import stages
from uv_argo_magic.engine.execute import execute
from uv_argo_magic.engine.front_end import QuietFrontEnd, SourceFrontEnd
from uv_argo_magic.engine.preparation.spec_builder import specify
from uv_argo_magic.errors import BackendError, SpecError
from uv_argo_magic.guest.install import environment
from uv_argo_magic.uv import store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from uv_argo_magic.commands.registry import Request, Result
    from uv_argo_magic.history.store import History

Number = TypeVar("Number", int, float)
ACTIONS = ("list", "show", "prune", "verify", "warm")
SHOWN = 12
"""Number of characters shown of a key."""
LISTED = 20
"""Maximum number of files that `verify` lists."""
_WARM = """\
# Import the requested packages, so that the environment contains their byte code.
import contextlib, importlib, importlib.metadata, json
for name in json.loads(@NAMES@):
    distribution = importlib.metadata.distribution(name)
    listed = (distribution.read_text("top_level.txt") or "").split()
    found = {file.parts[0] for file in distribution.files or () if len(file.parts) > 1 and file.suffix == ".py"}
    for module in listed or sorted(found):
        with contextlib.suppress(Exception):
            importlib.import_module(module)
"""


def handle(request: Request) -> Iterator[Result]:
    """The `env` command.

    Raises:
        SpecError: an action, a key or a limit is invalid, or the cluster has no store.
        BackendError: the backend cannot be reached, or the response of its store cannot be read.
        RunError: the run that reads the store or installs packages failed.
    """
    words = request.line.arguments
    action, names = (words[0], words[1:]) if words else ("list", ())
    if action not in ACTIONS:
        raise unknown("action", action, ACTIONS)
    for dest in ("older_than", "keep", "max_size", "dry_run"):
        if action != "prune" and request.line.has(dest):
            flag = f"--{dest.replace('_', '-')}"
            raise SpecError(f"{flag} belongs to env prune, not env {action}", hint=f"Leave out {flag}.")
    if action in ("list", "warm") and names:
        raise SpecError(f"env {action} takes no argument, but got {names[0]}", hint=f"Write env {action}.")
    if action == "warm":
        yield _warm(request)
        return
    client = _StoreClient(request)
    if action == "prune":
        yield _prune(client, request, names)
        return
    if action == "verify":
        yield from _verify(client, names)
        return
    environments = client.environments()
    if action == "show":
        if len(names) != 1:
            raise SpecError("env show needs one environment", hint="Write env show KEY; env list shows the keys.")
        yield _details(_choose(names[0], environments))
    elif not environments:
        yield f"No environments in {client.name}."
    else:
        yield _list(client, environments, request.history)


class _StoreClient:
    """The store of this machine or of a cluster."""

    def __init__(self, request: Request) -> None:
        configuration = request.configuration()
        self.request = request
        self.is_local = base.Capability.LOCAL in lookup.load(configuration.backend).capabilities
        self.root = str(paths.cache_dir() / "store")
        if not self.is_local and not configuration.settings.store:
            raise SpecError(
                f"the {configuration.backend} backend has no store",
                hint="Give the volume of the store: --set store=claim/NAME.",
            )
        self.name = "the store of this machine" if self.is_local else f"the store {configuration.settings.store}"

    def environments(self) -> list[store.Environment]:
        """The environments, the most recently used first; on this machine also the persistent ones in the cache."""
        if self.is_local:
            return store.environments(self.root) + store.persistent(str(paths.cache_dir() / "venvs"))
        return self._query({"action": "list"})

    def prune(self, limits: store.Limits, *, dry_run: bool) -> list[store.Environment]:
        """Remove environments, and return the removed ones."""
        if self.is_local:
            return store.prune(self.root, limits, dry_run=dry_run)
        return self._query({"action": "prune", "dry_run": dry_run, **asdict(limits)})

    def verify(self, keys: tuple[str, ...]) -> list[store.Environment]:
        """Verify the environments with these keys (default: all), and return them with their problems."""
        if self.is_local:
            return store.verify(self.root, keys, environment.verify)
        return self._query({"action": "verify", "keys": keys})

    def _query(self, request: dict[str, object]) -> list[store.Environment]:
        """Run a cell that mounts the store, and read its response."""
        # The guest, which runs the cell, is in the store, so its path shows where the store is mounted.
        cell = (
            f"{inspect.getsource(store)}\n\nimport uv_argo_guest.install.environment as guest\n"
            f"print(respond({json.dumps(request)!r}, str(Path(guest.__file__).parents[4]), guest.verify))\n"
        )
        options = replace(run_options(self.request.line), deps="", requirements=(), dry_run=False)
        run = execute(cell, options, self.request.context, QuietFrontEnd())
        assert run is not None  # noqa: S101 - not a dry run
        run.wait()
        run.raise_for_state()
        try:
            return store.parse_response(run.logs())
        except ValueError as error:
            raise BackendError("cannot read the response of the store", hint=str(error)) from error


def _list(client: _StoreClient, environments: list[store.Environment], history: History) -> Table:
    users = _users(history) if client.is_local else {}
    now = time.time()
    rows = tuple(
        (
            env.key[:SHOWN] if _is_shared(env) else _short_path(env.path),
            env.python,
            str(len(env.packages)),
            " ".join(name for name, _ in env.packages),
            humanize.size(env.bytes),
            "now" if env.in_use else humanize.ago(now - env.used),
            users.get(env.key, "" if client.is_local else env.used_by),
        )
        for env in environments
    )
    total = humanize.size(sum(env.bytes for env in environments))
    damaged = ", ".join(env.key[:SHOWN] for env in environments if env.is_changed)
    return Table(
        head=("ENVIRONMENT", "PYTHON", "COUNT", "PACKAGES", "SIZE", "LAST USED", "USER"),
        rows=rows,
        notes=(
            f"{humanize.count(len(environments), 'environment')}, {total}, in {client.name}.",
            *((f"Damaged, and removed by the next env prune: {damaged}.",) if damaged else ()),
        ),
        right=frozenset({2, 4}),
        flexible=frozenset({3}),
    )


def _short_path(path: str) -> str:
    home = str(Path.home())
    return f"~{path.removeprefix(home)}" if path.startswith(f"{home}/") else path


def _is_shared(env: store.Environment) -> bool:
    return store.KEY.fullmatch(Path(env.path).parent.name) is not None


def _users(history: History) -> dict[str, str]:
    """Key of an environment -> the notebook that last used it, from the history."""
    users: dict[str, str] = {}
    for record in history.list():
        lock = record.lock()
        if isinstance(lock, Lock) and lock.packages:
            users.setdefault(lock.key, Path(record.notebook).name or record.id)
    return users


def _choose(name: str, environments: list[store.Environment]) -> store.Environment:
    """The environment with this path, or whose key begins with this text."""
    matches = [env for env in environments if name in (env.path, _short_path(env.path)) or env.key.startswith(name)]
    if len(matches) != 1:
        raise SpecError(
            f"{len(matches) or 'no'} environments match {name}", hint="Use a key or a path that env list shows."
        )
    return matches[0]


def _details(env: store.Environment) -> Table:
    now = time.time()
    return Table(
        title=f"{env.key}: Python {env.python}, {humanize.size(env.bytes)}, {humanize.count(env.files, 'file')}",
        head=("PACKAGE", "VERSION"),
        rows=env.packages,
        notes=(
            f"Path: {env.path}",
            f"Installed {humanize.ago(now - env.built)}; "
            + ("in use now" if env.in_use else f"last used {humanize.ago(now - env.used)}")
            + (f" by {env.used_by}" if env.used_by else "")
            + ".",
            *(("Damaged, and removed by the next env prune.",) if env.is_changed else ()),
        ),
    )


def _keys(client: _StoreClient, names: tuple[str, ...]) -> tuple[str, ...]:
    """The keys of the shared environments with these names."""
    environments = [env for env in client.environments() if _is_shared(env)] if names else []
    return tuple(_choose(name, environments).key for name in names)


def _verify(client: _StoreClient, names: tuple[str, ...]) -> Iterator[Result]:
    verified = client.verify(_keys(client, names))
    changed = [env for env in verified if env.problems]
    count = humanize.count(len(verified), "environment")
    if not changed:
        yield f"{count} verified in {client.name}: all files are unchanged."
        return
    rows = [(env.key[:SHOWN], path, problem) for env in changed for path, problem in env.problems]
    more = (f"{humanize.count(len(rows) - LISTED, 'more file')}.",) if len(rows) > LISTED else ()
    verb, pronoun = ("has", "it") if len(changed) == 1 else ("have", "them")
    note = (
        f"{len(changed)} of {count} in {client.name} {verb} changed files. The next run that needs {pronoun} "
        "installs the packages again."
    )
    yield Table(
        head=("ENVIRONMENT", "FILE", "PROBLEM"), rows=tuple(rows[:LISTED]), notes=(*more, note), flexible=frozenset({1})
    )
    yield Failure()


def _prune(client: _StoreClient, request: Request, names: tuple[str, ...]) -> Table | str:
    line = request.line
    limits = store.Limits(
        keys=_keys(client, names),
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
    removed = client.prune(limits, dry_run=dry_run)
    if not removed:
        return f"Nothing to remove from {client.name}."
    verb, size = "Would remove" if dry_run else "Removed", humanize.size(sum(env.bytes for env in removed))
    sentence = f"{verb} {humanize.count(len(removed), 'environment')} ({size}) from {client.name}."
    rows = tuple(
        (env.key[:SHOWN], " ".join(name for name, _ in env.packages), humanize.size(env.bytes)) for env in removed
    )
    return Table(
        head=("ENVIRONMENT", "PACKAGES", "SIZE"), rows=rows, notes=(sentence,), right=frozenset({2}),
        flexible=frozenset({1}),
    )  # fmt: skip


def _read(parse: Callable[[str], Number], flag: str, kind: str, text: str, example: str) -> Number:
    """The value of an option of `prune`.

    Raises:
        SpecError: the text is not a valid value.
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
    client, context = _StoreClient(request), request.context
    spec, _ = specify("", run_options(request.line), context)
    names = [item.name for item in spec.requirements.items]
    if not names:
        raise SpecError("env warm needs requirements", hint='Write env warm --deps "numpy pandas".')
    # Uses the notebook's lock, so that its cells use this environment.
    front_end = SourceFrontEnd("env warm", context.notebook)
    run = stages.carry_out(replace(spec, cell=_WARM.replace("@NAMES@", repr(json.dumps(names)))), front_end)
    assert run is not None  # noqa: S101 - no dry run
    run.wait()
    run.raise_for_state()
    installed, key = run.state.installed, run.resolution.key if isinstance(run.resolution, Lock) else ""
    packages = humanize.count(len(installed.packages), "package") if installed else ""
    if installed and installed.cached:
        return f"{client.name.capitalize()} already has the environment {key[:SHOWN]} with {packages}."
    seconds = humanize.seconds(installed.seconds) if installed else ""
    return f"Installed {packages} in {seconds}: environment {key[:SHOWN]} in {client.name}."
