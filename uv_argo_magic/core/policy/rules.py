"""Every rule of a policy: one table with its name, its parser, how statements of it combine, its check and its help.

Rules:
- A check gets one statement and the subject, and yields what is not allowed. It never allows anything: what no
  statement refuses is allowed. A new statement can therefore only forbid more.
- `early` rules must hold before uv runs: uv would contact an index, download from an address, or build.
- A rule that is absent from a file forbids nothing, but for those with a `default`: a file without them forbids them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from uv_argo_magic.core import humanize
from uv_argo_magic.core.policy import advisories, patterns
from uv_argo_magic.core.policy.model import Policy, Statement, Subject, Violation
from uv_argo_magic.core.requirements import look_alikes
from uv_argo_magic.core.resolution.lock import Package, Unresolved
from uv_argo_magic.core.spec import quantity, settings_parser

if TYPE_CHECKING:
    from uv_argo_magic.core.policy.patterns import NamePattern

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
PYTORCH_INDEX = "pytorch"
"""Stands for the index of PyTorch that uv uses with `torch_backend`."""
DEFAULT_INDEX = "default"
"""Stands for the index that uv uses where none is configured."""

Parser: TypeAlias = Callable[[object], Hashable]
"""A value of TOML as a value of the rule. Raises ValueError or TypeError where it is not one."""
Merge: TypeAlias = Callable[[tuple[Statement, ...]], tuple[Statement, ...]]
"""The statements that remain where several sources have the rule: the rest says less than these."""
Show: TypeAlias = Callable[[Any], str]
"""A value of the rule for people."""
Check: TypeAlias = Callable[[Statement, Subject], Iterable[Violation]]


@dataclass(frozen=True, kw_only=True)
class Kind:
    """What the values of a rule are: how they are read, combined and shown to people."""

    parse: Parser
    merge: Merge
    show: Show


@dataclass(frozen=True, kw_only=True)
class Rule:
    """One rule; `sentence` is its help, `example` a value in TOML, `default` its value where a file lacks it."""

    name: str
    sentence: str
    example: str
    kind: Kind
    check: Check
    early: bool = False
    default: Hashable = None

    def in_force(self, policy: Policy) -> tuple[Statement, ...]:
        """The statements of this rule that count."""
        return self.kind.merge(policy.of(self.name))


def check(policy: Policy, subject: Subject) -> tuple[Violation, ...]:
    """Everything of the subject that the policy does not allow, by rule."""
    found = [
        violation
        for rule in RULES.values()
        for statement in rule.in_force(policy)
        for violation in rule.check(statement, subject)
    ]
    if policy and isinstance(subject.resolution, Unresolved) and subject.resolution.lines:
        found.append(_unresolved(policy, subject.resolution))
    return tuple(dict.fromkeys(found))


def _unresolved(policy: Policy, resolution: Unresolved) -> Violation:
    return Violation(
        rule="resolution",
        origin=policy.origins[0],
        sentence=f"The packages cannot be checked, because they would be resolved in the pod: {resolution.reason}",
        action="Run the cell again once the package index answers here.",
    )


# Parsers


def _strings(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) and item for item in value):
        raise ValueError(value)
    return tuple(sorted(set(value)))


def _names(value: object) -> tuple[NamePattern, ...]:
    if not isinstance(value, list):
        raise ValueError(value)  # noqa: TRY004 - one error for whatever is not valid
    return tuple(sorted(map(patterns.parse_name, value), key=lambda item: (str(item), item.reason)))


def _true(value: object) -> bool:
    """`true`; `false` would say what the absence of the rule says, and read as a permission."""
    if value is not True:
        raise ValueError(value)
    return True


def _false(value: object) -> bool:
    if value is not False:
        raise ValueError(value)
    return False


def _count(value: object) -> float:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError(value)
    return float(value)


def _foreign_lock(value: object) -> str:
    """The only case that can be confirmed, so far."""
    if value != "foreign-lock":
        raise ValueError(value)
    return "foreign-lock"


def _size(value: object) -> float:
    return float(cast("int", settings_parser.parse_setting("install_disk", value)))


def _seconds(value: object) -> float:
    return cast("float", settings_parser.parse_setting("run_timeout", value))


def _quantity(kind: str) -> Parser:
    def parse(value: object) -> float:
        return quantity.limit(quantity.parse(kind, str(value)))

    return parse


# Merges


def _all(statements: tuple[Statement, ...]) -> tuple[Statement, ...]:
    """All of them count."""
    return statements


def _smallest(statements: tuple[Statement, ...]) -> tuple[Statement, ...]:
    """The lowest limit; of two that are alike, the first."""
    return tuple(sorted(statements, key=_number)[:1])


def _largest(statements: tuple[Statement, ...]) -> tuple[Statement, ...]:
    return tuple(sorted(statements, key=_number, reverse=True)[:1])


def _first(statements: tuple[Statement, ...]) -> tuple[Statement, ...]:
    """One of several that say the same."""
    return statements[:1]


def _number(statement: Statement) -> float:
    return cast("float", statement.value)


def _show_names(value: tuple[NamePattern, ...]) -> str:
    return ", ".join(f"{item} ({item.reason})" if item.reason else str(item) for item in value) or "none"


def _show_size(value: float) -> str:
    """Bytes as they were probably written: "10 GiB", "2.0 GB"."""
    exact = humanize.exact_size(int(value))
    return exact if exact.endswith(("GiB", "MiB")) or not value else humanize.size(int(value))


def _show_quantity(kind: str) -> Show:
    return _show_size if kind in ("memory", "disk") else "{:g}".format


NAMES = Kind(parse=_names, merge=_all, show=_show_names)
TEXTS = Kind(parse=_strings, merge=_all, show=lambda value: ", ".join(value) or "none")
TRUE = Kind(parse=_true, merge=_first, show=lambda _: "true")
FALSE = Kind(parse=_false, merge=_first, show=lambda _: "false")
CONFIRM = Kind(parse=_foreign_lock, merge=_first, show=str)
COUNT = Kind(parse=_count, merge=_smallest, show="{:g}".format)
SIZE = Kind(parse=_size, merge=_smallest, show=_show_size)
TIME = Kind(parse=_seconds, merge=_smallest, show=humanize.exact_seconds)
ADVISORIES = Kind(parse=advisories.read_source, merge=_all, show=str)
AGE = Kind(parse=_seconds, merge=_largest, show=humanize.exact_seconds)


# Checks


def _violation(
    statement: Statement, sentence: str, action: str, *, package: str = "", subject: Subject | None = None
) -> Violation:
    path = subject.path(package) if subject and package else ()
    # Names, reasons and summaries are texts of others.
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
    """What to do about a package that may not be installed at all."""
    path = subject.path(package.name)
    return f"Remove or replace {path[0]}." if len(path) > 1 else f"Remove {package.name}, or use another package."


def _allowed(statement: Statement, subject: Subject) -> Iterator[Violation]:
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


def _blocked(statement: Statement, subject: Subject) -> Iterator[Violation]:
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


def _trusted(statement: Statement, subject: Subject) -> Iterator[Violation]:
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
    """An address of an index for people."""
    return {DEFAULT_INDEX: "uv's default index", PYTORCH_INDEX: "uv's index of PyTorch"}.get(address, address)


def _index_use(trusted: tuple[str, ...]) -> str:
    address = next((address for address in trusted if address not in (DEFAULT_INDEX, PYTORCH_INDEX)), "")
    return f"--set index_url={address}" if address else "uv's default index: remove index_url and indexes"


def _urls(*schemes: str) -> Check:
    """The check of direct URLs of these schemes; "" stands for all others."""

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
    """(name, URL) of everything that would be installed from an address and not from an index."""
    from uv_argo_magic.core.requirements.parser import parse_items  # noqa: PLC0415 - imports its grammar

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
    from uv_argo_magic.core.spec import indexes  # noqa: PLC0415 - only a refused URL needs it

    return indexes.without_credentials(url)


def _only_binary(statement: Statement, subject: Subject) -> Iterator[Violation]:
    if not subject.spec.settings.only_binary:
        yield _violation(
            statement, "Building from source is not allowed: it runs code of the package", "Remove only_binary=false."
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


def _no_python_downloads(statement: Statement, subject: Subject) -> Iterator[Violation]:
    if subject.spec.settings.python_downloads == "automatic":
        yield _violation(
            statement, "Installing a Python is not allowed", "Remove python_downloads, or choose another --python."
        )


def _no_persistent_environment(statement: Statement, subject: Subject) -> Iterator[Violation]:
    if subject.spec.settings.environment == "persistent":
        yield _violation(
            statement, "A persistent environment is not allowed", "Remove the settings env and venv, or use a store."
        )


def _hashes(statement: Statement, subject: Subject) -> Iterator[Violation]:
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


def _vulnerabilities(statement: Statement, subject: Subject) -> Iterator[Violation]:
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


def _look_alikes(statement: Statement, subject: Subject) -> Iterator[Violation]:
    accepted = cast("tuple[NamePattern, ...]", statement.value)
    for package in subject.packages:
        popular = look_alikes.popular_name(package.name)
        if popular and not any(pattern.matches(package.name, package.version) for pattern in accepted):
            yield _violation(
                statement,
                f"{_label(package)} looks like {popular}: the names differ by one character",
                f"Use {popular}, or ask for {package.name} to be accepted.",
                package=package.name,
                subject=subject,
            )


def _min_age(statement: Statement, subject: Subject) -> Iterator[Violation]:
    if subject.resolution is None:
        return
    wanted = cast("float", statement.value)
    span = humanize.exact_seconds(wanted)
    for package in subject.packages:
        if not package.uploaded:
            sentence = f"It is not known when {_label(package)} was uploaded"
            action = "Use an index that provides upload times."
        elif subject.now - datetime.fromisoformat(package.uploaded).timestamp() < wanted:
            sentence = f"{_label(package)} was uploaded less than {span} ago ({package.uploaded[:10]})"
            action = f'Add --set exclude_newer="{span}".'
        else:
            continue
        yield _violation(statement, sentence, action, package=package.name, subject=subject)


def _max_packages(statement: Statement, subject: Subject) -> Iterator[Violation]:
    number, most = len({package.name for package in subject.packages}), int(_number(statement))
    if number > most:
        yield _violation(
            statement,
            f"{humanize.count(number, 'package')} would be installed, and at most {most:,} may be",
            "Require less, or split the work between cells.",
        )


def _max_download(statement: Statement, subject: Subject) -> Iterator[Violation]:
    total, most = sum(package.size for package in subject.packages), _number(statement)
    if total > most:
        largest = max(subject.packages, key=lambda package: package.size)
        yield _violation(
            statement,
            f"The download is {humanize.size(total)}, and at most {_show_size(most)} is allowed",
            f"Require less; the largest is {_label(largest)} with {humanize.size(largest.size)}.",
        )


def _per_hour(statement: Statement, subject: Subject) -> Iterator[Violation]:
    if subject.recent_installs is not None and subject.recent_installs >= _number(statement):
        yield _violation(
            statement,
            f"{humanize.count(subject.recent_installs, 'run')} with packages began on this machine within an hour, and "
            f"at most {int(_number(statement)):,} may",
            "Wait a while, or keep the packages in a session: --session.",
        )


def _confirm(statement: Statement, subject: Subject) -> Iterator[Violation]:
    if subject.question:
        violation = _violation(statement, subject.question, "Check them, then add --set yes=true once.")
        yield replace(violation, is_question=True)


_SHOW_UNITS: dict[str, Show] = {"seconds": humanize.exact_seconds, "bytes": _show_size, "sessions": "{:g}".format}


def _setting_limit(name: str, unit: str = "seconds") -> Check:
    """The check that a setting is not above the limit, and is limited at all."""

    def check_setting(statement: Statement, subject: Subject) -> Iterator[Violation]:
        value, most = float(getattr(subject.spec.settings, name)), _number(statement)
        if value > most or (not value and name in UNLIMITED_AT_0):
            show = _SHOW_UNITS[unit]
            yield _violation(
                statement,
                f"{name} is {show(value) if value else 'not limited'}, and at most {show(most)} is allowed",
                f"Add --set {name}={most:.0f}{'s' if unit == 'seconds' else ''}.",
            )

    return check_setting


def _resource_limit(kind: str) -> Check:
    """The check of what is requested; a run that requests nothing gets what the cluster gives by default."""

    def check_resource(statement: Statement, subject: Subject) -> Iterator[Violation]:
        requested = getattr(subject.spec.resources, kind)
        most = _number(statement)
        if requested and quantity.limit(requested) > most:
            shown = _show_quantity(kind)(most)
            yield _violation(
                statement, f"{kind}={requested} is requested, and at most {shown} is allowed", f"Request less {kind}."
            )

    return check_resource


def _listed(what: str, settings: tuple[str, ...], find: Callable[[Subject], Iterable[str]]) -> Check:
    """The check that everything the run names is in the list."""

    def check_list(statement: Statement, subject: Subject) -> Iterator[Violation]:
        allowed = cast("tuple[str, ...]", statement.value)
        for name in dict.fromkeys(find(subject)):
            if name and not any(patterns.glob(pattern, name) for pattern in allowed):
                listed = f"Use one of: {', '.join(allowed)}." if allowed else f"Remove {' or '.join(settings)}."
                yield _violation(statement, f"The {what} {name} is not allowed", listed)
        # A patch can write anything into the workflow, also what this rule limits.
        if subject.spec.settings.patch and "patch" in subject.uses:
            yield _violation(statement, f"The setting patch could change the {what}", "Remove the setting patch.")

    return check_list


def _volumes(subject: Subject) -> Iterator[str]:
    settings = subject.spec.settings
    if "volumes" in subject.uses:
        yield from (volume.removesuffix(":ro") for _, volume in settings.volumes)
    if "store" in subject.uses:
        yield settings.store
        yield settings.cache


def _secrets(subject: Subject) -> Iterator[str]:
    settings = subject.spec.settings
    if "secret_env" in subject.uses:
        yield from (secret.partition("/")[0] for _, secret in settings.secret_env)
        yield from (secret for _, secret in settings.secret_files)
        yield from (secret for _, secret in settings.index_secrets)
        yield from settings.image_pull_secrets


def _service_accounts(subject: Subject) -> Iterator[str]:
    settings = subject.spec.settings
    if "service_account" in subject.uses:
        yield settings.service_account
        # Without a name, a token is that of the namespace's default account.
        if settings.service_account_token:
            yield settings.service_account or "default"


def _templates(subject: Subject) -> Iterator[str]:
    if "template" in subject.uses:
        yield subject.spec.settings.template or "(none)"


def _semaphores(subject: Subject) -> Iterator[str]:
    if "semaphore" in subject.uses:
        yield subject.spec.settings.semaphore or "(none)"


def _no_sessions(statement: Statement, subject: Subject) -> Iterator[Violation]:
    if subject.spec.session:
        yield _violation(statement, "Sessions are not allowed", "Run the cell without --session.")


def _session_limit(name: str, unit: str = "seconds") -> Check:
    limit = _setting_limit(name, unit)

    def check_session(statement: Statement, subject: Subject) -> Iterator[Violation]:
        if subject.spec.session:
            yield from limit(statement, subject)

    return check_session


def _no_check(statement: Statement, subject: Subject) -> Iterator[Violation]:
    """Nothing: the rule is not about what a run installs."""
    del statement, subject
    yield from ()


_TABLE = (
    Rule(
        name="packages.allowed", kind=NAMES, check=_allowed,
        sentence="packages that may be installed, with their dependencies (default: all)",
        example='["numpy", "pandas>=2", "corp-*"]',
    ),
    Rule(
        name="packages.blocked", kind=NAMES, check=_blocked,
        sentence="packages that may not be installed, and why",
        example='[{name = "python-dateutil", versions = "<2.9", reason = "CVE-2024-1"}]',
    ),
    Rule(
        name="packages.look_alikes", kind=NAMES, check=_look_alikes,
        sentence="refuse names that differ from a popular one by one character, except these", example='["panda"]',
    ),
    Rule(
        name="packages.vulnerabilities", kind=ADVISORIES, check=_vulnerabilities,
        sentence="refuse known vulnerabilities and malware: the address of an OSV server, or a path of its data",
        example='"https://osv.example.com"',
    ),
    Rule(
        name="packages.min_age", kind=AGE, check=_min_age,
        sentence="minimum time since a file was uploaded", example='"7 days"',
    ),
    Rule(
        name="indexes.trusted", kind=TEXTS, check=_trusted, early=True,
        sentence="addresses of package indexes that may be used (default: all)",
        example='["https://index.example.com/simple"]',
    ),
    Rule(
        name="indexes.urls", kind=TEXTS, check=_urls("https"), early=True, default=(),
        sentence="addresses from which `name @ URL` may install (default: none)",
        example='["https://files.example.com/*"]',
    ),
    Rule(
        name="indexes.git", kind=TEXTS, check=_urls("git"), early=True, default=(),
        sentence="repositories from which `name @ git+URL` may install (default: none)",
        example='["git+https://git.example.com/*"]',
    ),
    Rule(
        name="install.only_binary", kind=TRUE, check=_only_binary, early=True,
        sentence="install wheels only", example="true",
    ),
    Rule(
        name="install.python_downloads", kind=FALSE, check=_no_python_downloads, early=True,
        sentence="false: uv installs no Python", example="false",
    ),
    Rule(
        name="install.persistent", kind=FALSE, check=_no_persistent_environment, early=True,
        sentence="false: no persistent environments, which hold what earlier runs installed", example="false",
    ),
    Rule(
        name="install.hashes", kind=TRUE, check=_hashes,
        sentence="install only files whose hash is in the lock", example="true",
    ),
    Rule(
        name="install.max_packages", kind=COUNT, check=_max_packages,
        sentence="maximum number of packages of a run", example="80",
    ),
    Rule(
        name="install.max_download", kind=SIZE, check=_max_download,
        sentence="maximum size of the files of a run, as far as the index gives their sizes", example='"2GB"',
    ),
    Rule(
        name="install.max_time", kind=TIME, check=_setting_limit("install_timeout"),
        sentence="maximum install_timeout", example='"10m"',
    ),
    Rule(
        name="install.max_memory", kind=SIZE, check=_setting_limit("install_memory", "bytes"),
        sentence="maximum install_memory", example='"4GiB"',
    ),
    Rule(
        name="install.max_disk", kind=SIZE, check=_setting_limit("install_disk", "bytes"),
        sentence="maximum install_disk: the size of what is installed", example='"10GiB"',
    ),
    Rule(
        name="install.confirm", kind=CONFIRM, check=_confirm,
        sentence="ask once before the packages of another user's notebook are installed", example='"foreign-lock"',
    ),
    Rule(
        name="install.per_hour", kind=COUNT, check=_per_hour,
        sentence="maximum number of runs with packages on this machine in an hour (advisory)", example="30",
    ),
    Rule(
        name="run.max_time", kind=TIME, check=_setting_limit("run_timeout"),
        sentence="maximum run_timeout", example='"2h"',
    ),
    *(
        Rule(
            name=f"run.max_{kind}", check=_resource_limit(kind),
            kind=Kind(parse=_quantity(kind), merge=_smallest, show=_show_quantity(kind)),
            sentence=f"maximum {kind} of a run", example=example,
        )
        for kind, example in (("cpu", '"4"'), ("memory", '"16Gi"'), ("gpu", '"1"'), ("disk", '"50Gi"'))
    ),
    Rule(
        name="cluster.images", kind=TEXTS, early=True,
        check=_listed("image", ("image", "base"), lambda subject: subject.images),
        sentence="container images that may run", example='["registry.example.com/*"]',
    ),
    Rule(
        name="cluster.service_accounts", kind=TEXTS, early=True,
        check=_listed("service account", ("service_account",), _service_accounts),
        sentence="service accounts that a run may use", example='["cells"]',
    ),
    Rule(
        name="cluster.secrets", kind=TEXTS, early=True,
        check=_listed("Secret", ("secret_env", "secret_files"), _secrets),
        sentence="Secrets that a run may use", example='["team-*"]',
    ),
    Rule(
        name="cluster.volumes", kind=TEXTS, early=True,
        check=_listed("volume", ("volumes", "store"), _volumes),
        sentence="volumes that a run may mount", example='["claim/data", "empty/*"]',
    ),
    Rule(
        name="cluster.templates", kind=TEXTS, early=True,
        check=_listed("WorkflowTemplate", ("template",), _templates),
        sentence="WorkflowTemplates that a run must use", example='["uv-argo-cell"]',
    ),
    Rule(
        name="cluster.semaphores", kind=TEXTS, early=True,
        check=_listed("semaphore", ("semaphore",), _semaphores),
        sentence="semaphores of which a run must use one: they limit how many run at a time",
        example='["uv-argo-limits/cells"]',
    ),
    Rule(
        name="sessions.allowed", kind=FALSE, check=_no_sessions, early=True,
        sentence="false: no sessions", example="false",
    ),
    Rule(
        name="sessions.max_sessions", kind=COUNT, check=_session_limit("max_sessions", "sessions"),
        sentence="maximum max_sessions: live sessions of a user on this machine", example="4",
    ),
    Rule(
        name="sessions.max_keep", kind=TIME, check=_session_limit("keep"),
        sentence="maximum keep: the time that a session lives without a cell", example='"1h"',
    ),
    Rule(
        name="sessions.max_age", kind=TIME, check=_session_limit("max_age"),
        sentence="maximum max_age of a session", example='"12h"',
    ),
    Rule(
        name="values.open_sealed", kind=FALSE, check=_no_check,
        sentence="false: `Sealed.open()` unpickles no values on this side", example="false",
    ),
    Rule(
        name="audit.files", kind=TEXTS, check=_no_check,
        sentence="files that get a line of JSON for each decision", example='["/var/log/uv-argo.jsonl"]',
    ),
)  # fmt: skip

RULES: dict[str, Rule] = {rule.name: rule for rule in _TABLE}
"""Every rule by its name."""

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
