"""core/requirements/pylock_pins.py: the requirements that a pylock.toml pins, for any target."""

from __future__ import annotations

import pytest
from support.cases import each

from uv_argo_magic.core.requirements.pylock_pins import read_pins
from uv_argo_magic.errors import SpecError

A, B = "a" * 64, "b" * 64
HEAD = 'lock-version = "1.0"\nrequires-python = ">=3.11"\n'


def package(name, *lines, version="1.0", digest=A):
    text = [f'[[packages]]\nname = "{name}"', *lines]
    if version:
        text.append(f'version = "{version}"')
    if digest:
        text.append(f'wheels = [{{ name = "{name}-{version}-py3-none-any.whl", hashes = {{ sha256 = "{digest}" }} }}]')
    return "\n".join(text) + "\n"


def read(*packages, head=HEAD, extras=(), groups=()):
    return read_pins(head + "".join(packages), source="pylock.toml", extras=extras, groups=groups)


def lines_of(parsed):
    return parsed.requirements.text.splitlines()


def test_packages_are_pinned_with_hashes_and_markers():
    parsed = read(
        package("Alpha", f'sdist = {{ name = "alpha-1.0.tar.gz", hashes = {{ sha256 = "{B.upper()}", md5 = "0" }} }}'),
        package("beta", "marker = \"sys_platform == 'win32'\""),
        package("beta", "marker = \"sys_platform != 'win32'\"", version="2.0"),
        f'[[packages]]\nname = "gamma"\narchive = {{ url = "https://h.example.com/gamma-1.zip", subdirectory = "sub", '
        f'hashes = {{ sha256 = "{A}" }} }}\n',
    )
    assert lines_of(parsed) == [
        f"alpha==1.0 --hash=sha256:{A} --hash=sha256:{B}",
        f'beta==1.0; sys_platform == "win32" --hash=sha256:{A}',
        f'beta==2.0; sys_platform != "win32" --hash=sha256:{A}',
        f"gamma @ https://h.example.com/gamma-1.zip#subdirectory=sub --hash=sha256:{A}",
    ]
    assert parsed.requirements.complete
    assert parsed.requirements.warnings == ()
    assert parsed.requires_python == ((">=3.11", "pylock.toml"),)


def test_lock_without_packages():
    assert read(head='lock-version = "1.0"\n').requirements.lines == ()


HEAD_WITH_EXTRAS_AND_GROUPS = (
    HEAD + 'extras = ["Plot"]\ndependency-groups = ["Dev", "docs"]\ndefault-groups = ["Dev"]\n'
)


@each(
    ("marker", "extras", "groups", "expected"),
    [
        ("'plot' in extras", (), (), None),
        ("'plot' in extras", ("plot",), (), ""),
        ("'plot' not in extras", (), (), ""),
        ("'dev' in dependency_groups", (), (), ""),
        ("'dev' in dependency_groups", (), ("docs",), None),
        ("'docs' in dependency_groups", (), ("Docs",), ""),
        ("os_name == 'nt' and 'plot' in extras", ("plot",), (), 'os_name == "nt" and python_version >= "0"'),
        ("os_name == 'nt' or 'plot' in extras", (), (), 'os_name == "nt" or python_version < "0"'),
    ],
)
def test_extras_and_groups_select_packages(marker, extras, groups, expected):
    lines = read(
        package("alpha", f'marker = "{marker}"'), head=HEAD_WITH_EXTRAS_AND_GROUPS, extras=extras, groups=groups
    ).requirements.lines
    assert lines == (() if expected is None else ("alpha==1.0" + (f"; {expected}" if expected else ""),))


@each(
    ("text", "choice", "message"),
    [
        ("x", {}, "is not TOML"),
        ('lock-version = "2.0"', {}, ": unsupported lock-version '2.0'"),
        ("", {}, "lock-version None"),
        (HEAD_WITH_EXTRAS_AND_GROUPS, {"extras": ["plt"]}, "unknown extra plt; did you mean plot?"),
        (HEAD, {"groups": ["dev"]}, "unknown group dev"),
        (HEAD + "packages = 1", {}, "invalid or missing `packages`"),
        (HEAD + "packages = [1]", {}, "invalid or missing `packages`"),
        (HEAD + package(1).replace('"1"', "1"), {}, "invalid or missing `name`"),
        (HEAD + package("alpha", "marker = 1"), {}, "invalid or missing `marker`"),
        (HEAD + package("alpha", version=""), {}, "invalid or missing `version of alpha`"),
        (HEAD + package("alpha", "sdist = 1"), {}, "invalid or missing `files of alpha`"),
        (HEAD + package("alpha", digest="0x"), {}, "pylock.toml, item 1, character 12"),
        (HEAD + package("alpha", digest=""), {}, "alpha has no SHA-256"),
        (HEAD + package("alpha", "sdist = { hashes = { md5 = '0' } }", digest=""), {}, "alpha has no SHA-256"),
        (HEAD + package("alpha", "vcs = { type = 'git' }"), {}, "alpha comes from a repository"),
        (HEAD + package("alpha", "directory = { path = '.' }"), {}, "alpha comes from a folder"),
        (HEAD + package("alpha", "archive = { path = 'a.whl' }"), {}, "alpha comes from a local file"),
    ],
)
def test_invalid_locks_are_rejected(text, choice, message):
    with pytest.raises(SpecError) as exc_info:
        read_pins(text, source="pylock.toml", **choice)
    assert exc_info.value.message.startswith("pylock.toml")
    assert message in exc_info.value.message
    assert exc_info.value.hint


def test_lock_for_other_systems_is_rejected():
    windows = HEAD + "environments = [\"sys_platform == 'win32'\"]\n"
    with pytest.raises(SpecError, match=r'^pylock.toml is locked for other systems: sys_platform == "win32"$'):
        read(package("alpha"), head=windows)
    mac = HEAD + "environments = [\"sys_platform == 'darwin'\", \"python_version < '3.8'\"]\n"
    with pytest.raises(SpecError, match="locked for other systems"):
        read(package("alpha"), head=mac)
    assert read_pins(mac + package("alpha"), source="pylock.toml", systems=("linux", "darwin")).requirements
    windows_or_arm = HEAD + "environments = [\"sys_platform == 'win32'\", \"platform_machine == 'aarch64'\"]\n"
    assert read(package("alpha"), head=windows_or_arm).requirements
    for invalid in ("1", '["no marker"]'):
        with pytest.raises(SpecError, match="invalid or missing `environments`"):
            read(package("alpha"), head=f"{HEAD}environments = {invalid}\n")
