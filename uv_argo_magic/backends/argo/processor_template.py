"""What the WorkflowTemplate `python-processor-with-deps` runs: code and requirements of its parameters, nothing else.

Its text stands in the template (template_manifests.py) and runs in a pod, alone: it imports nothing of
ours, and is Python 3.8.

Rules:
- Parameters come as environment variables, so that neither a shell nor this program's own text ever holds them.
- Requirements by blanks, by commas, by lines or as a JSON list; both parameters mean their union. None: no install.
- Requirements reach uv in a file. What this cannot take apart is left to uv, which says what is wrong with it.
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
    """Where blanks and commas end."""
    found = BETWEEN.match(text, at)
    return found.end() if found else at


def requirements(text):
    """The requirements of a list, one each; the rest from what cannot be read on is the last."""
    if text.lstrip("\ufeff \t\r\n").startswith("["):
        try:
            found = json.loads(text.lstrip("\ufeff"))
            return [str(one) for one in found]
        except ValueError:
            return [text]
    text = re.sub(r"\\\r?\n", "", text.lstrip("\ufeff"))
    text = re.sub(r"(?:^|(?<=\s))#.*", "", text, flags=re.MULTILINE)
    found = []
    at = after(text, 0)
    while at < len(text):
        one = REQUIREMENT.match(text, at)
        end = one.end() if one else at
        next_one = after(text, end)
        if not one or (next_one == end and end < len(text)):
            return [*found, " ".join(text[at:].split())]
        found.append(" ".join(one.group().split()))
        at = next_one
    return found


def lines(dependencies, file):
    """The lines of one requirements file; none where nothing is asked for."""
    wanted = requirements(dependencies)
    if any(line.split("#")[0].strip() for line in file.splitlines()):
        wanted.append(file)
    return wanted


def run(command):
    """Run it to its end; its exit status, as a shell gives it."""
    code = subprocess.call(command)
    return 128 - code if code < 0 else code


def main():
    """Install what is asked for, if anything is, then run the code in place of this process."""
    code = os.environ.pop("PYTHON_CODE")
    wanted = lines(os.environ.pop("DEPENDENCIES"), os.environ.pop("REQUIREMENTS_FILE"))
    home = "/tmp/venv-" + os.environ.pop("WORKFLOW")
    python = sys.executable
    if wanted:
        python = os.path.join(home, "bin", "python")
        listed = home + ".txt"
        with open(listed, "w", encoding="utf-8") as file:
            file.write("\n".join(wanted) + "\n")
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
    # The pod's own working folder is /, which is read-only.
    work = home + "-work"
    os.makedirs(work, exist_ok=True)
    os.chdir(work)
    sys.stderr.flush()
    os.execv(python, [python, "-u", cell])


if __name__ == "__main__":
    main()
