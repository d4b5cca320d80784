"""Translate messages of the API into one sentence with a hint, by the first matching rule of an ordered table.

Rule: quoted messages of the API are shortened.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from uv_argo_magic.core.frozen import frozen

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_LENGTH = 150
"""Maximum characters of a quoted message."""


@frozen
class Rule:
    """A pattern for messages with one cause. `sentence` can contain {text} (the shortened message) and named groups."""

    pattern: str
    sentence: str


ADMISSION_RULES = (
    Rule(
        pattern=r"exceeded quota: (?P<what>.+)",
        sentence="the quota is exceeded ({what}); request less with --resources, or wait until other runs finish",
    ),
    Rule(
        pattern=r"m\w+mum (?P<what>\S+) usage per \w+ is (?P<space>\S+?), but (?:limit|request) is (?P<why>\S+?)\.?$",
        sentence="the namespace allows {space} of {what}, and {why} was requested; change --resources",
    ),
    Rule(
        pattern=r'violates PodSecurity "(?P<what>[^"]+)"(?P<why>.*)',
        sentence="Pod Security {what} forbids the pod{why}; ask your administrator to change the namespace's level",
    ),
    Rule(
        pattern=r'service account (?P<space>\S+?)/(?P<what>[^\s:]+): serviceaccount ".*" not found',
        sentence=(
            "service account {what} not found in namespace {space}; use another one with --set service_account=NAME, "
            "or ask your administrator to create it"
        ),
    ),
    Rule(
        pattern=r"ValidatingAdmissionPolicy '(?P<what>[^']+)'.*?denied request: (?P<why>.*)",
        sentence="the cluster's policy {what} forbids it: {why}; change what it names, or ask your administrator",
    ),
    Rule(
        pattern=r'admission webhook "(?P<what>[^"]+)" denied the request: (?P<why>.*)',
        sentence="the admission webhook {what} forbids it: {why}; change what it names, or ask your administrator",
    ),
)
"""Reasons why a pod is not created."""
POD_RULES = (
    Rule(
        pattern=r'persistentvolumeclaim "(?P<what>[^"]+)" not found',
        sentence=(
            "volume claim {what} not found in the namespace; create it, or use another: --set volumes=PATH=claim/NAME "
            "or --set store=claim/NAME"
        ),
    ),
    Rule(
        pattern=r"nodes? are available: .*?(?P<what>Insufficient [\w./-]+)",
        sentence=(
            "no node has enough free resources for the pod ({what}: {text}); "
            "request less with --resources, or wait for a larger node"
        ),
    ),
    Rule(
        pattern=r"didn't match Pod's node affinity/selector",
        sentence=(
            "no node has the labels or the platform that the pod requires ({text}); "
            "change --set node_selector, or use another --set platform=aarch64-manylinux_2_28"
        ),
    ),
    Rule(
        pattern=r"untolerated taint",
        sentence=(
            "every node has a taint that the pod does not tolerate ({text}); "
            "add --set tolerations=TAINT, or ask your administrator which nodes to use"
        ),
    ),
    Rule(
        pattern=r"\d+/\d+ nodes are available",
        sentence="no node accepts the pod ({text}); request less with --resources, or ask your administrator",
    ),
    Rule(
        pattern=r"couldn't find key (?P<what>\S+) in (?P<kind>Secret|ConfigMap) (?:\S+/)?(?P<why>\S+)",
        sentence="key {what} not found in {kind} {why}; add it, or use another: --set secret_env=NAME=SECRET/KEY",
    ),
    Rule(
        pattern=r'secret "(?P<why>[^"]+)" not found',
        sentence=(
            "secret {why} not found in the namespace; create it, or change the setting that refers to it: secret_env, "
            "secret_files or index_secrets"
        ),
    ),
    Rule(
        pattern=r'configmap "(?P<why>[^"]+)" not found',
        sentence="configmap {why} not found in the namespace; create it, or change the setting that uses it: patch",
    ),
    Rule(
        pattern=r"MountVolume\S* failed for volume \"(?P<what>[^\"]+)\"(?P<why>.*)",
        sentence="cannot mount volume {what}{why}; check that the object it refers to exists",
    ),
    Rule(
        pattern=r"(?:FailedAttachVolume|ProvisioningFailed).*",
        sentence="cannot provide a volume ({text}); ask your administrator about the cluster's storage",
    ),
    Rule(
        pattern=r'exec: "?(?P<what>[^":]+)"?: executable file not found',
        sentence="the image has no {what}; use one with Python and uv: --set image=IMAGE",
    ),
    Rule(
        pattern=r"argument list too long",
        sentence="the program is too large for a pod; push less, or let the cell read the data itself",
    ),
    Rule(
        pattern=r"NodeLost|[Nn]ode \S+ (?:is|which was running the pod is) unresponsive",
        sentence="the pod's node no longer responds ({text}); run the cell again",
    ),
    Rule(
        pattern=r"active on the node longer than the specified deadline",
        sentence="the run exceeded its deadline; allow more with --set deadline=SECONDS",
    ),
    Rule(
        pattern=r"Pod was rejected: .*|OutOf(?:cpu|memory|pods).*",
        sentence="the node refused the pod ({text}); run the cell again",
    ),
)
"""Reasons why a pod does not start, or ends."""


def short(text: str, length: int = MAX_LENGTH) -> str:
    """A message as one line of at most `length` characters."""
    line = re.sub(r"\s+", " ", text).strip().rstrip(".:;,")
    return line if len(line) <= length else line[: length - 1].rstrip() + "\N{HORIZONTAL ELLIPSIS}"


@dataclass(frozen=True)
class ErrorTable:
    """Ordered rules."""

    rules: tuple[Rule, ...]

    def explain(self, message: str) -> str:
        """The sentence of the first rule that matches; "" if none does."""
        for rule in self.rules:
            if match := re.search(rule.pattern, message, re.DOTALL):
                values = {name: short(value or "", 120) for name, value in match.groupdict().items()}
                return rule.sentence.format_map({**values, "text": short(message, 90)})
        return ""

    def explain_first(self, messages: Iterable[str]) -> str:
        """The sentence for the first message that matches a rule, or else the first message, shortened."""
        messages = list(messages)
        sentences = filter(None, map(self.explain, messages))
        return next(sentences, "") or next(map(short, messages), "")


POD_ERRORS = ErrorTable((*ADMISSION_RULES, *POD_RULES))
