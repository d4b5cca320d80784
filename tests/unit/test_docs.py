"""The documentation is complete: its links are valid, and it names every setting, command, rule and record."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args, get_type_hints

from support.cases import each

from uv_argo_magic.core.commands import table
from uv_argo_magic.core.policy import rules
from uv_argo_magic.core.protocol import events, log_reader
from uv_argo_magic.core.requirements import import_names
from uv_argo_magic.core.spec import settings_parser
from uv_argo_magic.guest import values
from uv_argo_magic.guest_values import libraries

ROOT = Path(__file__).parent.parent.parent
PAGES = (*sorted(ROOT.glob("*.md")), *sorted(ROOT.glob("docs/*.md")))
LINK = re.compile(r"(?:\]\(|(?:src|srcset)=\")([^)\"\s]+)[)\"]")


def without_code(page: str) -> str:
    return re.sub(r"```.*?```|`[^`\n]*`|^ {4}.*?$", "", page, flags=re.DOTALL | re.MULTILINE)


def test_paths_in_contributing_exist():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    paths = {path for path in re.findall(r"`([\w.*/-]+)`", text) if "/" in path or path.endswith(".py")}
    folders = (ROOT, ROOT / "uv_argo_magic", ROOT / "uv_argo_magic" / "core" / "policy", ROOT / "tests")
    missing = {path for path in paths if not any(next(folder.glob(path), None) for folder in folders)}
    assert missing <= {"test-artifacts/"}  # written by tests


def anchors(page: str) -> set[str]:
    """The anchors of the headings on GitHub."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"```.*?```", "", page, flags=re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def links() -> list[tuple[Path, str]]:
    return [
        (path, link)
        for path in PAGES
        for link in LINK.findall(without_code(path.read_text(encoding="utf-8")))
        if "://" not in link
    ]


@each(("path", "link"), links())
def test_links_are_valid(path, link):
    name, _, anchor = link.partition("#")
    target = path.parent / name if name else path
    assert target.exists()
    if anchor:
        assert anchor in anchors(target.read_text(encoding="utf-8"))


def test_every_page_is_linked():
    linked = {(path.parent / link.partition("#")[0]).resolve() for path, link in links()}
    assert [page.name for page in PAGES if page.parent.name == "docs" and page.resolve() not in linked] == []


EXAMPLE = re.compile(r"^( *)%%argo\b(.*)\n((?:\1.+\n)*)", re.MULTILINE)
IMPORT = re.compile(r"^ *(?:import |from |%(?=matplotlib))([\w.]+)", re.MULTILINE)


def examples() -> list[tuple[str, str, str]]:
    """The cells with imports: (page, options of %%argo, code)."""
    found = [
        (path.name, match[2], match[3])
        for path in PAGES
        for match in EXAMPLE.finditer(path.read_text(encoding="utf-8"))
    ]
    return [example for example in found if IMPORT.search(example[2])]


@each(("page", "options", "code"), examples())
def test_imports_of_an_example_are_among_its_requirements(page, options, code):
    del page
    deps = re.search(r"--deps (\"[^\"]*\"|\S+)", options)
    given = re.findall(r"[\w-]+", deps[1]) if deps else []
    for name in IMPORT.findall(code):
        assert import_names.in_standard_library(name) or import_names.package_of(name) in given


def row(page: str, name: str) -> str:
    """The row of a table whose first cell has this name."""
    return next(line for line in page.splitlines() if re.match(rf"\| (?:`\w+`, )*`{name}`", line))


def test_protocol_page_has_every_record_reason_and_tag():
    page = (ROOT / "docs" / "protocol.md").read_text(encoding="utf-8")
    for kind in log_reader.KINDS:
        text, fields = row(page, kind), log_reader._fields(kind)
        assert [key for _, key, _, _ in fields if key not in ("b", "n", "t") and f"`{key}`" not in text] == []
    reasons = page.partition("| reason |")[2].partition("##")[0]
    assert set(re.findall(r"^\| `(\w+)`", reasons, re.MULTILINE)) == set(
        get_args(get_type_hints(events.Exited)["reason"])
    )
    libraries.load()
    tags = page.partition("| tag |")[2].partition("##")[0]
    assert set(re.findall(r"`([\w.]+)`", "".join(re.findall(r"^\| (`[^|]*)\|", tags, re.MULTILINE)))) == {
        *values._READERS, *libraries.READERS, "buffer", "sealed",
    }  # fmt: skip


def test_every_setting_is_documented():
    text = "".join(path.read_text(encoding="utf-8") for path in PAGES)
    assert [name for name in settings_parser.FIELDS if not re.search(rf"\b{name}\b[`=]", text)] == []


def test_every_command_and_option_is_documented():
    text = "".join(path.read_text(encoding="utf-8") for path in PAGES)
    assert [command.name for command in table.COMMANDS if not re.search(rf"\b{command.name}\b", text)] == []
    assert [option.flags[-1] for option in table.CELL.options if option.flags[-1] not in text] == []


def test_every_policy_rule_is_documented():
    page = (ROOT / "docs" / "policy.md").read_text(encoding="utf-8")
    documented = set()
    section = ""
    for line in page.splitlines():
        if heading := re.match(r"### `\[(\w+)\]`", line):
            section = heading[1]
        elif section and (cells := re.match(r"\| ((?:`[\w.]+`(?:, )?)+) \|", line)):
            documented |= {name if "." in name else f"{section}.{name}" for name in re.findall(r"`([\w.]+)`", cells[1])}
    assert documented == set(rules.RULES)


def test_every_threat_has_a_test_or_is_marked_as_not_stopped():
    page = (ROOT / "docs" / "security.md").read_text(encoding="utf-8").partition("## Threats")[2]
    rows = [line.split(" | ") for line in page.splitlines() if line.startswith("| ") and "| attempt |" not in line]
    assert len(rows) > 30
    for attempt, stop, test, remains in rows:
        names = re.findall(r"`([\w/.]+)`", test)
        assert [name for name in names if not (ROOT / "tests" / name).exists()] == [], attempt
        assert names or "not stopped" in f"{stop}{remains}", attempt
