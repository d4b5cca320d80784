"""The parser of uv's standard error, and the class for the failures it explains.

Rules:
- The output of a build or of git is separated from uv's own messages, because a build can print "timed out" as well.
- uv's internal notation is simplified: `numpy{python_full_version < '3.14'}>=2` becomes numpy>=2.
- User names, passwords and queries of URLs are removed first, so that no other module sees them.
"""

from __future__ import annotations

import re
from typing import Literal, TypeAlias

from uv_argo_magic.core.frozen import frozen

Cause: TypeAlias = Literal[
    "memory", "disk", "killed", "permission", "integrity", "auth", "proxy", "portal", "certificate", "network",
    "offline", "git", "build", "url", "corrupt", "input", "python", "platform", "unknown-package", "version",
    "conflict", "other",
]  # fmt: skip

UNREACHABLE: frozenset[Cause] = frozenset({"network", "proxy", "portal", "certificate"})
"""Causes in the connection to the index rather than in the requirements."""


@frozen
class InstallFailure:
    """Why uv failed: one `sentence`, the next step as `hint`, and whether a retry can work.

    `blamed` are the requested packages that cause the failure, if known; `package` is the one without a wheel.
    """

    cause: Cause
    sentence: str
    hint: str
    retryable: bool = False
    blamed: tuple[str, ...] = ()
    package: str = ""

    @property
    def unreachable(self) -> bool:
        """Whether uv could not reach the index, which another machine may be able to reach."""
        return self.cause in UNREACHABLE


@frozen
class UvOutput:
    """The standard error of uv: the whole `text`, uv's own messages as `lines`, and the output of a build."""

    exit_status: int
    text: str
    lines: tuple[str, ...]
    build_output: tuple[str, ...]

    @property
    def message(self) -> str:
        return "\n".join(self.lines)

    @property
    def last(self) -> str:
        """The text of the last `cause:`, or of the `error:`."""
        messages = [line.split(": ", 1)[1] for line in self.lines if line.startswith(("error: ", "cause: "))]
        return messages[-1].rstrip(". ") if messages else ""

    @property
    def hints(self) -> tuple[str, ...]:
        return tuple(line.removeprefix("hint: ") for line in self.lines if line.startswith("hint: "))

    @property
    def package(self) -> str:
        """The package that the error is about ("alpha 1.0"), or ""."""
        for pattern in _SUBJECTS:
            match = pattern.search(self.message)
            if match:
                return display_name(match[1])
        return ""

    @property
    def for_package(self) -> str:
        """The package as " (for alpha 1.0)", or ""."""
        return f" (for {self.package})" if self.package else ""

    @property
    def host(self) -> str:
        match = re.search(r"https?://([^\s/`)'\"]+)", self.message)
        return match[1] if match else "the package index"


_SUBJECTS = tuple(
    re.compile(pattern)
    for pattern in (
        r"Failed to (?:download and build|download|build|read|install|prepare|extract)[^`\n]*`([^`]+)`",
        r"Failed to install: \S+ \(([^)]+)\)",
        r"Failed to install: ([A-Za-z0-9_.]+-[0-9][^-\s]*)-\S+\.whl",
        r"Hash mismatch for `([^`]+)`",
        r"provided for: (\S+)",
        r"but found: (\S+)",
        r"Requested package name `([^`]+)`",
        r"(?:https?|file)://\S+/([A-Za-z0-9_.]+-[0-9][^-\s/]*)-[^\s/]+\.whl",
        r"https?://\S+/([A-Za-z0-9][A-Za-z0-9._-]*)/[\s`)]",
        r"https?://\S+/([A-Za-z0-9][A-Za-z0-9._-]*)/$",
        r"Because (?:all versions of )?(\S+) (?:was|were) not found",
        r"[Bb]ecause (\S+) (?:was not found in the cache|has no )",
        r"and you require (\S+?)(?:,| and|$)",
    )
)


def redact(text: str) -> str:
    """`text` without the user names, passwords and queries of the URLs in it."""
    text = re.sub(r"://[^\s/`'\"]*@", "://", text)
    return re.sub(r"(://[^\s?`'\")]+)\?[^\s`'\")]+", r"\1", text)


def parse_stderr(exit_status: int, stderr: str) -> UvOutput:
    """Split uv's own messages, from the last `error:` on, from the output of a build or of git."""
    text = redact(re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", stderr).replace("\r", "\n"))
    rows = [_plain(row) for row in text.splitlines()]
    start = max((i for i, row in enumerate(rows) if row.startswith("error: ")), default=0)
    lines: list[str] = []
    printed: list[str] = []
    block = False
    for row in rows[start:]:
        plain = row.strip()
        if re.match(r"(?:error|  cause|hint|warning): ?", row):
            block = False
            lines.append(plain)
        elif re.match(r"\s+(?:\[std(?:out|err)\]|--- std(?:out|err))$", row):
            block = True
        elif block:
            printed += [plain] if plain else []
        elif plain and lines and row.startswith(" "):
            lines[-1] += f" {plain}"
        elif plain:
            lines.append(plain)
    return UvOutput(exit_status=exit_status, text=text, lines=tuple(map(_readable, lines)), build_output=tuple(printed))


def _readable(line: str) -> str:
    """The line without markers in braces and without long lists of versions of a package."""
    line = re.sub(r"(?<=[\w\]])\{[^{}]*\}", "", line)
    return re.sub(
        r"all of: ([A-Za-z0-9._-]+?)(?:[=<>!~]\S+)?(?: \1[=<>!~]\S+)+(?= (?:has|have|depends?|cannot|are)\b)",
        r"several versions of \1",
        line,
    )


def _plain(row: str) -> str:
    """A line in the format of uv 0.13; uv 0.9 and 0.11 drew a frame around errors, and wrote "Caused by"."""
    for pattern, plain in _FRAMES:
        row = re.sub(pattern, plain, row)
    return row


_FRAMES = (
    (r"^  \u00d7 ", "error: "),
    (r"^  [├╰]─▶ ", "  cause: "),
    (r"^  │ ?", "    "),
    (r"^  Caused by: ", "  cause: "),
    (r"^ {6}hint: ", "hint: "),
)


def display_name(spec: str) -> str:
    """A requirement for a message: "alpha 1.0" for alpha==1.0 and alpha-1.0, "alpha (URL)" for alpha @ URL."""
    spec = re.sub(r"^(?:all|several) versions of ", "", spec)
    name, at, url = spec.partition(" @ ")
    if at:
        return f"{name} ({url})"
    spec = re.sub(r"^([A-Za-z0-9_.]+)-(\d[^-]*)$", r"\1 \2", spec)
    return spec.replace("==", " ")


def shorten(text: str, limit: int = 300) -> str:
    text = " ".join(text.split()).rstrip(". ")
    return text if len(text) <= limit else f"{text[:limit].rstrip()}..."


def capitalize(text: str) -> str:
    return text[:1].upper() + text[1:]
