"""Check a run against the policy: collect the data for the rules, and raise one error with all violations.

Rule: `enforce_early` checks the rules that must hold before uv runs, and `enforce` checks all rules.
"""

from __future__ import annotations

import os
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from uv_argo_magic.backends import base
from uv_argo_magic.core.policy import checks, rules
from uv_argo_magic.core.policy.model import Subject
from uv_argo_magic.core.resolution.lock import Lock
from uv_argo_magic.core.spec import indexes
from uv_argo_magic.core.spec.uv_environ import uv_process_environ
from uv_argo_magic.errors import BackendError, PolicyError, SpecError
from uv_argo_magic.policy import audit, foreign_locks

if TYPE_CHECKING:
    from collections.abc import Mapping

    from uv_argo_magic.core.policy.advisories import Found
    from uv_argo_magic.core.policy.model import Policy, Violation
    from uv_argo_magic.core.spec.run_spec import RunSpec
    from uv_argo_magic.engine.checks import Proposal

ABOUT_FILES = ("packages.min_age", "install.max_download")
"""The rules that need sizes and upload times, which some locks lack."""
RECORDED = frozenset({"run", "probe", "export"})
"""The purposes whose decisions are recorded; the others neither run nor write anything."""


def enforce_early(policy: Policy, spec: RunSpec, backend: base.Backend) -> None:
    """Refuse a run if uv is not allowed to resolve it, or if other violations are already known.

    Raises:
        PolicyError: the run breaks rules; the error lists them.
    """
    violations = rules.check(policy, subject(policy, spec, backend))
    if any(violation.rule in rules.RULES and rules.RULES[violation.rule].early for violation in violations):
        raise error(violations)


def enforce(policy: Policy, proposal: Proposal, backend: base.Backend) -> str:
    """Check a resolved run, and record the decision; return its short form, for a workflow.

    Raises:
        PolicyError: the run breaks rules, or the decision cannot be recorded.
    """
    violations = check(policy, proposal, backend)
    note = ""
    if proposal.purpose in RECORDED:
        record = audit.entry(proposal, policy, violations)
        audit.write(record, (log for statement in policy.of("audit.files") for log in statement.value))
        note = audit.annotation(record)
    if violations:
        raise error(violations)
    return note


def check(policy: Policy, proposal: Proposal, backend: base.Backend) -> tuple[Violation, ...]:
    """The violations of a resolved run."""
    spec, resolution = proposal.spec, proposal.resolution
    installs_packages = bool(resolution.lines or proposal.installs)
    counts = installs_packages and proposal.purpose == "run" and policy.of("install.per_hour")
    facts = subject(policy, spec, backend, installs_packages)
    facts = replace(
        facts,
        resolution=resolution,
        installs=proposal.installs,
        question=_question(policy, proposal, facts.indexes),
        advisories=_advisories(policy, proposal),
        recent_installs=audit.recent_installs() if counts else None,
    )
    resolver = proposal.resolver() if proposal.resolver and isinstance(resolution, Lock) else None
    if resolver and isinstance(resolution, Lock) and any(policy.of(rule) for rule in ABOUT_FILES):
        resolution = resolver.complete(resolution)
        facts = replace(facts, resolution=resolution)
    violations = rules.check(policy, facts)
    if resolver and isinstance(resolution, Lock) and any(violation.package for violation in violations):
        # The dependents of a package need another call of uv, so they are determined only for a refusal.
        facts = replace(facts, resolution=resolver.explain(resolution, spec.requirements))
        violations = rules.check(policy, facts)
    return violations


def _question(policy: Policy, proposal: Proposal, addresses: tuple[str, ...]) -> str:
    """The question that the user has to confirm, or ""."""
    if not policy.of("install.confirm"):
        return ""
    names = tuple(map(checks.index_name, addresses))
    return foreign_locks.question(proposal, names)


def _advisories(policy: Policy, proposal: Proposal) -> tuple[Found, ...]:
    """The known vulnerabilities of the packages, for each source named by the policy."""
    statements = policy.of("packages.vulnerabilities")
    if not statements or not isinstance(proposal.resolution, Lock):
        return ()
    from uv_argo_magic.policy import osv  # noqa: PLC0415 - 30 ms, and few policies ask for it

    locks = (proposal.resolution, *(lock for _, lock in proposal.installs))
    versions = dict(proposal.resolution.base_packages)
    versions |= {package.name: package.version for lock in locks for package in lock.packages}
    sources = {statement.value.address: statement.value for statement in statements}
    return tuple(osv.look_up(source, versions) for source in sources.values()) if versions else ()


def error(violations: tuple[Violation, ...]) -> PolicyError:
    """The error that lists all violations."""
    return PolicyError(
        "the package policy does not allow this run",
        hint="The command policy shows all rules. Ask your administrator for an exception.",
        violations=violations,
    )


def subject(policy: Policy, spec: RunSpec, backend: base.Backend, installs_packages: bool | None = None) -> Subject:
    """The data of a run for the rules, before its resolution."""
    is_local = base.Capability.LOCAL in backend.capabilities
    if installs_packages is None:
        installs_packages = bool(spec.requirements) or "run_line_magic('pip'" in spec.code or "('uv'" in spec.code
    environ = uv_process_environ(os.environ)
    return Subject(
        spec=spec,
        indexes=_addresses(spec, environ, is_local=is_local) if installs_packages else (),
        insecure_hosts=tuple(environ.get("UV_INSECURE_HOST", "").split()) if installs_packages else (),
        uses=backend.settings,
        # With a template, the image must be requested from the cluster.
        images=() if is_local or not policy.of("cluster.images") else _images(spec, backend),
        now=time.time(),
    )


def _addresses(spec: RunSpec, environ: Mapping[str, str], *, is_local: bool) -> tuple[str, ...]:
    """The URLs (without credentials) of the indexes that uv can use to resolve here, and to install for the cell."""
    ours = indexes.environment(spec.settings)
    local = dict(environ)
    if spec.settings.index_url:
        local.pop("UV_INDEX_URL", None)
    environments = [{**local, **ours}, {**local, **ours} if is_local else ours]
    addresses = []
    for variables in environments:
        listed = f"{variables.get('UV_INDEX', '')} {variables.get('UV_EXTRA_INDEX_URL', '')}".split()
        default = variables.get("UV_DEFAULT_INDEX") or variables.get("UV_INDEX_URL") or checks.DEFAULT_INDEX
        addresses += [*listed, default]
    if spec.settings.torch_backend:
        addresses.append(checks.PYTORCH_INDEX)
    return (
        *dict.fromkeys(_address(entry) for entry in addresses),
        *map(indexes.without_credentials, spec.settings.find_links),
    )


def _address(entry: str) -> str:
    """The URL in "NAME=URL" or "URL"."""
    name, equals, url = entry.partition("=")
    return indexes.without_credentials(url if equals and "://" not in name else entry)


def _images(spec: RunSpec, backend: base.Backend) -> tuple[str, ...]:
    """The images of the run's containers, without the default image while its Python is unknown."""
    settings = spec.settings
    try:
        image = base.image(backend, spec)
    except (SpecError, BackendError):
        image = settings.image or settings.base
    return tuple(filter(None, (image, settings.install_image if settings.separate_install else "")))
