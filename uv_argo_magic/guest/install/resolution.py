"""Resolve requirements where the cell runs, if the client could not."""

import hashlib
import json
import os
import re
import sys


def resolve(aside, lines, bounds, uv, run_uv):
    """Resolve the requirements `lines` with the constraints `bounds`; return (locked lines, uv's exit status)."""
    os.makedirs(aside, exist_ok=True)
    options = ["--no-deps"] if bounds["complete"] else []
    for kind in ("constraints", "overrides"):
        if bounds[kind]:
            options += ["--" + kind, os.path.join(aside, kind + ".txt")]
            with open(options[-1], "w", encoding="utf-8") as file:
                file.write("\n".join(bounds[kind]) + "\n")
    source, locked = os.path.join(aside, "requirements.in"), os.path.join(aside, "requirements.txt")
    with open(source, "w", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")
    code = run_uv(
        [uv, "pip", "compile", source, "-o", locked, "--python", sys.executable, "--generate-hashes", "--no-header"]
        + ["--no-annotate", "--no-progress", "--quiet"]
        + options
    )
    if code:
        return (), code
    with open(locked, encoding="utf-8") as file:
        text = file.read().replace("\\\n", " ")
    lines = (" ".join(line.split()) for line in text.split("\n") if line.strip())
    return tuple(_with_requested_hashes(line, bounds["hashes"]) for line in lines), 0


def _with_requested_hashes(line, hashes):
    """A locked line with only the hashes that its requirement allows; if none matches, the install fails."""
    parts = line.split(" ")
    requested = ["--hash=" + digest for digest in hashes.get(re.split(r"[=\[ ]", line)[0], ())]
    if not requested:
        return line
    matching = [part for part in parts if part in requested]
    return " ".join([part for part in parts if not part.startswith("--hash=")] + (matching or requested))


def key_of(lines):
    """The key of a tree whose requirements were resolved here."""
    text = json.dumps([sys.version_info[:2], sys.implementation.name, sys.platform, list(lines)])
    return hashlib.sha256(text.encode()).hexdigest()[:32]
