"""`python -m pip` in the venv of a run: uv installs into this venv, and what the cell can import is listed.

An installed pip comes first on `sys.path`.
"""

import os
import subprocess
import sys
import tempfile

if __name__ != "__main__":
    raise ModuleNotFoundError("No module named 'pip'", name="pip")

IGNORED = {
    "-y", "--yes", "--no-input", "--user", "--disable-pip-version-check", "--no-warn-script-location",
    "--root-user-action=ignore",
}  # fmt: skip
"""Options that uv does not need."""


def packages():
    """The distributions on `sys.path` by name; the first of a name is the one that is imported."""
    from importlib import metadata

    found = {}  # type: dict
    for item in metadata.distributions():
        found.setdefault((item.metadata["Name"] or "").lower(), item)
    return [found[name] for name in sorted(found) if name]


def change(words):
    """Let uv install or uninstall packages. It reads only the venv, so versions in other folders are constraints."""
    others = [item for item in packages() if not str(item.locate_file("")).startswith(sys.prefix)]
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.writelines("%s==%s\n" % (item.metadata["Name"], item.version.split("+")[0]) for item in others)
        file.flush()
        if others and words[0] == "install":
            words += ["-c", file.name]
        try:
            return subprocess.call(["uv", "pip", *words], env=dict(os.environ, VIRTUAL_ENV=sys.prefix))
        except OSError:
            return "error: pip needs uv, which is not installed here. Add the packages to --deps."


def main(words):
    """Run a command of pip; return the exit status or an error."""
    words = [word for word in words if word not in IGNORED]
    command, options = words[0] if words else "help", words[1:]
    if command in ("install", "uninstall"):
        return change(words)
    if command in ("list", "freeze") and options in ([], ["--format=freeze"]):
        form = "%s==%s" if command == "freeze" or options else "%-30s %s"
        for item in packages():
            print(form % (item.metadata["Name"], item.version))
        return 0
    return "error: pip %s is not available under %%%%argo. Use uv pip, or add pip to --deps." % " ".join(words)


sys.exit(main(sys.argv[1:]))
