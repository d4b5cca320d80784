"""Explain why the requirements have no solution: uv's "Because ..., we can conclude that ..." in plain English.

Rule: the first explanation that fits is used. Definite causes (the name, the Python, the platform) come before
conflicts, which only the user can resolve.
"""

from __future__ import annotations

import re

from uv_argo_magic.core.requirements import import_names
from uv_argo_magic.core.resolution.uv_stderr import InstallFailure, UvOutput, capitalize, display_name, shorten


def unsolved(output: UvOutput) -> InstallFailure:
    """Explain why uv found no solution."""
    for explain in (_wrong_python, _wrong_name, _no_wheel, _unknown, _no_version):
        failure = explain(output)
        if failure:
            return failure
    another = "use another Python with --python, " if re.search("no (?:usable )?wheels", output.message) else ""
    return InstallFailure(
        cause="conflict",
        sentence=f"The requirements conflict: {shorten(_chain(output), 700)}.",
        hint=f"Loosen or remove one of them, {another}or run them in separate cells.",
    )


def _wrong_python(output: UvOutput) -> InstallFailure | None:
    match = re.search(r"Python version \(([^)]+)\) does not satisfy Python([^\s,]+)", output.message)
    if not match:
        return None
    depends = re.search(r"(?:and|[Bb]ecause) ([^\s,]+|all versions of [^\s,]+) depends? on Python", output.message)
    package = display_name(depends[1]) if depends else "A package"
    lower = re.search(r">=?(\d+\.\d+)", match[2])
    return InstallFailure(
        cause="python",
        sentence=f"{package} requires Python {match[2]}, but the cell runs on Python {match[1]}.",
        hint=f"Use another Python (--python {lower[1] if lower else '3.X'}), or another version of the package.",
    )


def _wrong_name(output: UvOutput) -> InstallFailure | None:
    """A standard library module, an import name or a misspelling, if the index has no usable package of that name."""
    match = re.search(
        r"(?:[Bb]ecause|and) (?:all versions of )?([^\s,]+?)(?:==[^\s,]+)? (?:(?:has|have) no |was not found in the )",
        output.message,
    )
    name = match[1] if match else ""
    requested = re.search(rf"you require {re.escape(name)}(?![\w.-])", output.message)
    if not name or not requested or _is_conflict(output):
        return None
    if import_names.in_standard_library(name):
        return InstallFailure(
            cause="unknown-package",
            sentence=f"{name} is part of Python's standard library and needs no package.",
            hint=f"Remove {name} from the requirements, and import it.",
        )
    package = import_names.right_name(import_names.canonical(name))
    if not package:
        return None
    is_import = import_names.canonical(name) in import_names.PACKAGE_OF
    return InstallFailure(
        cause="unknown-package",
        sentence=f"{name} is an import name; its package is {package}."
        if is_import
        else f"The package is called {package}, not {name}.",
        hint=f"Use {package} in the requirements{'; the import stays as it is' if is_import else ''}.",
    )


def _no_wheel(output: UvOutput) -> InstallFailure | None:
    match = re.search(
        r"(?:[Bb]ecause|and) ([^\s,]+|all versions of [^\s,]+|several versions of [^\s,]+) "
        r"(?:has|have) no (usable wheels|wheels with[^,(]*)",
        output.message,
    )
    if not match or _is_conflict(output):
        return None
    package = display_name(match[1])
    name = re.split(r"[=<>!~\[ ]", package)[0]
    hints = " ".join(output.hints).replace("`", "")
    for pattern, found_on in ((r"platforms?", "for "), (r"Python ABI tags?", "for Python ")):
        found = re.search(
            rf"[Ww]heels (?:are available )?for (\S+) \(v(\S+)\) (?:on|with) the following {pattern}: ([\w, ]+)", hints
        )
        items = [_python(tag) if "Python" in found_on else tag for tag in found[3].split(", ")] if found else []
        if found and all(items):
            return only_for(f"{found[1]} {found[2]}", found_on, items, is_python="Python" in found_on)
    if match[2] == "usable wheels":
        return InstallFailure(
            cause="platform",
            sentence=f"{package} has no wheel, and building from source is disabled.",
            hint="Use a version with a wheel, or allow builds (they run the package's code): --set only_binary=false.",
            package=name,
        )
    available = f"{capitalize(hints).rstrip('.')}. " if hints else ""
    return InstallFailure(
        cause="platform",
        sentence=f"{package} has no wheel for this Python and platform.",
        hint=f"{available}Use another version, or another Python with --python.",
    )


def only_for(package: str, found_on: str, items: list[str], *, is_python: bool) -> InstallFailure:
    """The failure of a package that has wheels only for other Pythons or platforms; `items` are sorted."""
    listed = f"{', '.join(items[:-1])} and {items[-1]}" if items[1:] else items[0]
    use = f"--python {items[-1]}" if is_python else "such a machine"
    return InstallFailure(
        cause="platform",
        sentence=f"{package} has wheels {found_on}{listed} only.",
        hint=f"Use {use}, or another version of the package.",
    )


def _python(tag: str) -> str:
    """The Python of an ABI tag: "3.10" for cp310, "" for any other tag."""
    match = re.fullmatch(r"cp(\d)(\d+)(t?)m?", tag.strip())
    return f"{match[1]}.{match[2]}{match[3]}" if match else ""


def _is_conflict(output: UvOutput) -> bool:
    """Whether the last step of uv's explanation is a dependency that contradicts another requirement."""
    conclusions = _conclusions(output)
    return bool(conclusions) and bool(re.search(r" depends? on |^you require ", conclusions[-1]))


def _conclusions(output: UvOutput) -> list[str]:
    """The conclusions in uv's explanation before the final step."""
    steps = re.split(r"\. And because ", _argument(output))[:-1]
    return [step.rpartition("we can conclude that ")[2] for step in steps]


def _argument(output: UvOutput) -> str:
    return " ".join(line.split(": ", 1)[1] for line in output.lines if line.startswith("cause: "))


def _unknown(output: UvOutput) -> InstallFailure | None:
    match = re.search(
        r"[Bb]ecause ([^\s,]+) was not found in the package registry(?: and ([^,]+?) depends? on)?", output.message
    )
    if not match:
        return None
    name = re.split(r"[=<>!~\[]", match[1])[0]
    dependent = f" (required by {display_name(match[2])})" if match[2] else ""
    suggestion = import_names.suggest(name)
    question = f"Did you mean {suggestion}? " if suggestion else ""
    return InstallFailure(
        cause="unknown-package",
        sentence=f"Package {name} was not found on the index{dependent}.",
        hint=f"{question}Check the name, the index URL and its credentials.",
    )


def _no_version(output: UvOutput) -> InstallFailure | None:
    """A version that does not exist. If a dependency is part of the explanation, it is a conflict."""
    if re.search(r"depends? on", output.message):
        return None
    cutoff = next((hint for hint in output.hints if "exclude-newer" in hint), "")
    if cutoff:
        before = re.search(r"before (\S+?)T", cutoff)
        date = f" before {before[1]}" if before else " early enough"
        newest = re.search(r"is v(\S+), published at (\S+?)T", cutoff)
        requirement = re.search(r"^`([^`]+)`", cutoff)
        return InstallFailure(
            cause="version",
            sentence=f"{requirement[1] if requirement else 'A package'} has no version published{date}.",
            hint=f"{f'Version {newest[1]} was published on {newest[2]}. ' if newest else ''}Use a later exclude_newer.",
        )
    yanked = re.search(r"(?:[Bb]ecause|and) (\S+) was yanked(?: \(reason: ([^)]*)\))?", output.message)
    if yanked:
        reason = f' ("{yanked[2]}")' if yanked[2] else ""
        return InstallFailure(
            cause="version",
            sentence=f"{display_name(yanked[1])} was yanked{reason}.",
            hint="Use another version, or pin this one with == to install it anyway.",
        )
    only = re.search(r"only (?:the following versions of )?([^,]+?) (?:is|are) available", output.message)
    absent = re.search(r"there (?:is|are) no versions? of ([^\s,]+)", output.message)
    if not absent and only:
        absent = re.search(r"you require ([^\s,]+)", output.message)
    if not absent:
        return None
    requested = absent[1]
    name = re.split(r"[=<>!~\[]", requested)[0]
    if requested == name:
        return InstallFailure(
            cause="version",
            sentence=f"There is no version of {name}.",
            hint="Check the name, and whether the index has files of this package.",
        )
    version = requested.removeprefix(name).removeprefix("==")
    return InstallFailure(
        cause="version",
        sentence=f"There is no version {version} of {name}.",
        hint=f"{f'The index has {only[1]}. ' if only else ''}Use {name} without a version to get the latest.",
    )


def _chain(output: UvOutput) -> str:
    """The premises of uv's explanation.

    A long explanation lists every version; for it, the last conclusion and the last premise are enough.
    """
    premises: list[str] = []
    for part in re.split(r"\b(?:And b|B)ecause ", _argument(output))[1:]:
        premise = re.split(r",? we can conclude that ", part)[0].strip(" .,")
        if not re.match(r"we know from \(|only the following versions", premise) and premise not in premises:
            premises.append(premise)
    conclusions = _conclusions(output)
    if len(premises) > 2 and conclusions and " depend" in conclusions[-1]:
        premises = [conclusions[-1], premises[-1]]
    if len(premises) > 4:
        premises = [*premises[:2], "and so on for other versions", premises[-1]]
    return "; ".join(premises) or output.last
