"""Plain English: none of these phrases in documentation, messages, docstrings, comments or names of tests."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import TYPE_CHECKING

from support.cases import each

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parent.parent.parent
DOCUMENTS = (
    *sorted(ROOT.glob("*.md")),
    *sorted(ROOT.glob("docs/*.md")),
    *sorted(ROOT.glob("deploy/**/*.yaml")),
    ROOT / "containers" / "Containerfile",
)
MODULES = tuple(sorted(ROOT.glob("uv_argo_magic/**/*.py")))
TEST_MODULES = tuple(sorted(ROOT.glob("tests/**/*.py")))
GENERATED = "# Generated from "
"""First line of manifests that are generated from a module, where their texts are checked."""

_PROGRAM = (
    "(?:uv|pip|Argo|Kubernetes|kubelet|pod|guest|runner|server|API|index|image|kernel|backend|controller|log|program)"
)
PHRASES = {
    r"\b(?:nobody|somebody|anybody|everybody|whoever)\b": "name the actor: you, the user, an administrator, anyone who",
    rf"\b{_PROGRAM}(?: itself)? (?:says|said|tells|told|speaks|thinks|wishes)\b": "programs print, report, return",
    r"\bsaid\b": "programs print or report; people write or set",
    r"\bsays? (?:nothing|something|more|otherwise)\b": "is set, is given, is not set",
    r"\b(?:is|are|was|were|be|been) told\b(?! from| apart)": "receives, gets, is given",
    rf"\b{_PROGRAM} (?:is|are|was|were) asked\b": "name what happens: is inspected, is queried, resolves",
    r"(?<!there\s)\b(?:is|are|was|were) no (?!longer\b|more\b|less\b|later\b|better\b|matter\b)": "is not a",
    r"(?<!there\s)\b(?:is|are|was|were) (?-i:none)\b(?! of)": "is invalid, is not one",
    r"\b(?:has|have|had|knows?|does|do) (?:it|them|this|that) not\b": "does not have it",
    r"\b(?:has|have) not(?=[.,;:)])": "does not, does not have",
    r"\bas (?:the|its|a|an|each) \w+ (?:has|have|says) (?:it|them)\b": "as in, according to",
    r"\bover there\b": "in the pod, on the cluster, on the backend",
    r"\b(?:the|its|another|their|such a|what) place\b": "backend, location, source; instead of",
    r"\bplaces? (?:is|are|has|says|told|tells)\b": "backend, location, source",
    r"\bbeneath\b": "under, in the image",
    r"\b(?:run|base|packages?|environments?) of (?:its|their|one's) own\b": "separate, preinstalled",
    r"\b(?:kept|stays?|installs?|installed|made) apart\b": "separately",
    r"\banew\b": "again",
    r"\b(?:stop|stops|stopped|end|ends|ended) [^.;]{0,30}\bby hand\b": "manually",
    r"\b(?:lies|lie|lay) (?:in|at|on|beside|below|above|under|there|here|behind)\b": "is in, is stored in",
    r"\bstands? (?:above|below|beside|there|here|behind|in (?!for\b|the way\b))": "is in, is above, is below",
    r"\bwhat is (?:kept|there|wanted|asked|named|made|known|shown|seen|sent|meant|found|told|written)\b": "name it",
    r"\bwhat (?:came|comes|becomes|became) of\b": "the result of",
    r"\bwithout a word\b": "silently, without a message",
    r"\b(?:never|not|cannot) travel\b|\btravelled\b": "cannot be sent, is omitted",
    r"\bmend(?:s|ed)?\b": "fix",
    r"\bto bear\b|\bmade fit\b": "tolerate; adapt to",
    r"\bblanks\b|\ba blank\b(?! line)": "space",
    r"\bat one time\b": "at a time",
    r"\b(?:wherein|whereof|therein|thereof|hereof)\b": "where, of which",
    r"(?<!<)(?<!,\s)\bverb\b|\bverbs (?:that|of|for|are|in)\b": "command (a verb is a term of Kubernetes' RBAC)",
    r"\b(?:rooms|inhabitants|doors?)\b": "packages, layers, clients",
    r"\b(?:that|which) (?:is|are) there\b": "existing, that exists",
    r"\bseen there\b|\bfrom there\b": "name where",
    r"\bby its nature\b": "say why",
    r"\bfor ever\b": "forever",
    r"(?<!\*)\byou may (?:not )?(?:list|read|create|get|watch|patch|delete)\b": "you can, you cannot",
    r"\b(?:run|cell|workflow)s? goes on\b": "continues",
    r"\bin line (?:\d|\{)": "on line",
    r"\b(?:an empty|a plain) text\b|\b(?:list|pair) of texts\b|\btwo texts\b": "string, strings",
    r"\bbeside (?:the|a|its) notebook\b": "next to the notebook",
    r"\b(?:go|goes|went) on\b": "continue, continues",
    r"\btravels?\b": "is sent",
    r"\b(?:do|does|did) not answer\b": "does not respond",
    r"\b(?:index|API|server|cluster|worker) answers\b": "responds",
    r"\bNone where\b": "None if",
    r"\b(?:users?|cells?|runs?) may not\b": "is not allowed to, cannot",
    r"\b(?:allow|forbid|enable|permit)s? to\b": "allow doing, let someone do",
    r"\blocation (?:a|an|there|it|you|they)\b": "where (or a word is missing)",
}
"""Phrase -> what to write instead."""
NAME_PATTERN = re.compile(r"^test (?:an?|the|what|who|whoever|whatever|where|it) ")
"""Beginnings of test names that do not name a subject."""
_PATTERNS = {re.compile(phrase.replace(" ", r"\s+"), re.IGNORECASE): advice for phrase, advice in PHRASES.items()}
_ANY = re.compile(
    r"\b(?:" + "|".join(phrase.removeprefix(r"\b").replace(" ", r"\s+") for phrase in PHRASES).lower() + ")"
)
"""Any of them, in lower case: one search is enough for a text without them."""


def problems(text: str, first_line: int = 1) -> Iterator[str]:
    """The phrases in a text, with line and advice."""
    if not _ANY.search(text.lower()):
        return
    for pattern, advice in _PATTERNS.items():
        for match in pattern.finditer(text):
            line = first_line + text.count("\n", 0, match.start())
            context = text[max(0, match.start() - 40) : match.end() + 40]
            yield f"line {line}: {match[0]!r} (better: {advice}) in ...{' '.join(context.split())}..."


def may_have_problems(source: str) -> bool:
    """Whether a phrase is anywhere in a module, including its code and strings on several lines."""
    text = re.sub(r'"\s*\n\s*[rf]{0,2}"', "", source).replace("\\n", "\n").replace("is None", "is. None")
    return bool(_ANY.search(text.lower()))


def prose(text: str) -> str:
    """The text of a page or message without code, links and comments, with the same line numbers."""
    text = re.sub(r"```.*?```|<!--.*?-->", lambda match: "\n" * match[0].count("\n"), text, flags=re.DOTALL)
    text = re.sub(r"<code>.*?</code>|``.*?``|`[^`\n]*`|\]\([^)]*\)|https?://\S+", "`", text)
    return re.sub(r"^(?: {4}|\t).*$", "", text, flags=re.MULTILINE)


def document_problems(path: Path) -> list[str]:
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".md":
        return list(problems(prose(text)))
    return [] if text.startswith(GENERATED) else list(problems(text))


def module_texts(source: str) -> Iterator[tuple[int, str]]:
    """(first line, text) of every string, f-string, docstring and comment; a `#` in a string counts as a comment."""
    parts: set[int] = set()
    for node in ast.walk(ast.parse(source)):  # an f-string comes before its parts
        if isinstance(node, ast.JoinedStr):
            parts.update(id(part) for part in ast.walk(node))
            yield node.lineno, "".join(part.value if isinstance(part, ast.Constant) else "{}" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in parts:
            yield node.lineno, node.value
    for number, line in enumerate(source.split("\n"), 1):
        if "#" in line:
            yield number, line[line.index("#") :]


def module_problems(path: Path) -> list[str]:
    source = path.read_text(encoding="utf-8")
    if not may_have_problems(source):  # parsing takes much longer
        return []
    return [
        problem
        for line, text in module_texts(source)
        if " " in text
        for problem in problems(re.sub(r"``.*?``|`[^`\n]*`", "`", text), line)
    ]


_NAME = re.compile(r"^ *(?:async )?(?:def|class) (\w+)", re.MULTILINE)
_DOCSTRING = re.compile(r'^ *"""(.*?)"""', re.MULTILINE | re.DOTALL)
_COMMENT = re.compile(r"(?:^|\s)# (.*)")


def texts_of_tests(source: str) -> Iterator[tuple[int, str]]:
    """(line, text) of the names, docstrings and comments of a test module; a name has spaces for underscores.

    Regular expressions take a tenth of the time of `ast` and `tokenize`. A string that looks like a comment counts.
    """
    for pattern in (_NAME, _DOCSTRING, _COMMENT):
        for match in pattern.finditer(source):
            text = match[1].replace("_", " ") if pattern is _NAME else match[1]
            yield source.count("\n", 0, match.start(1)) + 1, text


def problems_of_tests(source: str) -> list[str]:
    texts = [(line, re.sub(r"``.*?``|`[^`\n]*`", "`", text)) for line, text in texts_of_tests(source)]
    subjects = [f"line {line}: {text!r} (better: name the subject)" for line, text in texts if NAME_PATTERN.match(text)]
    return subjects + [problem for line, text in texts for problem in problems(text, line)]


@each("path", DOCUMENTS)
def test_documents_are_plain_english(path):
    assert document_problems(path) == []


@each("path", MODULES)
def test_strings_docstrings_and_comments_are_plain_english(path):
    assert module_problems(path) == []


@each("path", TEST_MODULES)
def test_names_docstrings_and_comments_of_tests_are_plain_english(path):
    assert problems_of_tests(path.read_text(encoding="utf-8")) == []


@each(
    ("source", "count"),
    [
        ("def test_what_is_kept(): pass", 2),
        ("def test_a_session_ends(): pass", 1),
        ("class Run:\n    def goes_on(self): pass", 1),
        ('def f():\n    """The session goes on."""', 1),
        ("x = 1  #" + " nobody knows", 1),
        ('x = "nobody knows"', 0),
        ("def test_session_continues(): pass", 0),
    ],
)
def test_phrases_in_tests_are_found(source, count):
    assert len(problems_of_tests(source)) == count


@each(
    "text",
    [
        "Argo says Succeeded",
        "X is no setting",
        "tolerations: X is none",
        "nobody sees it",
        "the place",
        "its lock is\n    made of what is kept there, and what is\n    wanted",
        "the whole lies in P",
        "versions are chosen anew",
        "it never travelled",
        "the session goes on",
        "the index did not answer",
        "a Role that allows to read it",
        "None where there is none",
        "the user may not list pods",
    ],
)
def test_phrases_are_found(text):
    assert list(problems(text))


@each(
    "text",
    [
        "There is no index.",
        "It is no longer there.",
        "None of them is None, and it is None of these",
        "What it does, in one place; this takes place later.",
        "Add a blank line.",
        "A line above the output says so.",
        "resources: [pods], verbs: [get]",
        "It stands in the way.",
        "They cannot be told apart from each other.",
    ],
)
def test_correct_english_is_accepted(text):
    assert list(problems(text)) == []


def test_code_is_not_checked():
    page = "Use `x is no y`.\n\n    nobody\n\n```python\nsaid\n```\n[text](said.md) <code>said</code>\n"
    assert list(problems(prose(page))) == []
    assert [problem.partition(":")[0] for problem in problems(prose(page + "nobody"))] == ["line 9"]


def test_texts_of_modules_are_found():
    source = '"""Doc said."""\nx = f"it {1} is no y"  #' + ' nobody knows\ny = "anew here"\n'
    assert may_have_problems(source)
    assert [line for line, text in module_texts(source) for _ in problems(text)] == [1, 2, 3, 2]


@each("text", ["is\\nno x", 'x = ("it is "\n    f"no {x}")', "it is None where it is", "IS NO x", "name is none"])
def test_may_have_problems_finds_phrases(text):
    assert may_have_problems(text)


def test_may_have_problems_ignores_code():
    assert not may_have_problems("x = y is None")
