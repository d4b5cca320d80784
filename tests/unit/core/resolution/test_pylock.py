from __future__ import annotations

import pytest
from packaging.tags import compatible_tags, cpython_tags
from support.cases import each

from uv_argo_magic.core.resolution.lock import Package, Target
from uv_argo_magic.core.resolution.pylock import files, read_pylock
from uv_argo_magic.errors import ResolutionError

A, B, C = "a" * 64, "b" * 64, "c" * 64
TARGET = Target(python="3.12.1", abi="cp312", platform="x86_64-manylinux_2_28")
PLATFORMS = ["manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64", "linux_x86_64"]


def tags(minor=(3, 12), abis=("cp312",), platforms=PLATFORMS):
    return (*cpython_tags(minor, abis, platforms), *compatible_tags(minor, f"cp{minor[0]}{minor[1]}", platforms))


def wheel(file, sha256=A, size=10):
    return f'{{ url = "https://files.example.com/ab/{file}", size = {size}, hashes = {{ sha256 = "{sha256}" }} }}'


def package(body, name="alpha", version="1.0"):
    return f'lock-version = "1.0"\n[[packages]]\nname = "{name}"\nversion = "{version}"\n{body}\n'


def read(text, *, only_binary=True, hashes=None, supported_tags=None):
    return read_pylock(text, target=TARGET, tags=supported_tags or tags(), only_binary=only_binary, hashes=hashes)


def test_empty_pylock_is_an_empty_lock():
    assert read('lock-version = "1.0"\n').packages == ()


def test_best_wheel_is_selected_without_its_host():
    wheels = [
        wheel("alpha-1.0-py3-none-any.whl", C),
        wheel("alpha-1.0-cp312-cp312-manylinux_2_17_x86_64.manylinux2014_x86_64.whl", B),
        wheel("alpha-1.0-cp312-cp312-manylinux_2_28_x86_64.whl", A, size=77),
        wheel("alpha-1.0-cp312-cp312-win_amd64.whl", "d" * 64),
        wheel("alpha-1.0-cp38-abi3-manylinux_2_28_x86_64.whl", "e" * 64),
    ]
    for order in (wheels, wheels[::-1]):
        lock = read(package(f"wheels = [{', '.join(order)}]"))
        assert lock.packages == (
            Package(
                name="alpha",
                version="1.0",
                sha256=A,
                size=77,
                file="alpha-1.0-cp312-cp312-manylinux_2_28_x86_64.whl",
            ),
        )
        assert "example.com" not in lock.to_json()
        assert lock.target == TARGET


def test_packages_of_the_base_are_not_installed():
    lock = read_pylock(package("wheels = []"), target=TARGET, tags=(), only_binary=True, base_names={"alpha"})
    assert (lock.packages, lock.base_packages) == ((), (("alpha", "1.0"),))


def test_free_threaded_python_uses_its_abi():
    text = package(
        f"wheels = [{wheel('alpha-1.0-cp313-cp313-manylinux_2_28_x86_64.whl', B)}, "
        f"{wheel('alpha-1.0-cp313-cp313t-manylinux_2_28_x86_64.whl', A)}]"
    )
    assert read(text, supported_tags=tags((3, 13), ("cp313t",))).packages[0].sha256 == A
    assert read(text, supported_tags=tags((3, 13), ("cp313",))).packages[0].sha256 == B


def test_sdist_is_used_only_if_builds_are_allowed():
    source = f"sdist = {wheel('alpha-1.0.tar.gz', B)}"
    with_wheel = package(f"wheels = [{wheel('alpha-1.0-py3-none-any.whl')}]\n{source}")
    assert read(with_wheel, only_binary=False).packages[0].file == "alpha-1.0-py3-none-any.whl"
    assert read(package(source), only_binary=False).packages[0].file == "alpha-1.0.tar.gz"
    with pytest.raises(ResolutionError, match=r"alpha 1\.0 has no wheel for this Python and platform") as exc_info:
        read(package(source))
    assert "only_binary=false" in exc_info.value.hint
    windows_only = package(f"wheels = [{wheel('alpha-1.0-cp312-cp312-win_amd64.whl')}]")
    with pytest.raises(ResolutionError, match="no wheel") as exc_info:
        read(windows_only, only_binary=False)
    assert "only_binary" not in exc_info.value.hint


def test_packages_are_sorted_with_canonical_names():
    text = package(f"wheels = [{wheel('Zope.X-1.0-py3-none-any.whl')}]", name="Zope.X")
    text += f'[[packages]]\nname = "abc"\nversion = "2"\nwheels = [{wheel("abc-2-py3-none-any.whl")}]\n'
    assert [package.name for package in read(text).packages] == ["abc", "zope-x"]


def test_hashes_select_among_compatible_files():
    text = package(
        f"wheels = [{wheel('alpha-1.0-cp312-cp312-manylinux_2_28_x86_64.whl', A)}, "
        f"{wheel('alpha-1.0-py3-none-any.whl', B)}]"
    )
    assert read(text, hashes={"Alpha": {f"sha256:{B.upper()}"}}).packages[0].sha256 == B
    assert read(text, hashes={"other": {f"sha256:{C}"}}).packages[0].sha256 == A
    for hashes in ({f"sha256:{C}"}, {f"md5:{A}"}, set()):
        with pytest.raises(ResolutionError, match=r"No compatible file of alpha 1\.0 has one of the hashes"):
            read(text, hashes={"alpha": hashes})


def test_url_requirement_keeps_its_url():
    url = "https://files.example.com/x%2By/alpha-1.0%2Blocal-py3-none-any.whl"
    text = package(f'archive = {{ url = "{url}#sha256={A}", hashes = {{ sha256 = "{A}" }} }}', version="1.0+local")
    locked = read(text).packages[0]
    assert locked.url == url
    assert locked.file == "alpha-1.0+local-py3-none-any.whl"
    assert locked.size == 0
    assert read(text, hashes={"alpha": {f"sha256:{A}"}}).packages == (locked,)
    with pytest.raises(ResolutionError, match="No compatible file of alpha"):
        read(text, hashes={"alpha": {f"sha256:{B}"}})


def test_source_url_needs_builds_and_keeps_subdirectory():
    text = package(
        'archive = { url = "https://files.example.com/a.zip", subdirectory = "py", '
        f'hashes = {{ sha256 = "{A}" }}, size = 5 }}'
    )
    assert read(text, only_binary=False).packages[0].url == "https://files.example.com/a.zip#subdirectory=py"
    with pytest.raises(ResolutionError, match=r"comes from a source archive \(a\.zip\)") as exc_info:
        read(text)
    assert "only_binary=false" in exc_info.value.hint


@each(
    ("body", "message"),
    [
        ('vcs = { type = "git", url = "https://git.example.com/a", commit-id = "1" }', "version control"),
        ('directory = { path = "." }', "a folder"),
        (f'archive = {{ path = "a-1.0-py3-none-any.whl", hashes = {{ sha256 = "{A}" }} }}', "a local file"),
        ('wheels = [{ name = "alpha-1.0-py3-none-any.whl", hashes = { md5 = "1" } }]', "no SHA-256 for alpha"),
        ('wheels = [{ name = "alpha-1.0-py3-none-any.whl" }]', "no SHA-256 for alpha"),
        (f"wheels = [{wheel('alpha.whl')}]", "Invalid file name of a wheel of alpha"),
        (f'wheels = [{{ hashes = {{ sha256 = "{A}" }} }}]', "has no file name for alpha"),
        ("wheels = 3", "unexpected `wheels`"),
        ("wheels = [3]", "unexpected `wheels`"),
        ("archive = 3", "unexpected `archive`"),
        ('wheels = [{ name = 3, hashes = { sha256 = "" } }]', "unexpected `name`"),
    ],
)
def test_unsupported_packages_are_rejected(body, message):
    with pytest.raises(ResolutionError) as exc_info:
        read(package(body))
    assert message in exc_info.value.message
    assert exc_info.value.hint


@each(
    ("text", "message"),
    [
        ("a = ", "not valid TOML"),
        ("", "lock-version None"),
        ('lock-version = "2.0"', "lock-version '2.0'"),
        ("lock-version = 1.0", "lock-version 1.0"),
        ('lock-version = "1.0"\n[[packages]]\n', "unexpected `name`"),
    ],
)
def test_invalid_lock_files_are_rejected(text, message):
    with pytest.raises(ResolutionError) as exc_info:
        read(text)
    assert message in exc_info.value.message


def test_lock_for_several_platforms_is_rejected():
    first = package(f"wheels = [{wheel('alpha-1.0-py3-none-any.whl')}]")
    both = first + first.replace('lock-version = "1.0"', "").replace('"1.0"', '"2.0"')
    with pytest.raises(ResolutionError, match="alpha twice"):
        read(both)


def test_wheel_without_url_is_named_by_its_path():
    text = package(
        f'wheels = [{{ path = "folder/alpha-1.0-py3-none-any.whl", size = 1, hashes = {{ sha256 = "{A}" }} }}]'
    )
    assert read(text).packages[0].file == "alpha-1.0-py3-none-any.whl"


@pytest.mark.parametrize(
    ("upload_time", "uploaded"),
    [
        ("2026-01-01T10:00:00Z", "2026-01-01T10:00:00+00:00"),
        ("2026-01-01T10:00:00+02:00", "2026-01-01T10:00:00+02:00"),
        ("2026-01-01T10:00:00", "2026-01-01T10:00:00+00:00"),
        ('"yesterday"', ""),
    ],
)
def test_upload_time_keeps_its_time_zone(upload_time, uploaded):
    file = wheel("alpha-1.0-py3-none-any.whl").replace("{ url", f"{{ upload-time = {upload_time}, url", 1)
    (locked,) = read(package(f"wheels = [{file}]")).packages
    assert locked.uploaded == uploaded


def test_files_are_indexed_by_hash():
    dated = wheel("alpha-1.0-py3-none-any.whl", size=7).replace("{ url", "{ upload-time = 2026-01-01T00:00:00Z, url", 1)
    sdist = wheel("alpha-1.0.tar.gz", sha256="b" * 64)
    text = package(f"wheels = [{dated}]\nsdist = {sdist}")
    assert files(text) == {A: (7, "2026-01-01T00:00:00+00:00"), "b" * 64: (10, "")}
