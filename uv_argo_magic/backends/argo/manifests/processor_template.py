"""The program of the WorkflowTemplate `python-processor-with-deps`: it installs requirements, then runs the code.

The template contains its source (template_manifests.py). It runs alone in a pod, so it imports nothing of this
package, and supports Python 3.8.

Rules:
- Parameters are environment variables, so that they are never part of a shell line or of this source.
- Requirements are separated by spaces, commas or lines, or are a JSON list; those of both parameters are installed.
- uv reads requirements from a file. Text that cannot be split is passed to uv, which reports the problem.
"""

import json
import os
import re
import subprocess
import sys

NAME = r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?"
COMPARES = r"(?:===|==|~=|!=|<=|>=|<|>)"
CLAUSE = COMPARES + r"\s*[A-Za-z0-9.*+!_-]+"
VERSIONS = CLAUSE + r"(?:\s*,\s*" + CLAUSE + ")*"
TERM = r"(?:[a-z_.]+|'[^']*'|\"[^\"]*\")"
ATOM = r"[\s(]*" + TERM + r"\s*(?:" + COMPARES + r"|not\s+in|in)\s*" + TERM + r"(?:\s*\))*"
MARKER = r"[ \t]*;\s*" + ATOM + r"(?:\s*(?:and|or)\b" + ATOM + ")*"
REQUIREMENT = re.compile(
    NAME + r"(?:[ \t]*\[[^\]]*\])?"
    r"(?:[ \t]*@[ \t]*\S+?(?=,?(?:\s|$))(?:[ \t]" + MARKER + ")?"
    r"|(?:[ \t]*\(\s*" + VERSIONS + r"\s*\)|[ \t]*" + VERSIONS + ")?(?:" + MARKER + ")?)"
)
BETWEEN = re.compile(r"[\s,]*")


def after(text, at):
    """The index after spaces and commas."""
    match = BETWEEN.match(text, at)
    return match.end() if match else at


def requirements(text):
    """Split a list of requirements; text from the first invalid one on becomes the last item."""
    if text.lstrip("\ufeff \t\r\n").startswith("["):
        try:
            items = json.loads(text.lstrip("\ufeff"))
            return [str(item) for item in items]
        except ValueError:
            return [text]
    text = re.sub(r"\\\r?\n", "", text.lstrip("\ufeff"))
    text = re.sub(r"(?:^|(?<=\s))#.*", "", text, flags=re.MULTILINE)
    items = []
    at = after(text, 0)
    while at < len(text):
        match = REQUIREMENT.match(text, at)
        end = match.end() if match else at
        following = after(text, end)
        if not match or (following == end and end < len(text)):
            return [*items, " ".join(text[at:].split())]
        items.append(" ".join(match.group().split()))
        at = following
    return items


def lines(dependencies, file):
    """The lines of a requirements file that combines both parameters; may be empty."""
    all_lines = requirements(dependencies)
    if any(line.split("#")[0].strip() for line in file.splitlines()):
        all_lines.append(file)
    return all_lines


def run(command):
    """Run a command to its end, and return its exit status as in a shell."""
    code = subprocess.call(command)
    return 128 - code if code < 0 else code


def main():
    """Install the requirements, if there are any, then run the code in place of this process."""
    code = os.environ.pop("PYTHON_CODE")
    required = lines(os.environ.pop("DEPENDENCIES"), os.environ.pop("REQUIREMENTS_FILE"))
    home = "/tmp/venv-" + os.environ.pop("WORKFLOW")
    python = sys.executable
    if required:
        python = os.path.join(home, "bin", "python")
        listed = home + ".txt"
        with open(listed, "w", encoding="utf-8") as file:
            file.write("\n".join(required) + "\n")
        for command in (
            ["uv", "venv", "--quiet", "--clear", "--python", sys.executable, home],
            ["uv", "pip", "install", "--python", python, "-r", listed],
        ):
            failed = run(command)
            if failed:
                sys.stderr.write("The packages could not be installed; the code did not run.\n")
                sys.exit(failed)
    cell = home + ".py"
    with open(cell, "w", encoding="utf-8", newline="") as file:
        file.write(code)
    # The working folder of the pod is /, which is read-only.
    work = home + "-work"
    os.makedirs(work, exist_ok=True)
    os.chdir(work)
    sys.stderr.flush()
    os.execv(python, [python, "-u", cell])


if __name__ == "__main__":
    main()
