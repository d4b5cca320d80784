"""core/resolution/dependency_tree.py: the annotations of uv, and the resulting tree."""

from __future__ import annotations

from uv_argo_magic.core.resolution.dependency_tree import annotate, tree
from uv_argo_magic.core.resolution.lock import Lock, Package, Target

TARGET = Target(python="3.12.1")


def lock(*names):
    return Lock(packages=tuple(Package(name=name, version="1") for name in names), target=TARGET)


UV_OUTPUT = """\
alpha[fast]==1            # via -r requirements.in
    # from https://user@index.example.com/corp/
beta==1                   # via alpha, -c constraints.txt
    # from https://index.example.com/simple
gamma @ https://index.example.com/g-1-py3-none-any.whl#sha256=ab  # via -r requirements.in, alpha, Zope.X
delta==1 ; python_version < '3'  # via gamma
    # from https://elsewhere.example.com/simple
noise
"""


def test_annotations_of_uv_are_read():
    plain = lock("alpha", "beta", "delta", "gamma", "omega", "zope-x")
    annotated = annotate(
        plain, "    # from x\n" + UV_OUTPUT, "corp=https://index.example.com/corp https://index.example.com/simple"
    )
    assert [(package.name, package.requested, package.via, package.index) for package in annotated.packages] == [
        ("alpha", True, (), "corp"),
        ("beta", False, ("alpha",), ""),
        ("delta", False, ("gamma",), ""),
        ("gamma", True, ("alpha", "zope-x"), ""),
        ("omega", False, (), ""),
        ("zope-x", False, (), ""),
    ]
    assert annotate(plain, UV_OUTPUT).packages[0].index == ""


def test_tree_lists_each_package_once():
    def build_package(name, *via, requested=False):
        return Package(name=name, version="1", via=via, requested=requested)

    packages = [
        build_package("a", requested=True),
        build_package("b", "a"),
        build_package("c", "b", "a"),
        build_package("d", "c", requested=True),
        build_package("e", "b", "d"),
        build_package("loop", "pool"),
        build_package("pool", "loop"),
        build_package("unknown"),
    ]
    assert [(depth, package.name) for depth, package in tree(packages)] == [
        (0, "a"), (1, "b"), (1, "c"), (0, "d"), (1, "e"), (0, "unknown"), (0, "loop"), (0, "pool"),
    ]  # fmt: skip
    assert tree(()) == ()
