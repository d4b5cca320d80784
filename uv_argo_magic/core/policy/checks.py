"""The checks of the rules: each takes one statement and the subject, and yields violations.

Rule: checks only refuse. Everything that no statement refuses is allowed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, TypeAlias, cast

from uv_argo_magic.core import humanize
from uv_argo_magic.core.policy import advisories, kinds, patterns
from uv_argo_magic.core.policy.model import Statement, Subject, Violation
from uv_argo_magic.core.requirements import look_alikes
from uv_argo_magic.core.requirements.parser import parse_items
from uv_argo_magic.core.spec import indexes, quantity

if TYPE_CHECKING:
    from uv_argo_magic.core.policy.patterns import NamePattern
    from uv_argo_magic.core.resolution.lock import Package

Check: TypeAlias = Callable[[Statement, Subject], Iterable[Violation]]
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
PYTORCH_INDEX = "pytorch"
"""The name for PyTorch's index, which uv uses with `torch_backend`."""
DEFAULT_INDEX = "default"
"""The name for the index that uv uses if none is configured."""

LIMITS: dict[str, str] = {
    "install.max_time": "install_timeout",
    "install.max_memory": "install_memory",
    "install.max_disk": "install_disk",
    "run.max_time": "run_timeout",
    "sessions.max_sessions": "max_sessions",
    "sessions.max_keep": "keep",
    "sessions.max_age": "max_age",
}
"""Rule -> the setting that it limits."""

UNLIMITED_AT_0 = frozenset(LIMITS.values()) - {"keep"}
"""The settings for which 0 means no limit."""


def _violation(
    statement: Statement, sentence: str, action: str, *, package: str = "", subject: Subject | None = None
) -> Violation:
    path = subject.path(package) if subject and package else ()
    # Names, reasons and summaries are untrusted text.
    return Violation(
        rule=statement.rule,
        origin=statement.origin,
        sentence=_CONTROL.sub("", sentence),
        action=_CONTROL.sub("", action),
        package=package,
        path=path,
    )


def _label(package: Package) -> str:
    return f"{package.name} {package.version}".rstrip()


def _instead(subject: Subject, package: Package) -> str:
    """The hint for a package of which no version is allowed."""
    path = subject.path(package.name)
    return f"Remove or replace {path[0]}." if len(path) > 1 else f"Remove {package.name}, or use another package."


def allowed(statement: Statement, subject: Subject) -> Iterator[Violation]:
    allowed = cast("tuple[NamePattern, ...]", statement.value)
    for package in subject.packages:
        if any(pattern.matches(package.name, package.version) for pattern in allowed):
            continue
        others = [pattern.versions for pattern in allowed if patterns.glob(pattern.name, package.name)]
        if others:
            action = f"Use a version of {package.name} that is: {' or '.join(others)}."
        else:
            action = _instead(subject, package)
        yield _violation(
            statement, f"{_label(package)} is not an allowed package", action, package=package.name, subject=subject
        )


def blocked(statement: Statement, subject: Subject) -> Iterator[Violation]:
    for package in subject.visible:
        for pattern in cast("tuple[NamePattern, ...]", statement.value):
            if not patterns.glob(pattern.name, package.name):
                continue
            if pattern.versions and (subject.resolution is None and not package.version):
                continue  # no version has been chosen yet
            if pattern.has(package.version):
                reason = f": {pattern.reason}" if pattern.reason else ""
                action = (
                    f"Use a version that is not {pattern.versions}." if pattern.versions else _instead(subject, package)
                )
                yield _violation(
                    statement, f"{_label(package)} is blocked{reason}", action, package=package.name, subject=subject
                )


def trusted(statement: Statement, subject: Subject) -> Iterator[Violation]:
    trusted = cast("tuple[str, ...]", statement.value)
    for address in subject.indexes:
        is_named = address in (DEFAULT_INDEX, PYTORCH_INDEX)
        if not any(pattern == address if is_named else patterns.url_matches(pattern, address) for pattern in trusted):
            yield _violation(
                statement,
                f"{index_name(address)} is not a trusted index",
                f"Use {_index_use(trusted)}." if trusted else "Remove the requirements.",
            )
    for host in subject.insecure_hosts:
        yield _violation(
            statement,
            f"The certificate of {host} would not be checked",
            "Remove UV_INSECURE_HOST from the environment.",
        )


def index_name(address: str) -> str:
    """The URL of an index, as messages show it."""
    return {DEFAULT_INDEX: "uv's default index", PYTORCH_INDEX: "uv's index of PyTorch"}.get(address, address)


def _index_use(trusted: tuple[str, ...]) -> str:
    address = next((address for address in trusted if address not in (DEFAULT_INDEX, PYTORCH_INDEX)), "")
    return f"--set index_url={address}" if address else "uv's default index: remove index_url and indexes"


def urls(*schemes: str) -> Check:
    """The check of direct URLs with these schemes; "" stands for all others."""

    def check_urls(statement: Statement, subject: Subject) -> Iterator[Violation]:
        allowed = cast("tuple[str, ...]", statement.value)
        for name, url in _direct_urls(subject):
            scheme = url.partition(":")[0].lower()
            is_ours = scheme.startswith("git+") if "git" in schemes else not scheme.startswith("git+")
            if is_ours and not any(patterns.url_matches(pattern, url) for pattern in allowed):
                yield _violation(
                    statement,
                    f"{name} is requested by a URL that is not allowed: {_without_credentials(url)}",
                    f"Use a version from the index: {name}==VERSION.",
                    package=name,
                )

    return check_urls


def _direct_urls(subject: Subject) -> Iterator[tuple[str, str]]:
    """(name, URL) of every package that is installed from a direct URL."""
    settings = subject.spec.settings
    seen = set()
    for items in (
        subject.spec.requirements,
        parse_items(settings.constraints, source="constraints"),
        parse_items(settings.overrides, source="overrides"),
    ):
        for item in items.items:
            if item.url and item.name not in seen:
                seen.add(item.name)
                yield item.name, item.url
    for package in subject.packages:
        if package.url and package.name not in seen:
            seen.add(package.name)
            yield package.name, package.url


def _without_credentials(url: str) -> str:
    return indexes.without_credentials(url)


def only_binary(statement: Statement, subject: Subject) -> Iterator[Violation]:
    if not subject.spec.settings.only_binary:
        yield _violation(
            statement,
            "Building from source is not allowed, because it runs code of the package",
            "Remove only_binary=false.",
        )
    for package in subject.packages:
        if package.file and not package.file.endswith(".whl"):
            yield _violation(
                statement,
                f"{_label(package)} has no wheel here, and building from source is not allowed",
                "Use a version with a wheel.",
                package=package.name,
                subject=subject,
            )


def no_python_downloads(statement: Statement, subject: Subject) -> Iterator[Violation]:
    if subject.spec.settings.python_downloads == "automatic":
        yield _violation(
            statement, "Installing a Python is not allowed", "Remove python_downloads, or choose another --python."
        )


def no_persistent_environment(statement: Statement, subject: Subject) -> Iterator[Violation]:
    if subject.spec.settings.environment == "persistent":
        yield _violation(
            statement, "A persistent environment is not allowed", "Remove the settings env and venv, or use a store."
        )


def hashes(statement: Statement, subject: Subject) -> Iterator[Violation]:
    if subject.resolution is None:
        return
    for package in subject.packages:
        if not package.sha256:
            yield _violation(
                statement,
                f"{_label(package)} has no hash in the lock",
                "Lock the packages again with --upgrade.",
                package=package.name,
                subject=subject,
            )


def vulnerabilities(statement: Statement, subject: Subject) -> Iterator[Violation]:
    source = cast("advisories.Source", statement.value)
    versions = {package.name: _label(package) for package in subject.visible}
    for found in subject.advisories:
        if found.source != source.address:
            continue
        if found.problem:
            yield _violation(
                statement,
                f"Known vulnerabilities could not be looked up: {found.problem}",
                "Run the cell again later, or ask your administrator.",
            )
        for advisory in found.advisories:
            if {advisory.id, *advisory.aliases} & source.ignored or advisory.package not in versions:
                continue
            summary = f": {advisory.summary}" if advisory.summary else ""
            kind = "is known malware" if advisory.is_malware else "has a known vulnerability"
            yield _violation(
                statement,
                f"{versions[advisory.package]} {kind}, {advisory.id}{summary.rstrip('.')}",
                f"Use {advisory.package}>={advisory.fixed[0]}." if advisory.fixed else f"Remove {advisory.package}.",
                package=advisory.package,
                subject=subject,
            )


def no_look_alikes(statement: Statement, subject: Subject) -> Iterator[Violation]:
    accepted = cast("tuple[NamePattern, ...]", statement.value)
    for package in subject.packages:
        popular = look_alikes.popular_name(package.name)
        if popular and not any(pattern.matches(package.name, package.version) for pattern in accepted):
            yield _violation(
                statement,
                f"{_label(package)} looks like {popular}: the names differ by one character",
                f"Use {popular}, or ask your administrator to accept {package.name}.",
                package=package.name,
                subject=subject,
            )


def min_age(statement: Statement, subject: Subject) -> Iterator[Violation]:
    if subject.resolution is None:
        return
    minimum = cast("float", statement.value)
    span = humanize.exact_seconds(minimum)
    for package in subject.packages:
        if not package.uploaded:
            sentence = f"It is not known when {_label(package)} was uploaded"
            action = "Use an index that provides upload times."
        elif subject.now - datetime.fromisoformat(package.uploaded).timestamp() < minimum:
            sentence = f"{_label(package)} was uploaded less than {span} ago ({package.uploaded[:10]})"
            action = f'Add --set exclude_newer="{span}".'
        else:
            continue
        yield _violation(statement, sentence, action, package=package.name, subject=subject)


def max_packages(statement: Statement, subject: Subject) -> Iterator[Violation]:
    number, most = len({package.name for package in subject.packages}), int(kinds.number(statement))
    if number > most:
        yield _violation(
            statement,
            f"{humanize.count(number, 'package')} would be installed, but the limit is {most:,}",
            "Require fewer packages, or split the work between cells.",
        )


def max_download(statement: Statement, subject: Subject) -> Iterator[Violation]:
    total, most = sum(package.size for package in subject.packages), kinds.number(statement)
    if total > most:
        largest = max(subject.packages, key=lambda package: package.size)
        yield _violation(
            statement,
            f"The download is {humanize.size(total)}, but the limit is {kinds.show_size(most)}",
            f"Require fewer or smaller packages; the largest is {_label(largest)} with {humanize.size(largest.size)}.",
        )


def per_hour(statement: Statement, subject: Subject) -> Iterator[Violation]:
    if subject.recent_installs is not None and subject.recent_installs >= kinds.number(statement):
        yield _violation(
            statement,
            f"{humanize.count(subject.recent_installs, 'run')} with packages started on this machine in the last hour, "
            f"but the limit is {int(kinds.number(statement)):,}",
            "Wait a while, or keep the packages in a session: --session.",
        )


def confirm(statement: Statement, subject: Subject) -> Iterator[Violation]:
    if subject.question:
        violation = _violation(statement, subject.question, "Check them, then add --set yes=true once.")
        yield replace(violation, is_question=True)


_SHOW_UNITS: dict[str, kinds.Show] = {
    "seconds": humanize.exact_seconds,
    "bytes": kinds.show_size,
    "sessions": "{:g}".format,
}


def setting_limit(name: str, unit: str = "seconds") -> Check:
    """The check that a setting is neither above the limit nor unlimited."""

    def check_setting(statement: Statement, subject: Subject) -> Iterator[Violation]:
        value, most = float(getattr(subject.spec.settings, name)), kinds.number(statement)
        if value > most or (not value and name in UNLIMITED_AT_0):
            show = _SHOW_UNITS[unit]
            yield _violation(
                statement,
                f"{name} is {show(value) if value else 'not limited'}, but the limit is {show(most)}",
                f"Add --set {name}={most:.0f}{'s' if unit == 'seconds' else ''}.",
            )

    return check_setting


def resource_limit(kind: str) -> Check:
    """The check of a resource request; a run without a request gets the cluster's default."""

    def check_resource(statement: Statement, subject: Subject) -> Iterator[Violation]:
        requested = getattr(subject.spec.resources, kind)
        most = kinds.number(statement)
        if requested and quantity.limit(requested) > most:
            limit = kinds.show_quantity(kind)(most)
            yield _violation(
                statement, f"{kind}={requested} is requested, but the limit is {limit}", f"Request less {kind}."
            )

    return check_resource


def listed(kind: str, settings: tuple[str, ...], find: Callable[[Subject], Iterable[str]]) -> Check:
    """The check that the list has every name that the run uses."""

    def check_list(statement: Statement, subject: Subject) -> Iterator[Violation]:
        allowed = cast("tuple[str, ...]", statement.value)
        for name in dict.fromkeys(find(subject)):
            if name and not any(patterns.glob(pattern, name) for pattern in allowed):
                action = f"Use one of: {', '.join(allowed)}." if allowed else f"Remove {' or '.join(settings)}."
                yield _violation(statement, f"The {kind} {name} is not allowed", action)
        # A patch can change anything in the workflow, including what this rule limits.
        if subject.spec.settings.patch and "patch" in subject.uses:
            yield _violation(statement, f"The setting patch could change the {kind}", "Remove the setting patch.")

    return check_list


def volumes(subject: Subject) -> Iterator[str]:
    settings = subject.spec.settings
    if "volumes" in subject.uses:
        yield from (volume.removesuffix(":ro") for _, volume in settings.volumes)
    if "store" in subject.uses:
        yield settings.store
        yield settings.cache


def secrets(subject: Subject) -> Iterator[str]:
    settings = subject.spec.settings
    if "secret_env" in subject.uses:
        yield from (secret.partition("/")[0] for _, secret in settings.secret_env)
        yield from (secret for _, secret in settings.secret_files)
        yield from (secret for _, secret in settings.index_secrets)
        yield from settings.image_pull_secrets


def service_accounts(subject: Subject) -> Iterator[str]:
    settings = subject.spec.settings
    if "service_account" in subject.uses:
        yield settings.service_account
        # Without a name, the token is that of the namespace's default account.
        if settings.service_account_token:
            yield settings.service_account or "default"


def templates(subject: Subject) -> Iterator[str]:
    if "template" in subject.uses:
        yield subject.spec.settings.template or "(none)"


def semaphores(subject: Subject) -> Iterator[str]:
    if "semaphore" in subject.uses:
        yield subject.spec.settings.semaphore or "(none)"


def no_sessions(statement: Statement, subject: Subject) -> Iterator[Violation]:
    if subject.spec.session:
        yield _violation(statement, "Sessions are not allowed", "Run the cell without --session.")


def session_limit(name: str, unit: str = "seconds") -> Check:
    limit = setting_limit(name, unit)

    def check_session(statement: Statement, subject: Subject) -> Iterator[Violation]:
        if subject.spec.session:
            yield from limit(statement, subject)

    return check_session


def no_check(statement: Statement, subject: Subject) -> Iterator[Violation]:
    """No check: the rule is not about the packages of a run."""
    del statement, subject
    yield from ()
