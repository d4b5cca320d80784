"""What the API calls a cause -> one sentence and the next step: one ordered table, the first pattern that fits counts.

Rule: words of the API are quoted, shortened.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_LONGEST = 150
"""Characters of the API's words in a sentence."""


@dataclass(frozen=True, kw_only=True)
class _Rule:
    """A cause by what it is called there; `said` may name {0} the pattern's group and {text} the shortened whole."""

    pattern: str
    said: str


# What stands in the way of a start, and what ended a workflow before or without its pod; the first that fits counts.
_RULES = (
    _Rule(
        pattern=r"exceeded quota: (?P<what>.+)",
        said="the quota is used up ({what}); ask for less with --resources, or wait until others have ended",
    ),
    _Rule(
        pattern=r"m\w+mum (?P<what>\S+) usage per \w+ is (?P<space>\S+?), but (?:limit|request) is (?P<why>\S+?)\.?$",
        said="the namespace allows {space} of {what}, and {why} was asked for; ask for another amount: --resources",
    ),
    _Rule(
        pattern=r'violates PodSecurity "(?P<what>[^"]+)"(?P<why>.*)',
        said="Pod Security {what} forbids the pod{why}; an administrator can change the namespace's level",
    ),
    _Rule(
        pattern=r'service account (?P<space>\S+?)/(?P<what>[^\s:]+): serviceaccount ".*" not found',
        said=(
            "there is no service account {what} in namespace {space}; name another with --set service_account=NAME, "
            "or have it made"
        ),
    ),
    _Rule(
        pattern=r"ValidatingAdmissionPolicy '(?P<what>[^']+)'.*?denied request: (?P<why>.*)",
        said="the cluster's policy {what} forbids it: {why}; change what it names, or ask an administrator",
    ),
    _Rule(
        pattern=r'admission webhook "(?P<what>[^"]+)" denied the request: (?P<why>.*)',
        said="the cluster's {what} forbids it: {why}; change what it names, or ask an administrator",
    ),
    _Rule(
        pattern=r"ontainers\[\d+\]\.image: Required value",
        said=(
            "Argo here adds other containers to a pod than was thought; say which: --set executor_patch=supervisor "
            "(or init, or none)"
        ),
    ),
    _Rule(
        pattern=r"workflows must use workflowTemplateRef",
        said="cells run here by an administrator's templates alone; name one with --set template=NAME",
    ),
    _Rule(
        pattern=r"fields \[(?P<what>[^\]]+)\] are not permitted",
        said="the templates of this cluster decide on {what}; leave out what asks for it",
    ),
    _Rule(
        pattern=r"invalid spec: (?P<what>.*)",
        said="Argo cannot use the workflow: {what}; correct the setting that it names",
    ),
    _Rule(
        pattern=r"failed to initialize semaphore (?P<what>\S+)",
        said="the semaphore {what} does not exist; have its ConfigMap made, or leave the semaphore out",
    ),
    _Rule(
        pattern=r"Waiting for (?P<what>\S+) lock\.(?: Lock status: (?P<why>\S+))?",
        said="it waits for its turn at {what} ({why} free); it starts by itself when others have ended",
    ),
    _Rule(
        pattern=r"too many workflows are already running",
        said="Argo's limit of workflows at one time is reached; it starts by itself when others have ended",
    ),
    _Rule(
        pattern=r'persistentvolumeclaim "(?P<what>[^"]+)" not found',
        said="there is no volume claim {what} in the namespace; have it made, or name another",
    ),
    _Rule(
        pattern=r"nodes? are available: .*?(?P<what>Insufficient [\w./-]+)",
        said="no node has room for the pod ({what}: {text}); ask for less with --resources, or wait for a larger node",
    ),
    _Rule(
        pattern=r"didn't match Pod's node affinity/selector",
        said="no node is of the images' platform ({text}); choose another: --set platform=aarch64-manylinux_2_28",
    ),
    _Rule(
        pattern=r"untolerated taint",
        said="every node is reserved for others ({text}); ask an administrator which nodes cells may use",
    ),
    _Rule(
        pattern=r"\d+/\d+ nodes are available",
        said="no node takes the pod ({text}); ask for less, or ask an administrator",
    ),
    _Rule(
        pattern=r'(?P<what>secret|configmap) "(?P<why>[^"]+)" not found',
        said="there is no {what} {why} in the namespace; have it made, or leave out what refers to it",
    ),
    _Rule(
        pattern=r"MountVolume\S* failed for volume \"(?P<what>[^\"]+)\"(?P<why>.*)",
        said="the volume {what} cannot be mounted{why}; check that what it refers to exists",
    ),
    _Rule(
        pattern=r"(?:FailedAttachVolume|ProvisioningFailed).*",
        said="a volume cannot be had ({text}); ask whoever looks after the cluster's storage",
    ),
    _Rule(
        pattern=r"workflowtaskresults\S* is forbidden: User \"(?P<what>[^\"]+)\"",
        said=(
            "the pod's {what} may not report to Argo: it needs a Role with create and patch on workflowtaskresults "
            "(argoproj.io); or name another with --set service_account=NAME"
        ),
    ),
    _Rule(
        pattern=r'exec: "?(?P<what>[^":]+)"?: executable file not found',
        said="the image has no {what}; choose one that has Python and uv: --set image=IMAGE",
    ),
    _Rule(
        pattern=r"argument list too long",
        said="the program is too large for a Workflow; push less, or read the data over there",
    ),
    _Rule(
        pattern=r"Pod failed before main container starts",
        said=(
            "the pod ended before the cell's container began, often because the install used more memory than it was "
            "given; ask for more with --resources memory=SIZE"
        ),
    ),
    _Rule(
        pattern=r"NodeLost|[Nn]ode \S+ (?:is|which was running the pod is) unresponsive",
        said="its node does not answer any more ({text}); run the cell again",
    ),
    _Rule(
        pattern=r"pod deleted",
        said="the pod was deleted, by hand or by a node that went away; run the cell again",
    ),
    _Rule(
        pattern=r"Stopped with strategy '(?P<what>\w+)'|workflow shutdown with strategy:\s*(?P<why>\w+)",
        said="the workflow was stopped",
    ),
    _Rule(
        pattern=r"(?:^|execution: )timeout$",
        said="it waited for its start longer than it may; allow more with --set pending_timeout=SECONDS",
    ),
    _Rule(
        pattern=r"Step exceeded its deadline|active on the node longer than the specified deadline",
        said="it lived longer than its deadline allows; allow more with --set deadline=SECONDS",
    ),
    _Rule(
        pattern=r"Pod was rejected: .*|OutOf(?:cpu|memory|pods).*",
        said="the node refused the pod ({text}); run the cell again",
    ),
)
_LATE = r"(?:^|execution: )timeout$|exceeded its deadline|longer than the specified deadline"


def late(words: Iterable[str]) -> str:
    """The sentence on the first of the words that tells of a deadline; empty where none does."""
    return next((sentence(one) for one in words if re.search(_LATE, one)), "")


def short(text: str, longest: int = _LONGEST) -> str:
    """Words of the API as one line of bearable length."""
    line = re.sub(r"\s+", " ", text).strip().rstrip(".:;,")
    return line if len(line) <= longest else line[: longest - 1].rstrip() + "\N{HORIZONTAL ELLIPSIS}"


def told(words: Iterable[str]) -> str:
    """The first of the words that a rule knows, else the first as it is."""
    every = list(words)
    return next((found for one in every if (found := sentence(one))), "") or next(map(short, every), "")


def sentence(text: str) -> str:
    """What a rule says of these words; empty where none knows them."""
    for rule in _RULES:
        if found := re.search(rule.pattern, text, re.DOTALL):
            values = {name: short(value or "", 120) for name, value in found.groupdict().items()}
            return rule.said.format_map({"what": "python3", **values, "text": short(text, 90)})
    return ""
