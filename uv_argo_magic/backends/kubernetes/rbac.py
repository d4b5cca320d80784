"""The API permissions needed to follow a pod, as rules of a Role; errors that show the missing rule."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from uv_argo_magic.errors import BackendError

if TYPE_CHECKING:
    from collections.abc import Iterable


class Rule(NamedTuple):
    """One rule of a Role: API group, resource, verbs, and the names of the objects if it is limited to some."""

    group: str
    resource: str
    verbs: tuple[str, ...]
    names: tuple[str, ...] = ()

    def __str__(self) -> str:
        """The rule as YAML on one line."""
        names = f", resourceNames: [{', '.join(self.names)}]" if self.names else ""
        return f'{{apiGroups: ["{self.group}"], resources: [{self.resource}], verbs: [{", ".join(self.verbs)}]{names}}}'


POD_RULES = (
    Rule("", "pods", ("get", "list", "watch")),
    Rule("", "pods/log", ("get",)),
    Rule("", "events", ("list",)),
    Rule("", "configmaps", ("create",)),
)
"""The permissions to follow a pod, and to create a ConfigMap for a large program."""


class Denied(BackendError):
    """The user lacks a permission."""


def denied(message: str, rules: Iterable[Rule] = POD_RULES) -> Denied:
    """The error for a 403. Its hint has the missing rule of a Role: a matching one of `rules`, or a generated one."""
    match = re.search(
        r'cannot (?P<verb>\w+) resource "(?P<resource>[^"]+)" in API group "(?P<group>[^"]*)"'
        r'(?: in the namespace "(?P<namespace>[^"]+)")?',
        message,
    )
    if not match:
        return Denied(f"the cluster denied the request: {message}", hint=refusal_hint(message))
    scope = f" in the namespace {match['namespace']}" if match["namespace"] else ""
    fitting = sorted(
        (rule for rule in rules if rule.resource == match["resource"]), key=lambda rule: match["verb"] not in rule.verbs
    )
    rule = next(iter(fitting), Rule(match["group"], match["resource"], (match["verb"],)))
    if "at the cluster scope" in message:
        rule = Rule(match["group"], match["resource"], (match["verb"],))
        return Denied(
            f"you cannot {match['verb']} {match['resource']} in all namespaces",
            hint=(
                f"Ask your administrator for a ClusterRole with this rule: {rule}, "
                "or use one namespace: --set namespace=NAME."
            ),
        )
    return Denied(
        f"you cannot {match['verb']} {match['resource']}{scope}",
        hint=(
            f"Ask your administrator for a Role with this rule: {rule}, or use another namespace: --set namespace=NAME."
        ),
    )


def refusal_hint(message: str) -> str:
    """The hint for a refused request."""
    if "ValidatingAdmissionPolicy" in message or "admission webhook" in message:
        return "Change the setting that the cluster's policy names, or ask your administrator."
    if "exceeded quota" in message:
        return "Request less with --resources, or wait until other runs finish."
    if re.search(r"quantity|Quantity|resources\.(?:requests|limits)", message):
        return "Write quantities as 500m, 2 or 2Gi: --cpu 500m --memory 2Gi."
    return "Fix the setting that the message names."
