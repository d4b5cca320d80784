"""Explain why an install failed and what to do: an ordered table of patterns for uv's standard error.

Rules:
- The most certain cause comes first: a full disk is the cause whatever uv was doing.
- Patterns match uv's own messages only, except that those for memory and disk also match the output of a build.
- Every sentence names the package if uv does, and never shows a user name, password or query of a URL.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from packaging.utils import canonicalize_name

from uv_argo_magic.core.frozen import frozen
from uv_argo_magic.core.resolution.conflicts import unsolved
from uv_argo_magic.core.resolution.uv_stderr import (
    UNREACHABLE,
    Cause,
    InstallFailure,
    UvOutput,
    capitalize,
    parse_stderr,
    redact,
    shorten,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["UNREACHABLE", "Cause", "InstallFailure", "blamed", "classify", "redact", "warnings"]


def classify(rc: int, stderr: str) -> InstallFailure:
    """Explain why uv failed; `rc` is its exit status (negative, or above 128, if a signal ended it)."""
    output = parse_stderr(rc, stderr)
    for rule in _RULES:
        if re.search(rule.pattern, output.text if rule.anywhere else output.message):
            return _failure(output, rule)
    signal = -rc if rc < 0 else rc - 128 if rc > 128 else 0
    if signal:
        return _ended(output, signal)
    if "No solution found" in output.message or "unsatisfiable" in output.message:
        return unsolved(output)
    line = output.last or next((line for line in output.text.splitlines() if line.strip()), "no output")
    return InstallFailure(
        cause="other",
        sentence=f"uv failed with exit status {rc}{output.for_package}: {shorten(line)}.",
        hint="The full output of uv is in the run's install log.",
    )


def blamed(rc: int, stderr: str, names: Iterable[str]) -> tuple[str, ...]:
    """The packages among `names` (canonical) that uv's message mentions, in the given order."""
    mentioned = {canonicalize_name(name_) for name_ in _NAME.findall(parse_stderr(rc, stderr).message)}
    return tuple(name for name in dict.fromkeys(names) if name in mentioned)


_NAME = re.compile(r"(?<![A-Za-z0-9._/-])[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?(?![A-Za-z0-9_/-])")
"""A possible package name, which is not part of a URL or a path."""


def warnings(stderr: str) -> tuple[str, ...]:
    """The warnings of uv as sentences, for example about an extra that does not exist."""
    lines = dict.fromkeys(re.findall(r"^warning: (.+)$", redact(stderr), re.MULTILINE))
    return tuple(f"{line.replace('`', '').rstrip('. ')}." for line in lines)


@frozen
class _Rule:
    """A pattern for a cause, and its message; with `anywhere`, the output of a build is searched as well.

    `sentence` can contain {package}, {for_package} (the package in brackets, or nothing), {host} (of the index),
    {line} (uv's last line), {build_line} (the build's last line) and {group} (the group of the pattern).
    """

    cause: Cause
    pattern: str
    sentence: str
    hint: str
    retryable: bool = False
    anywhere: bool = False


_RULES = (
    _Rule(
        cause="memory",
        # uv panics with EAGAIN (WouldBlock) if there is no memory for a thread.
        pattern=r"memory allocation of \d+ bytes failed|os error 12\b"
        r"|failed to spawn thread|can't spawn worker thread|global rayon pool|kind: WouldBlock\b",
        sentence="Not enough memory to install {package}.",
        hint="Request more memory (--memory 4Gi, --set install_memory=...), or install fewer packages.",
        anywhere=True,
    ),
    _Rule(
        cause="disk",
        pattern=r"os error 27\b|File too large",
        sentence="Installing {package} exceeded the maximum file size.",
        hint="Allow more disk space (--resources disk=10Gi, --set install_disk=...), or install fewer packages.",
        anywhere=True,
    ),
    _Rule(
        cause="disk",
        pattern=r"os error (?:28|112|122)\b|No space left on device|Disk quota exceeded",
        sentence="The disk is full: {package} could not be installed.",
        hint="Free some space, for example with `uv cache prune`, or request more (--resources disk=10Gi).",
        anywhere=True,
    ),
    _Rule(
        cause="other",
        # "there" was the text of earlier versions.
        pattern=r"error: uv could not be (?:installed (?:there|in the pod)|started)",
        sentence="The image has no uv: {line}.",
        hint=(
            "Use an image with uv (--set image=IMAGE), install uv first with the image's pip (--set shape=runtime), "
            "or install from another image (--set shape=init)."
        ),
    ),
    _Rule(
        cause="other",
        pattern=r"error: the environment .+ is in use by",
        sentence="{line}.",
        hint="Wait for that run or stop it, or use another environment (--set venv=PATH).",
    ),
    _Rule(
        cause="other",
        pattern=r"error: the environment .+ cannot be created",
        sentence="{line}.",
        hint="Give this user write access to its folder, or choose another path (--set venv=PATH).",
    ),
    _Rule(
        cause="other",
        pattern=r"error: the environment .+ was made for|error: .+ exists and is not an environment",
        sentence="{line}.",
        hint="Choose another path (--set venv=PATH), or leave it out for a new environment (--set env=persistent).",
    ),
    _Rule(
        cause="other",
        pattern=r"error: the environment \S+ was removed",
        sentence="{line}.",
        hint="Run the cell again.",
    ),
    _Rule(
        cause="permission",
        # The mount paths of the volumes for uv's cache and the environment store.
        pattern=r"/uv-argo-(?:cache|store)/.*Permission denied|Permission denied.*/uv-argo-(?:cache|store)/",
        sentence="Cannot write to the volume: {line}.",
        hint="Give the user of the pod (run_as_user, default: 1000) write access to it.",
    ),
    _Rule(
        cause="permission",
        pattern=r"os error (?:1|5|13|30)\b|Read-only file system|Permission denied",
        sentence="Permission denied during the install: {line}.",
        hint="Make uv's cache and the folder of the environment writable, or on this machine, set UV_CACHE_DIR to a "
        "writable folder.",
    ),
    _Rule(
        cause="integrity",
        pattern=r"Hash mismatch",
        sentence="Hash mismatch for {package}: its file has another SHA-256.",
        hint="Find the cause before you use it: a changed file on the index, a rewriting proxy, or a wrong --hash.",
    ),
    _Rule(
        cause="integrity",
        pattern=r"require-hashes",
        sentence="No pinned version and hash for {package}.",
        hint="Resolve again, so that every package has a version and a hash; git requirements cannot have one.",
    ),
    _Rule(
        cause="proxy",
        pattern=r"407 Proxy Authentication",
        sentence="The proxy requires authentication for {package}.",
        hint="Set HTTPS_PROXY with the proxy's credentials in uv's environment.",
    ),
    _Rule(
        cause="auth",
        pattern=r"\(401 Unauthorized\)|lack of valid authentication",
        sentence="{host} requires authentication for {package} (401).",
        hint="Set UV_INDEX_<NAME>_USERNAME and _PASSWORD in uv's environment, or use a .netrc file.",
    ),
    _Rule(
        cause="auth",
        pattern=r"\(?403 Forbidden",
        sentence="{host} denied access to {package} (403).",
        hint="Check the index URL, that the credentials may read this package, and that no firewall blocks it.",
    ),
    _Rule(
        cause="portal",
        pattern=r"Unsupported `Content-Type`",
        sentence="{host} returned a page that is not a package index for {package}.",
        hint="A captive portal or proxy may be in the way. Open the URL in a browser, and check the index URL.",
    ),
    _Rule(
        cause="git",
        pattern=r"Git operation failed|Git executable not found",
        sentence="Git failed for {package}: {build_line}.",
        hint="Git requirements have no hash and are not supported. Build a wheel and give its URL.",
    ),
    _Rule(
        cause="certificate",
        pattern=r"corrupt message of type InvalidContentType",
        sentence="{host} does not support HTTPS{for_package}.",
        hint="Check the index URL and the proxy; write http:// for an index without TLS.",
    ),
    _Rule(
        cause="certificate",
        pattern=r"invalid peer certificate|certificate verify|UnknownIssuer",
        sentence="The certificate of {host} is not trusted{for_package}.",
        hint="Behind a corporate proxy, set SSL_CERT_FILE to its CA bundle, or set UV_SYSTEM_CERTS=1.",
    ),
    _Rule(
        cause="network",
        pattern=r"dns error|failed to lookup address|resolving DNS",
        sentence="Could not look up the host name of {host}{for_package}.",
        hint="Check the network and the index URL. Without a network, install from the cache: --set offline=true.",
        retryable=True,
    ),
    _Rule(
        cause="network",
        pattern=r"429 Too Many Requests",
        sentence="Too many requests (429) to {host}{for_package}.",
        hint="Wait a minute and run the cell again.",
        retryable=True,
    ),
    _Rule(
        cause="network",
        pattern=r"HTTP status server error \((5\d\d[^)]*)\)",
        sentence="Server error from {host}: {group}{for_package}.",
        hint="Run the cell again later, or use another index: --set index_url=https://...",
        retryable=True,
    ),
    _Rule(
        cause="network",
        pattern=r"timed out",
        sentence="{host} timed out{for_package}.",
        hint="Run the cell again; for a slow index, raise UV_HTTP_TIMEOUT.",
        retryable=True,
    ),
    _Rule(
        cause="network",
        pattern=r"tcp connect error|Connection refused",
        sentence="Could not connect to {host}{for_package}.",
        hint="Check the network, the proxy and the index URL (--set index_url=https://...).",
        retryable=True,
    ),
    _Rule(
        cause="network",
        pattern=r"connection (?:error|closed|reset)|Connection reset|reading a body|decoding response body"
        r"|error sending request|Request failed after",
        sentence="The connection to {host} was interrupted{for_package}.",
        hint="Run the cell again.",
        retryable=True,
    ),
    _Rule(
        cause="offline",
        pattern=r"network was disabled|not found in the cache",
        sentence="{package} is not in uv's cache, and offline mode is on.",
        hint="Run once with --set offline=false to fill the cache, or add a wheel to a folder of find_links.",
    ),
    _Rule(
        cause="url",
        pattern=r"404 Not Found|Distribution not found at",
        sentence="File not found for {package} (404).",
        hint="Check the URL. If the file came from the index, it was removed: run the cell with --upgrade.",
    ),
    _Rule(
        cause="build",
        pattern=r"Failed to build|build backend returned|Failed to download and build",
        sentence="Could not build {package} from source: {build_line}.",
        hint="Use a version with a wheel for this Python and platform, or build a wheel and give its URL.",
    ),
    _Rule(
        cause="input",
        pattern=r"Failed to read `--find-links` \w+: (\S+)",
        sentence="{group} could not be read to find wheels.",
        hint="Check --set find_links=...: the folder or page must exist where the packages are installed.",
    ),
    _Rule(
        cause="other",
        pattern=r"os error (?:2|20)\b|No such file or directory",
        sentence="A file or folder was missing during the install: {line}.",
        hint="Another program may have removed it, for example `uv cache clean`. Run the cell again.",
    ),
    _Rule(
        cause="corrupt",
        pattern=r"central directory|Invalid zip|Failed to (?:read|extract|unpack)|invalid gzip|unexpected header",
        sentence="The file of {package} is corrupt.",
        hint="If it was downloaded, run `uv cache clean` for this package and try again. Else publish the file again.",
    ),
    _Rule(
        cause="input",
        pattern=r"Failed to parse|Couldn't parse|does not match `|File not found|Expected one of",
        sentence="uv could not read the requirements: {line}.",
        hint="Fix the requirement; write a name with a URL as `name @ https://...`.",
    ),
    _Rule(
        cause="input",
        pattern=r"invalid value '",
        sentence="Invalid setting: {line}.",
        hint="Fix the value in --set, %config or the [tool.uv] block.",
    ),
    _Rule(
        cause="input",
        pattern=r"unexpected argument|No virtual environment found|error: the argument '",
        sentence="This version of uv is not supported: {line}.",
        hint="Upgrade it: pip install --upgrade uv.",
    ),
    _Rule(
        cause="python",
        pattern=r"No interpreter found (?:for|at path) (.+?)(?= in (?:virtual|managed|search|system)|\n|$)",
        sentence="{group} was not found where uv runs.",
        hint="Use another Python with --python, or install it: uv python install 3.12.",
    ),
)


def _failure(output: UvOutput, rule: _Rule) -> InstallFailure:
    match = re.search(rule.pattern, output.text)
    values = {
        "package": output.package or "the packages",
        "for_package": output.for_package,
        "host": output.host,
        "line": shorten(output.last),
        "build_line": shorten(output.build_output[-1] if output.build_output else output.last),
        "group": match[1] if match and match.re.groups else "",
    }
    sentence = rule.sentence.format_map(values)
    return InstallFailure(
        cause=rule.cause,
        sentence=capitalize(sentence) if sentence.startswith("the ") else sentence,
        hint=rule.hint,
        retryable=rule.retryable,
    )


def _ended(output: UvOutput, signal: int) -> InstallFailure:
    """A signal ended uv, and no message explains why."""
    package = output.package or "the packages"
    if signal == 9:
        return InstallFailure(
            cause="killed",
            sentence=f"uv was killed while installing {package}, probably because memory ran out.",
            hint="Request more memory (--memory 4Gi), or install fewer packages.",
        )
    return InstallFailure(
        cause="killed",
        sentence=f"uv was terminated by signal {signal} while installing {package}.",
        hint="Run the cell again. If it keeps happening, upgrade uv: pip install --upgrade uv.",
    )
