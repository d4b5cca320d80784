"""What an API calls a cause -> one sentence with the next step: an ordered table, in which the first match counts.

Rule: messages of the API are quoted, and shortened.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_LENGTH = 150
"""Characters of an API's message that a sentence quotes."""


@dataclass(frozen=True, kw_only=True)
class Rule:
    """A cause by the pattern of its message. `sentence` may use {text}, the message shortened, and the named groups."""

    pattern: str
    sentence: str


ADMISSION_RULES = (
    Rule(
        pattern=r"exceeded quota: (?P<what>.+)",
        sentence="the quota is used up ({what}); ask for less with --resources, or wait until others have ended",
    ),
    Rule(
        pattern=r"m\w+mum (?P<what>\S+) usage per \w+ is (?P<space>\S+?), but (?:limit|request) is (?P<why>\S+?)\.?$",
        sentence="the namespace allows {space} of {what}, and {why} was asked for; ask for another amount: --resources",
    ),
    Rule(
        pattern=r'violates PodSecurity "(?P<what>[^"]+)"(?P<why>.*)',
        sentence="Pod Security {what} forbids the pod{why}; an administrator can change the namespace's level",
    ),
    Rule(
        pattern=r'service account (?P<space>\S+?)/(?P<what>[^\s:]+): serviceaccount ".*" not found',
        sentence=(
            "there is no service account {what} in namespace {space}; name another with --set service_account=NAME, "
            "or have it made"
        ),
    ),
    Rule(
        pattern=r"ValidatingAdmissionPolicy '(?P<what>[^']+)'.*?denied request: (?P<why>.*)",
        sentence="the cluster's policy {what} forbids it: {why}; change what it names, or ask an administrator",
    ),
    Rule(
        pattern=r'admission webhook "(?P<what>[^"]+)" denied the request: (?P<why>.*)',
        sentence="the cluster's {what} forbids it: {why}; change what it names, or ask an administrator",
    ),
)
"""Refusals when a pod is created."""
POD_RULES = (
    Rule(
        pattern=r'persistentvolumeclaim "(?P<what>[^"]+)" not found',
        sentence="there is no volume claim {what} in the namespace; have it made, or name another",
    ),
    Rule(
        pattern=r"nodes? are available: .*?(?P<what>Insufficient [\w./-]+)",
        sentence=(
            "no node has room for the pod ({what}: {text}); ask for less with --resources, or wait for a larger node"
        ),
    ),
    Rule(
        pattern=r"didn't match Pod's node affinity/selector",
        sentence="no node is of the images' platform ({text}); choose another: --set platform=aarch64-manylinux_2_28",
    ),
    Rule(
        pattern=r"untolerated taint",
        sentence="every node is reserved for others ({text}); ask an administrator which nodes cells may use",
    ),
    Rule(
        pattern=r"\d+/\d+ nodes are available",
        sentence="no node takes the pod ({text}); ask for less, or ask an administrator",
    ),
    Rule(
        pattern=r'(?P<what>secret|configmap) "(?P<why>[^"]+)" not found',
        sentence="there is no {what} {why} in the namespace; have it made, or leave out what refers to it",
    ),
    Rule(
        pattern=r"MountVolume\S* failed for volume \"(?P<what>[^\"]+)\"(?P<why>.*)",
        sentence="the volume {what} cannot be mounted{why}; check that what it refers to exists",
    ),
    Rule(
        pattern=r"(?:FailedAttachVolume|ProvisioningFailed).*",
        sentence="a volume cannot be had ({text}); ask whoever looks after the cluster's storage",
    ),
    Rule(
        pattern=r'exec: "?(?P<what>[^":]+)"?: executable file not found',
        sentence="the image has no {what}; choose one that has Python and uv: --set image=IMAGE",
    ),
    Rule(
        pattern=r"argument list too long",
        sentence="the program is too large for a pod; push less, or read the data over there",
    ),
    Rule(
        pattern=r"NodeLost|[Nn]ode \S+ (?:is|which was running the pod is) unresponsive",
        sentence="its node does not answer any more ({text}); run the cell again",
    ),
    Rule(
        pattern=r"active on the node longer than the specified deadline",
        sentence="it lived longer than its deadline allows; allow more with --set deadline=SECONDS",
    ),
    Rule(
        pattern=r"Pod was rejected: .*|OutOf(?:cpu|memory|pods).*",
        sentence="the node refused the pod ({text}); run the cell again",
    ),
)
"""What keeps a pod from starting, and what ends it."""


def short(text: str, length: int = MAX_LENGTH) -> str:
    """A message as one line of at most `length` characters."""
    line = re.sub(r"\s+", " ", text).strip().rstrip(".:;,")
    return line if len(line) <= length else line[: length - 1].rstrip() + "\N{HORIZONTAL ELLIPSIS}"


@dataclass(frozen=True)
class ErrorTable:
    """Rules in their order."""

    rules: tuple[Rule, ...]

    def explain(self, message: str) -> str:
        """The sentence of the first rule that matches; "" if none does."""
        for rule in self.rules:
            if match := re.search(rule.pattern, message, re.DOTALL):
                values = {name: short(value or "", 120) for name, value in match.groupdict().items()}
                return rule.sentence.format_map({**values, "text": short(message, 90)})
        return ""

    def explain_first(self, messages: Iterable[str]) -> str:
        """The sentence for the first of the messages that has one, else the first message, shortened."""
        messages = list(messages)
        sentences = filter(None, map(self.explain, messages))
        return next(sentences, "") or next(map(short, messages), "")


POD_ERRORS = ErrorTable((*ADMISSION_RULES, *POD_RULES))
