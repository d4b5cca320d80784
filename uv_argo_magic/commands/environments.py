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
from uv_argo_magic.engine.front_end import QuietFrontEnd, SourceFrontEnd
from uv_argo_magic.engine.preparation.spec_builder import specify
from uv_argo_magic.errors import BackendError, NodeFailed, SpecError
from uv_argo_magic.guest.install import environment
from uv_argo_magic.uv import store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from uv_argo_magic.commands.registry import Request, Result
    from uv_argo_magic.engine.run import Run

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
    for dest in ("older_than", "keep", "max_size", "cache", "dry_run"):
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
        yield from _prune(client, request, names)
        return
    if action == "verify":
        yield from _verify(client, names)
        return
    contents = client.contents()
    if action == "show":
        if len(names) != 1:
            raise SpecError("env show needs one environment", hint="Write env show KEY; env list shows the keys.")
        yield _details(_choose(names[0], contents.environments))
    elif not contents.environments:
        yield f"No environments in {client.name}{_shared_sizes(contents)}."
    else:
        yield _list(client, contents)


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
        self.cache = configuration.settings.cache
        self.name = "the store of this machine" if self.is_local else f"the store {configuration.settings.store}"

    def contents(self) -> store.Contents:
        """The contents of the store; on this machine also the persistent environments in the cache folder."""
        if not self.is_local:
            return self._query({"action": "list"})
        contents, persistent = store.contents(self.root), store.persistent(str(paths.cache_dir() / "venvs"))
        return replace(contents, environments=(*contents.environments, *persistent))

    def chosen(self, names: tuple[str, ...]) -> list[store.Environment]:
        """The environments with these names."""
        environments = self.contents().environments if names else ()
        return [_choose(name, environments) for name in dict.fromkeys(names)]

    def prune(self, limits: store.Limits, *, cache: bool, dry_run: bool) -> store.Contents:
        """Remove environments and uv's `cache`; return what is to remove, with the reasons for what was kept."""
        if self.is_local:
            return store.Contents(environments=tuple(store.prune(self.root, limits, dry_run=dry_run)))
        return self._query({"action": "prune", "cache": cache, "dry_run": dry_run, **asdict(limits)})

    def verify(self, keys: tuple[str, ...]) -> list[store.Environment]:
        """Verify the environments with these keys (default: all), and return them with their problems."""
        if self.is_local:
            return store.verify(self.root, keys, environment.verify)
        return list(self._query({"action": "verify", "keys": keys}).environments)

    def _query(self, request: dict[str, object]) -> store.Contents:
        """Run a cell that mounts the store, and read its response."""
        # The guest, which runs the cell, is in the store, so its path shows where the store is mounted.
        cell = (
            f"{inspect.getsource(store)}\n\nimport uv_argo_guest.install.environment as guest\n"
            f"print(respond({json.dumps(request)!r}, str(Path(guest.__file__).parents[4]), guest.verify))\n"
        )
        options = replace(run_options(self.request.line), deps="", requirements=(), dry_run=False)
        spec, _ = specify(cell, options, self.request.context)
        settings = replace(spec.settings.for_own_cell, base="")
        run = stages.carry_out(replace(spec, push=(), settings=settings), QuietFrontEnd())
        assert run is not None  # noqa: S101 - not a dry run
        _wait(run)
        try:
            return store.parse_response(run.logs())
        except ValueError as error:
            raise BackendError("cannot read the response of the store", hint=str(error)) from error


def _wait(run: Run) -> None:
    """Wait for the end of a run.

    Raises:
        RunError: it failed; the log is not shown, so the error contains its last line.
    """
    run.wait()
    try:
        run.raise_for_state()
    except NodeFailed as error:
        if not (lines := run.logs().strip().splitlines()):
            raise
        message = f"{error.message} The log of {run.name} ends with: {humanize.one_line(lines[-1])}"
        raise NodeFailed(message, hint=error.hint, state=error.state, reason=error.reason) from None


def _list(client: _StoreClient, contents: store.Contents) -> Table:
    environments = contents.environments
    now = time.time()
    rows = tuple(
        (
            _name(env),
            env.python,
            str(len(env.packages)),
            " ".join(name for name, _ in env.packages),
            humanize.size(env.bytes),
            ("now" if env.in_use else humanize.ago(now - env.used)) + (" (changed)" if env.is_changed else ""),
            env.used_by,
        )
        for env in environments
    )
    total = humanize.size(sum(env.bytes for env in environments))
    damaged = ", ".join(_name(env) for env in environments if env.is_changed)
    return Table(
        head=("ENVIRONMENT", "PYTHON", "COUNT", "PACKAGES", "SIZE", "LAST USED", "USER"),
        rows=rows,
        notes=(
            f"{humanize.count(len(environments), 'environment')}, {total}, in {client.name}{_shared_sizes(contents)}.",
            *((f"Damaged, and removed by the next env prune: {damaged}.",) if damaged else ()),
        ),
        right=frozenset({2, 4}),
        flexible=frozenset({3}),
    )


def _shared_sizes(contents: store.Contents) -> str:
    """The sizes of what the environments share, for the end of a sentence."""
    sizes = {"shared byte code": contents.byte_code, "uv's cache": contents.cache}
    return "".join(f"; {what}: {humanize.size(size)}" for what, size in sizes.items() if size)


def _name(env: store.Environment) -> str:
    """The name in tables: the path of a persistent environment, or the first characters of a key, with its number."""
    if not _is_shared(env):
        return _short_path(env.path)
    key, dash, number = env.key.partition("-")
    return f"{key[:SHOWN]}{dash}{number}"


def _short_path(path: str) -> str:
    home = str(Path.home())
    return f"~{path.removeprefix(home)}" if path.startswith(f"{home}/") else path


def _is_shared(env: store.Environment) -> bool:
    return store.KEY.fullmatch(Path(env.path).parent.name) is not None


def _choose(name: str, environments: tuple[store.Environment, ...]) -> store.Environment:
    """The environment with this name or path, or the shared one whose key begins with this text."""
    path = str(Path(name))  # without a slash at its end
    shared = [env for env in environments if _is_shared(env)]
    matches = (
        [env for env in environments if path in (env.path, _name(env))]
        or [env for env in shared if env.key == name]
        or [env for env in shared if env.key.startswith(name)]
    )
    if not matches:
        raise SpecError(f"no environments match {name}", hint="Use a key or a path that env list shows.")
    if len(matches) > 1:
        keys = ", ".join(env.key for env in matches)
        raise SpecError(f"{len(matches)} environments match {name}", hint=f"Use a longer prefix; matches: {keys}.")
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


def _verify(client: _StoreClient, names: tuple[str, ...]) -> Iterator[Result]:
    chosen = client.chosen(names)
    for env in chosen:
        if not _is_shared(env):
            raise SpecError(
                f"{_name(env)} is a persistent environment, which is not verified",
                hint="Cells can change such an environment; name environments of the store only.",
            )
    verified = client.verify(tuple(env.key for env in chosen))
    changed = [env for env in verified if env.problems]
    count = humanize.count(len(verified), "environment")
    if not changed:
        yield f"{count} verified in {client.name}: all files are unchanged."
        return
    rows = [(_name(env), path, problem) for env in changed for path, problem in env.problems]
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


def _prune(client: _StoreClient, request: Request, names: tuple[str, ...]) -> Iterator[Result]:
    line = request.line
    limit = next((flag for flag in ("older-than", "keep", "max-size") if line.has(flag.replace("-", "_"))), "")
    if names and limit:
        raise SpecError(f"env prune takes keys or --{limit}, not both", hint=f"Leave out --{limit}, or the keys.")
    has_cache = line.has("cache")
    if has_cache and client.is_local:
        raise SpecError("uv's cache is not in the store of this machine", hint="To shrink it, run uv cache prune.")
    if has_cache and client.cache:
        hint = "To shrink it, run uv cache clean in a cell that mounts this volume."
        raise SpecError(f"uv's cache is not in the store, but in {client.cache}", hint=hint)
    chosen = client.chosen(names)
    persistent = [env for env in chosen if not _is_shared(env)]
    limits = store.Limits(
        keys=tuple(env.key for env in chosen if _is_shared(env)),
        before=time.time() - _read(settings_parser.parse_time, "--older-than", "a time", line.text("older_than"), "30d")
        if line.has("older_than")
        else None,
        keep=_read(_count, "--keep", "an integer", line.text("keep"), "20") if line.has("keep") else None,
        max_bytes=_read(settings_parser.parse_size, "--max-size", "a size", line.text("max_size"), "20GB")
        if line.has("max_size")
        else None,
    )
    is_limited = has_cache or limits != store.Limits()
    if not (is_limited or names):
        raise SpecError(
            "env prune needs a limit or the keys of environments",
            hint="Write env prune --older-than 30d, --keep 20, --max-size 20GB, --cache, or env prune KEY.",
        )
    dry_run = line.has("dry_run")
    due = [store.remove_persistent(env, dry_run=dry_run) for env in persistent]
    contents = store.Contents(environments=())
    if is_limited:
        contents = client.prune(limits, cache=has_cache, dry_run=dry_run)
        due += contents.environments
    removed, kept = [env for env in due if not env.kept], [env for env in due if env.kept]
    notes = [f"{_name(env)} was not removed: {env.kept}." for env in kept]
    if contents.problem:
        notes.append(f"uv's cache was not removed: {contents.problem.rstrip('.')}.")
    verb = "Would remove" if dry_run else "Removed"
    if contents.cache:
        notes.insert(0, f"{verb} uv's cache ({humanize.size(contents.cache)}) from {client.name}.")
    if removed:
        size, count = humanize.size(sum(env.bytes for env in removed)), humanize.count(len(removed), "environment")
        place = f" from {client.name}" if is_limited else ""
        notes.insert(0, f"{verb} {count} ({size or '0 B'}){place}.")
    if not notes:
        notes = [f"Nothing to remove from {client.name}."]
    rows = tuple((_name(env), " ".join(name for name, _ in env.packages), humanize.size(env.bytes)) for env in removed)
    yield Table(
        head=("ENVIRONMENT", "PACKAGES", "SIZE") if rows else (), rows=rows, notes=tuple(notes), right=frozenset({2}),
        flexible=frozenset({1}),
    )  # fmt: skip
    if contents.problem or any(names or env.kept != store.IN_USE for env in kept):
        yield Failure()


def _read(parse: Callable[[str], Number], flag: str, kind: str, text: str, example: str) -> Number:
    """The value of an option of `prune`; unlike in a setting, `none` would mean that nothing is kept.

    Raises:
        SpecError: the text is not a valid value.
    """
    try:
        return parse("" if text.strip().lower() == settings_parser.NONE else text)
    except ValueError:
        raise SpecError(f"{flag} needs {kind}, not {text}", hint=f"Example: env prune {flag} {example}") from None


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise ValueError(text)
    return int(text)


def _warm(request: Request) -> str:
    """Install the environment of these requirements, and import the requested packages once."""
    client, context, options = _StoreClient(request), request.context, run_options(request.line)
    given = dict(options.sets)
    if given.get("venv") or given.get("env") in ("ephemeral", "persistent"):
        setting = "venv" if given.get("venv") else f"env={given['env']}"
        raise SpecError(
            f"env warm cannot use {setting}, because it installs into the store", hint=f"Leave {setting} out."
        )
    spec, _ = specify("", options, context)
    names = [item.name for item in spec.requirements.items]
    if not names:
        raise SpecError("env warm needs requirements", hint='Write env warm --deps "numpy pandas".')
    # Uses the notebook's lock, so that its cells use this environment.
    front_end = SourceFrontEnd("env warm", context.notebook)
    cell, settings = _WARM.replace("@NAMES@", repr(json.dumps(names))), replace(spec.settings, env="shared", venv="")
    run = stages.carry_out(replace(spec, cell=cell, settings=settings), front_end)
    assert run is not None  # noqa: S101 - no dry run
    _wait(run)
    # If the versions were resolved in the pod, its log contains the key.
    key = run.resolution.key if isinstance(run.resolution, Lock) else str(json.loads(run.state.locked)["key"])
    installed = run.state.installed
    packages = humanize.count(len(installed.packages), "package") if installed else ""
    if installed and installed.cached:
        return f"{client.name.capitalize()} already has the environment {key[:SHOWN]} with {packages}."
    seconds = humanize.seconds(installed.seconds) if installed else ""
    return f"Installed {packages} in {seconds}: environment {key[:SHOWN]} in {client.name}."
