"""What this package asks of the API, as a Role has it; and a denial in words, with the rule that would allow it."""

from __future__ import annotations

import re

from uv_argo_magic.errors import BackendError

ROLE = (
    ("argoproj.io", "workflows", ("create", "get", "list", "patch")),
    ("argoproj.io", "workflowtemplates", ("get",)),
    ("", "pods", ("get", "list", "watch")),
    ("", "pods/log", ("get",)),
    ("", "events", ("list",)),
    ("", "configmaps", ("create",)),
)
"""All that this package asks of the API, as a Role has it: group, resource, verbs."""
SPARED = {
    "configmaps": "only programs above 96 KiB travel in one",
    "workflowtemplates": "only --set template=NAME reads one",
}
"""What most runs do without, and what it is for."""


class Denied(BackendError):
    """The user may not do this."""


def denied(text: str) -> Denied:
    """A 403 in words: what was denied, and the rule of a Role that would allow it."""
    found = re.search(
        r'cannot (?P<verb>\w+) resource "(?P<resource>[^"]+)" in API group "(?P<group>[^"]*)"'
        r'(?: in the namespace "(?P<namespace>[^"]+)")?',
        text,
    )
    if not found:
        return Denied(f"the cluster refused it: {text}", hint=refusal_hint(text))
    where = f" in the namespace {found['namespace']}" if found["namespace"] else ""
    verbs = next((verbs for group, resource, verbs in ROLE if resource == found["resource"]), (found["verb"],))
    return Denied(
        f"you may not {found['verb']} {found['resource']}{where}",
        hint=(
            "Ask an administrator for a Role with this rule: "
            f'{{apiGroups: ["{found["group"]}"], resources: [{found["resource"]}], verbs: [{", ".join(verbs)}]}}, '
            "or choose another namespace: --set namespace=NAME."
        ),
    )


def refusal_hint(text: str) -> str:
    """What to do about a refusal."""
    if "ValidatingAdmissionPolicy" in text or "admission webhook" in text:
        return "A rule of this cluster forbids it: change what it names, or ask an administrator."
    if "exceeded quota" in text:
        return "Ask for less with --resources, or wait until others have ended."
    if re.search(r"quantity|Quantity|resources\.(?:requests|limits)", text):
        return "Quantities are written 500m, 2 or 2Gi: --resources cpu=500m memory=2Gi."
    return "Correct the setting that it names."
