"""The API permissions that this backend needs, as rules of a Role."""

from __future__ import annotations

from uv_argo_magic.backends.kubernetes.rbac import POD_RULES, Rule

POLICY = "uv-argo-policy"
"""The ConfigMap with the package policy of a namespace."""

ROLE = (
    Rule("argoproj.io", "workflows", ("create", "get", "list", "patch")),
    Rule("argoproj.io", "workflowtemplates", ("get",)),
    *POD_RULES,
    Rule("", "configmaps", ("get",), (POLICY,)),
)
"""The permissions for all requests of this backend to the Kubernetes API."""
SERVER_ROLE = (
    Rule("argoproj.io", "workflows", ("create", "get", "list", "patch", "watch")),
    Rule("argoproj.io", "workflowtemplates", ("get",)),
    Rule("", "pods", ("list", "watch")),
    Rule("", "pods/log", ("get",)),
)
"""The permissions that an Argo Server or the `argo` CLI needs for a user of this backend."""
OPTIONAL = {
    "configmaps": "only needed for programs above 96 KiB",
    "workflowtemplates": "only needed with --set template=NAME",
    POLICY: "only needed for a package policy of the namespace",
}
"""Resource or object that most runs do not need -> its purpose."""
