"""Every rule of a policy: one table with its name, its parser, how statements of it combine, its check and its help.

Rules:
- Everything that no statement refuses is allowed, so a new statement can only forbid more.
- `early` rules are checked before uv runs, because uv would contact an index, download from a URL, or build.
- A rule that is missing from a file has its `default` there; without a default it forbids nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from uv_argo_magic.core.frozen import frozen
from uv_argo_magic.core.policy import checks, kinds
from uv_argo_magic.core.policy.model import Policy, Statement, Subject, Violation
from uv_argo_magic.core.resolution.lock import Unresolved

if TYPE_CHECKING:
    from collections.abc import Hashable


@frozen
class Rule:
    """One rule; `sentence` is its help, `example` a TOML value, `default` its value in files without the rule."""

    name: str
    sentence: str
    example: str
    kind: kinds.Kind
    check: checks.Check
    early: bool = False
    default: Hashable = None

    def in_force(self, policy: Policy) -> tuple[Statement, ...]:
        """The statements of this rule after merging."""
        return self.kind.merge(policy.of(self.name))


def check(policy: Policy, subject: Subject) -> tuple[Violation, ...]:
    """The violations of the policy by the subject, in the order of the rules."""
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
        action="Run the cell again once the package index responds here.",
    )


_TABLE = (
    Rule(
        name="packages.allowed", kind=kinds.NAMES, check=checks.allowed,
        sentence="the only packages that may be installed; list their dependencies too (default: all)",
        example='["numpy", "pandas>=2", "corp-*"]',
    ),
    Rule(
        name="packages.blocked", kind=kinds.NAMES, check=checks.blocked,
        sentence="packages that must not be installed, and why",
        example='[{name = "python-dateutil", versions = "<2.9", reason = "CVE-2024-1"}]',
    ),
    Rule(
        name="packages.look_alikes", kind=kinds.NAMES, check=checks.no_look_alikes,
        sentence="refuse package names that differ from a popular name by one character, except these",
        example='["panda"]',
    ),
    Rule(
        name="packages.vulnerabilities", kind=kinds.ADVISORIES, check=checks.vulnerabilities,
        sentence="refuse known vulnerabilities and malware: the address of an OSV server, or a path of its data",
        example='"https://osv.example.com"',
    ),
    Rule(
        name="packages.min_age", kind=kinds.AGE, check=checks.min_age,
        sentence="minimum time since a file was uploaded", example='"7 days"',
    ),
    Rule(
        name="indexes.trusted", kind=kinds.TEXTS, check=checks.trusted, early=True,
        sentence="addresses of package indexes that may be used (default: all)",
        example='["https://index.example.com/simple"]',
    ),
    Rule(
        name="indexes.urls", kind=kinds.TEXTS, check=checks.urls("https"), early=True, default=(),
        sentence="URLs that `name @ URL` may install from (default: none)",
        example='["https://files.example.com/*"]',
    ),
    Rule(
        name="indexes.git", kind=kinds.TEXTS, check=checks.urls("git"), early=True, default=(),
        sentence="repositories that `name @ git+URL` may install from (default: none)",
        example='["git+https://git.example.com/*"]',
    ),
    Rule(
        name="install.only_binary", kind=kinds.TRUE, check=checks.only_binary, early=True,
        sentence="install wheels only", example="true",
    ),
    Rule(
        name="install.python_downloads", kind=kinds.FALSE, check=checks.no_python_downloads, early=True,
        sentence="false: do not let uv install a Python", example="false",
    ),
    Rule(
        name="install.persistent", kind=kinds.FALSE, check=checks.no_persistent_environment, early=True,
        sentence="false: forbid persistent environments, which contain packages that earlier runs installed",
        example="false",
    ),
    Rule(
        name="install.hashes", kind=kinds.TRUE, check=checks.hashes,
        sentence="install only files whose hash is in the lock", example="true",
    ),
    Rule(
        name="install.max_packages", kind=kinds.COUNT, check=checks.max_packages,
        sentence="maximum number of packages of a run", example="80",
    ),
    Rule(
        name="install.max_download", kind=kinds.SIZE, check=checks.max_download,
        sentence="maximum download size of a run, not counting files whose size the index does not report",
        example='"2GB"',
    ),
    Rule(
        name="install.max_time", kind=kinds.TIME, check=checks.setting_limit("install_timeout"),
        sentence="maximum install_timeout", example='"10m"',
    ),
    Rule(
        name="install.max_memory", kind=kinds.SIZE, check=checks.setting_limit("install_memory", "bytes"),
        sentence="maximum install_memory", example='"4GiB"',
    ),
    Rule(
        name="install.max_disk", kind=kinds.SIZE, check=checks.setting_limit("install_disk", "bytes"),
        sentence="maximum install_disk, the size of the installed packages", example='"10GiB"',
    ),
    Rule(
        name="install.confirm", kind=kinds.CONFIRM, check=checks.confirm,
        sentence="ask once before the packages of another user's notebook are installed", example='"foreign-lock"',
    ),
    Rule(
        name="install.per_hour", kind=kinds.COUNT, check=checks.per_hour,
        sentence="maximum number of runs with packages on this machine in an hour (advisory)", example="30",
    ),
    Rule(
        name="run.max_time", kind=kinds.TIME, check=checks.setting_limit("run_timeout"),
        sentence="maximum run_timeout", example='"2h"',
    ),
    *(
        Rule(
            name=f"run.max_{kind}", check=checks.resource_limit(kind),
            kind=kinds.resource(kind),
            sentence=f"maximum {kind} of a run", example=example,
        )
        for kind, example in (("cpu", '"4"'), ("memory", '"16Gi"'), ("gpu", '"1"'), ("disk", '"50Gi"'))
    ),
    Rule(
        name="cluster.images", kind=kinds.TEXTS, early=True,
        check=checks.listed("image", ("image", "base"), lambda subject: subject.images),
        sentence="container images that may run", example='["registry.example.com/*"]',
    ),
    Rule(
        name="cluster.service_accounts", kind=kinds.TEXTS, early=True,
        check=checks.listed("service account", ("service_account",), checks.service_accounts),
        sentence="service accounts that a run may use", example='["cells"]',
    ),
    Rule(
        name="cluster.secrets", kind=kinds.TEXTS, early=True,
        check=checks.listed("Secret", ("secret_env", "secret_files"), checks.secrets),
        sentence="Secrets that a run may use", example='["team-*"]',
    ),
    Rule(
        name="cluster.volumes", kind=kinds.TEXTS, early=True,
        check=checks.listed("volume", ("volumes", "store"), checks.volumes),
        sentence="volumes that a run may mount", example='["claim/data", "empty/*"]',
    ),
    Rule(
        name="cluster.templates", kind=kinds.TEXTS, early=True,
        check=checks.listed("WorkflowTemplate", ("template",), checks.templates),
        sentence="WorkflowTemplates that a run must use", example='["uv-argo-cell"]',
    ),
    Rule(
        name="cluster.semaphores", kind=kinds.TEXTS, early=True,
        check=checks.listed("semaphore", ("semaphore",), checks.semaphores),
        sentence="semaphores, one of which a run must use: they limit how many cells run at a time",
        example='["uv-argo-limits/cells"]',
    ),
    Rule(
        name="sessions.allowed", kind=kinds.FALSE, check=checks.no_sessions, early=True,
        sentence="false: forbid sessions", example="false",
    ),
    Rule(
        name="sessions.max_sessions", kind=kinds.COUNT, check=checks.session_limit("max_sessions", "sessions"),
        sentence="maximum max_sessions: live sessions of a user on this machine", example="4",
    ),
    Rule(
        name="sessions.max_keep", kind=kinds.TIME, check=checks.session_limit("keep"),
        sentence="maximum keep: the time that a session lives without a cell", example='"1h"',
    ),
    Rule(
        name="sessions.max_age", kind=kinds.TIME, check=checks.session_limit("max_age"),
        sentence="maximum max_age of a session", example='"12h"',
    ),
    Rule(
        name="values.open_sealed", kind=kinds.FALSE, check=checks.no_check,
        sentence="false: forbid `Sealed.open()`, which unpickles a value in the notebook", example="false",
    ),
    Rule(
        name="audit.files", kind=kinds.TEXTS, check=checks.no_check,
        sentence="files to which each decision is appended, as a line of JSON", example='["/var/log/uv-argo.jsonl"]',
    ),
)  # fmt: skip

RULES: dict[str, Rule] = {rule.name: rule for rule in _TABLE}
"""Every rule by its name."""
