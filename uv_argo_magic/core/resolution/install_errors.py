"""What went wrong with an install, why, and what to do: one ordered table over what uv writes to its standard error.

Rules:
- Most certain cause first: a full disk is a full disk, whatever uv was doing when it met it.
- Only uv's own words decide; but memory and disk are as real in a build that ran out of them.
- Every sentence names the package where uv names one, and shows no user name, password or query of any URL.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from packaging.utils import canonicalize_name

from uv_argo_magic.core.resolution.conflicts import suggest, unsolved
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

__all__ = ["UNREACHABLE", "Cause", "InstallFailure", "blamed", "classify", "redact", "suggest", "warnings"]


def classify(rc: int, stderr: str) -> InstallFailure:
    """What a failed uv meant; `rc` is its exit status (negative, or 128 and more: the signal that ended it)."""
    output = parse_stderr(rc, stderr)
    for rule in _RULES:
        if re.search(rule.pattern, output.text if rule.anywhere else output.message):
            return _failure(output, rule)
    signal = -rc if rc < 0 else rc - 128 if rc > 128 else 0
    if signal:
        return _ended(output, signal)
    if "No solution found" in output.message or "unsatisfiable" in output.message:
        return unsolved(output)
    line = output.last or next((line for line in output.text.splitlines() if line.strip()), "it said nothing")
    return InstallFailure(
        cause="other",
        sentence=f"uv failed with exit status {rc}{output.for_package}: {shorten(line)}.",
        hint="The full output of uv is kept in the run's install log.",
    )


def blamed(rc: int, stderr: str, names: Iterable[str]) -> tuple[str, ...]:
    """Of these packages (canonical names), those that uv's reason speaks of, in the order given."""
    mentioned = {canonicalize_name(name_) for name_ in _NAME.findall(parse_stderr(rc, stderr).message)}
    return tuple(name for name in dict.fromkeys(names) if name in mentioned)


_NAME = re.compile(r"(?<![A-Za-z0-9._/-])[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?(?![A-Za-z0-9_/-])")
"""What could be a package's name: not a part of a URL or a path."""


def warnings(stderr: str) -> tuple[str, ...]:
    """What uv warned of, as sentences: an extra that does not exist is a warning and no failure."""
    lines = dict.fromkeys(re.findall(r"^warning: (.+)$", redact(stderr), re.MULTILINE))
    return tuple(f"{line.replace('`', '').rstrip('. ')}." for line in lines)


@dataclass(frozen=True, kw_only=True)
class _Rule:
    """A cause and how it reads; `sentence` may name {what}, {about}, {host}, {line}, {printed} and {found}.

    They are the package, the same in brackets or nothing, the index's host, uv's last line, a build's last line, and
    the pattern's group. `anywhere` looks into what a build printed as well.
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
        pattern=r"memory allocation of \d+ bytes failed|failed to spawn thread|global rayon pool|os error 12\b",
        sentence="There was not enough memory to install {what}.",
        hint="Give the install more memory (--resources memory=4Gi, --set install_memory=...), or ask for less.",
        anywhere=True,
    ),
    _Rule(
        cause="disk",
        pattern=r"os error 27\b|File too large",
        sentence="Installing {what} would write a file larger than is allowed there.",
        hint="Allow more disk (--resources disk=10Gi, --set install_disk=...), or ask for fewer packages.",
        anywhere=True,
    ),
    _Rule(
        cause="disk",
        pattern=r"os error (?:28|112|122)\b|No space left on device|Disk quota exceeded",
        sentence="The disk is full: {what} could not be installed.",
        hint="Free some space (`uv cache prune` helps), or ask for more (--resources disk=10Gi).",
        anywhere=True,
    ),
    _Rule(
        cause="other",
        pattern=r"error: uv could not be (?:installed there|started)",
        sentence="There is no uv in that image: {line}.",
        hint=(
            "Choose an image with uv (--set image=IMAGE), have it installed first by the image's pip "
            "(--set shape=runtime), or let another image install (--set shape=init)."
        ),
    ),
    _Rule(
        cause="permission",
        pattern=r"os error (?:1|5|13|30)\b|Read-only file system|Permission denied",
        sentence="The install may not write there: {line}.",
        hint="Make uv's cache and the folder of environments writable, or set UV_CACHE_DIR to one that is.",
    ),
    _Rule(
        cause="integrity",
        pattern=r"Hash mismatch",
        sentence="The file of {what} is not the one that was asked for: its SHA-256 differs.",
        hint="Find out why before you use it: a changed file on the index, a proxy that rewrites, or a wrong --hash.",
    ),
    _Rule(
        cause="integrity",
        pattern=r"require-hashes",
        sentence="There is no pinned version and hash for {what}.",
        hint="Resolve again, so that every package has its version and hash; git requirements cannot have one.",
    ),
    _Rule(
        cause="proxy",
        pattern=r"407 Proxy Authentication",
        sentence="The proxy wants a login before it lets a request for {what} through.",
        hint="Put the proxy with its credentials into HTTPS_PROXY where uv runs.",
    ),
    _Rule(
        cause="auth",
        pattern=r"\(401 Unauthorized\)|lack of valid authentication",
        sentence="{host} asks who you are before it serves {what} (401).",
        hint="Give the index's credentials where uv runs: UV_INDEX_<NAME>_USERNAME and _PASSWORD, or a .netrc file.",
    ),
    _Rule(
        cause="auth",
        pattern=r"\(?403 Forbidden",
        sentence="{host} refuses to serve {what} (403).",
        hint="Check the index URL, that the credentials may read this package, and that no firewall blocks it.",
    ),
    _Rule(
        cause="portal",
        pattern=r"Unsupported `Content-Type`",
        sentence="{host} answered with a page that is no package index, when asked for {what}.",
        hint="A captive portal or proxy may be in the way: open the address in a browser, and check the index URL.",
    ),
    _Rule(
        cause="git",
        pattern=r"Git operation failed|Git executable not found",
        sentence="{what} comes from git, and git failed: {printed}.",
        hint="Git requirements have no hash and are not supported: build a wheel and give its URL.",
    ),
    _Rule(
        cause="certificate",
        pattern=r"corrupt message of type InvalidContentType",
        sentence="{host} does not speak https{about}.",
        hint="Check the index URL and the proxy; an index of plain http is written http://.",
    ),
    _Rule(
        cause="certificate",
        pattern=r"invalid peer certificate|certificate verify|UnknownIssuer",
        sentence="The certificate of {host} is not trusted{about}.",
        hint="Behind a company's proxy, set SSL_CERT_FILE to its CA bundle, or UV_SYSTEM_CERTS=1.",
    ),
    _Rule(
        cause="network",
        pattern=r"dns error|failed to lookup address|resolving DNS",
        sentence="The name of {host} could not be looked up{about}.",
        hint="Check the network and the index URL; without a network, --set offline=true uses what is cached.",
        retryable=True,
    ),
    _Rule(
        cause="network",
        pattern=r"429 Too Many Requests",
        sentence="{host} counts too many requests from here, 429{about}.",
        hint="Wait a minute and run the cell again.",
        retryable=True,
    ),
    _Rule(
        cause="network",
        pattern=r"HTTP status server error \((5\d\d[^)]*)\)",
        sentence="{host} has a problem of its own, {found}{about}.",
        hint="Run the cell again in a while, or use another index: --set index_url=https://...",
        retryable=True,
    ),
    _Rule(
        cause="network",
        pattern=r"timed out",
        sentence="{host} took too long to answer{about}.",
        hint="Run the cell again; a slow index may need UV_HTTP_TIMEOUT.",
        retryable=True,
    ),
    _Rule(
        cause="network",
        pattern=r"tcp connect error|Connection refused",
        sentence="{host} could not be reached{about}.",
        hint="Check the network, the proxy and the index URL (--set index_url=https://...).",
        retryable=True,
    ),
    _Rule(
        cause="network",
        pattern=r"connection (?:error|closed|reset)|Connection reset|reading a body|decoding response body"
        r"|error sending request|Request failed after",
        sentence="The connection to {host} broke off{about}.",
        hint="Run the cell again.",
        retryable=True,
    ),
    _Rule(
        cause="offline",
        pattern=r"network was disabled|not found in the cache",
        sentence="{what} is not in uv's cache, and the network is switched off.",
        hint="Run once with --set offline=false to fill the cache.",
    ),
    _Rule(
        cause="url",
        pattern=r"404 Not Found|Distribution not found at",
        sentence="There is no file at the address of {what} (404).",
        hint="Check the URL; if it came from the index, the file was removed: run the cell with --upgrade.",
    ),
    _Rule(
        cause="build",
        pattern=r"Failed to build|build backend returned|Failed to download and build",
        sentence="{what} could not be built from source: {printed}.",
        hint="Take a version that has a wheel for this Python and platform, or build a wheel and give its URL.",
    ),
    _Rule(
        cause="corrupt",
        pattern=r"central directory|Invalid zip|Failed to (?:read|extract|unpack)|invalid gzip|unexpected header",
        sentence="The file of {what} is damaged: it is no archive that can be read.",
        hint="If it was downloaded, run `uv cache clean` for this package and try again; else publish the file anew.",
    ),
    _Rule(
        cause="input",
        pattern=r"Failed to parse|Couldn't parse|does not match `|File not found|Expected one of",
        sentence="uv could not read the requirements: {line}.",
        hint="Correct the requirement; a name with a URL is written `name @ https://...`.",
    ),
    _Rule(
        cause="input",
        pattern=r"invalid value '",
        sentence="uv refuses a setting: {line}.",
        hint="Correct the value given with --set, %config or in the [tool.uv] block.",
    ),
    _Rule(
        cause="input",
        pattern=r"unexpected argument|No virtual environment found|error: the argument '",
        sentence="This uv cannot be called so: {line}.",
        hint="Update it: pip install --upgrade uv.",
    ),
    _Rule(
        cause="python",
        pattern=r"No interpreter found (?:for|at path) (.+?)(?= in (?:virtual|managed|search|system)|\n|$)",
        sentence="There is no {found} where uv ran.",
        hint="Choose one that is with --python, or get it: uv python install 3.12.",
    ),
)


def _failure(output: UvOutput, rule: _Rule) -> InstallFailure:
    match = re.search(rule.pattern, output.text)
    values = {
        "what": output.package or "the packages",
        "about": output.for_package,
        "host": output.host,
        "line": shorten(output.last),
        "printed": shorten(output.build_output[-1] if output.build_output else output.last),
        "found": match[1] if match and match.re.groups else "",
    }
    sentence = rule.sentence.format_map(values)
    return InstallFailure(
        cause=rule.cause,
        sentence=capitalize(sentence) if sentence.startswith("the ") else sentence,
        hint=rule.hint,
        retryable=rule.retryable,
    )


def _ended(output: UvOutput, signal: int) -> InstallFailure:
    """Uv was ended by a signal and said nothing of use."""
    package = output.package or "the packages"
    if signal == 9:
        return InstallFailure(
            cause="killed",
            sentence=f"uv was killed while it installed {package}, most likely for want of memory.",
            hint="Give the install more memory (--resources memory=4Gi), or ask for fewer packages.",
        )
    return InstallFailure(
        cause="killed",
        sentence=f"uv was ended by signal {signal} while it installed {package}.",
        hint="Run the cell again; if it happens every time, update uv: pip install --upgrade uv.",
    )
