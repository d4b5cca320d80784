"""Shell commands (`!command`, `x = !command` and `%%bash`), and the expansion of `$name` and `{expression}` in them."""

import os
import re
import string
import subprocess
import sys

_NAME = re.compile(r"\$(\$?)([A-Za-z_][\w.]*)(?=(?:[^']*'[^']*')*[^']*$)")
"""A name after a dollar sign that is not inside single quotes."""


def expand(text, names):
    """The text with `{expression}` and `$name` expanded; unchanged if one of them has no value."""
    try:
        return "".join(_expanded(text, names))
    except Exception:  # noqa: BLE001 - an error in the user's expression, or braces with another meaning
        return text


def _expanded(text, names):
    for literal, field, spec, conversion in string.Formatter().parse(text):
        at = 0
        for match in _NAME.finditer(literal):
            yield literal[at : match.start()]
            if match[1]:
                yield "$" + match[2]
            else:
                name, dot, attributes = match[2].partition(".")
                value = names[name]
                for attribute in attributes.split(".") if dot and attributes else ():
                    value = getattr(value, attribute)
                yield str(value)
            at = match.end()
        yield literal[at:]
        if field is not None:
            value = eval(field + (":" + spec if spec else ""), names)
            yield {"r": repr, "s": str, "a": ascii}.get(conversion, str)(value)


def _is_ours(stream):
    """Whether a stream is that of the process, so that commands can write to it directly."""
    try:
        return stream.fileno() in (1, 2)
    except (AttributeError, OSError, ValueError):
        return False


def run(command, text=None, streams=None):
    """Run a command and add its output to the cell's as it arrives; return the exit status.

    `command` is a line for the shell or a list; `text` is its input.
    """
    streams = streams or (sys.stdout, sys.stdout)
    direct = all(map(_is_ours, streams))
    for stream in streams:
        stream.flush()
    process = subprocess.Popen(
        command, shell=isinstance(command, str), executable=_executable(command),
        stdin=subprocess.DEVNULL if text is None else subprocess.PIPE,
        stdout=1 if direct else subprocess.PIPE,
        stderr=(1 if streams[0] is streams[1] else 2) if direct
        else subprocess.STDOUT if streams[0] is streams[1] else subprocess.PIPE,
    )  # fmt: skip
    try:
        out, err = process.communicate(None if text is None else text.encode())
    except KeyboardInterrupt:
        process.terminate()
        process.wait()
        raise
    for data, stream in ((out, streams[0]), (err, streams[1])):
        if data:
            stream.write(data.decode("utf-8", "replace"))
    return process.returncode


def _executable(command):
    shell = os.environ.get("SHELL")
    return shell if isinstance(command, str) and shell and os.path.exists(shell) else None


def output_of(command):
    """The output of a command, including standard error, and its exit status."""
    process = subprocess.run(
        command, shell=True, executable=_executable(command), stdin=subprocess.DEVNULL, check=False,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    return process.stdout.decode("utf-8", "replace"), process.returncode


class SList(list):
    """The lines of a command's output; `.n` and `.s` return them as text, `.p` as paths."""

    @property
    def l(self):  # noqa: E743 - the names are IPython's
        return self

    list = l

    @property
    def n(self):
        return "\n".join(self)

    nlstr = n

    @property
    def s(self):
        return " ".join(self)

    spstr = s

    @property
    def p(self):
        import pathlib

        return [pathlib.Path(line) for line in self if os.path.exists(line)]

    paths = p

    def grep(self, pattern, prune=False, field=None):
        """The lines that match a pattern or function, or with `prune`, all others."""
        matches = pattern if callable(pattern) else re.compile(pattern, re.IGNORECASE).search

        def text(line):
            return line if field is None else (line.split()[field : field + 1] or [""])[0]

        return SList(line for line in self if bool(matches(text(line))) != prune)

    def fields(self, *numbers):
        """The whitespace-separated fields of each line, or those with the numbers."""
        rows = [line.split() for line in self]
        if not numbers:
            return rows
        return SList(" ".join(row[number] for number in numbers if -len(row) <= number < len(row)) for row in rows)
