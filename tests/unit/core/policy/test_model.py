"""core/policy/model.py: policies are merged to their union, and packages have a path from a requested one."""

from __future__ import annotations

from support.cases import each

from uv_argo_magic.core.policy.model import Policy, Statement, Subject, Violation, merged, path_to
from uv_argo_magic.core.requirements.parser import parse
from uv_argo_magic.core.resolution.lock import Lock, Package, Target, Unresolved
from uv_argo_magic.core.spec.run_spec import RunSpec

TARGET = Target(python="3.12.1")
A = Package(name="a", version="1", requested=True)
B = Package(name="b", version="1", via=("a",))
C = Package(name="c", version="1", via=("b", "d"))
D = Package(name="d", version="1", via=("c",))


def test_merged_policy_has_all_statements():
    first = Policy(frozenset({Statement(rule="install.max_packages", value=1.0, origin="one")}))
    second = Policy(frozenset({Statement(rule="install.max_packages", value=2.0, origin="two")}))
    assert (first | second).of("install.max_packages") == (*first.statements, *second.statements)
    assert merged([first, second]) == second | first
    assert (first | second).origins == ("one", "two")
    assert not merged([])
    assert not (first | second).of("install.hashes")


@each(
    ("name", "path"),
    [("a", ("a",)), ("b", ("a", "b")), ("c", ("a", "b", "c")), ("d", ("a", "b", "c", "d")), ("e", ("e",))],
)
def test_path_is_the_shortest_from_a_requested_package(name, path):
    assert path_to([A, B, C, D], name) == path


def test_packages_before_resolution_are_the_requested_ones():
    spec = RunSpec(
        cell="", requirements=parse("a==1, b>=2, c==1.*, d @ https://files.example.com/d-1-py3-none-any.whl")
    )
    packages = Subject(spec=spec).packages
    assert [(package.name, package.version) for package in packages] == [("a", "1"), ("b", ""), ("c", ""), ("d", "")]
    assert packages[3].url == "https://files.example.com/d-1-py3-none-any.whl"


def test_packages_after_resolution_include_locks_and_image():
    lock = Lock(packages=(A,), target=TARGET, base_packages=(("numpy", "2.1"),))
    subject = Subject(spec=RunSpec(cell=""), resolution=lock, installs=(("b", Lock(packages=(B,), target=TARGET)),))
    assert subject.packages == (A, B)
    assert subject.visible == (A, B, Package(name="numpy", version="2.1"))
    assert subject.path("b") == ("%pip b", "a", "b")
    assert subject.path("a") == ("a",)


def test_packages_resolved_in_the_pod_are_unknown():
    subject = Subject(spec=RunSpec(cell=""), resolution=Unresolved(lines=("a",), reason="no network"))
    assert subject.packages == subject.visible == ()


def test_violation_is_one_line_with_path_and_source():
    violation = Violation(
        rule="packages.blocked",
        origin="p.toml",
        sentence="c 1 is blocked",
        action="Remove a.",
        package="c",
        path=("a", "b", "c"),
    )
    assert violation.text == "c 1 is blocked (required by a > b). Remove a. [packages.blocked, p.toml]"
    direct = Violation(rule="r", origin="p", sentence="S", action="A.", path=("a",))
    assert direct.text == "S. A. [r, p]"
