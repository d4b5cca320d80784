"""core/resolution/dependency_tree.py: uv's annotations, and the tree made of them."""

from __future__ import annotations

from uv_argo_magic.core.resolution.dependency_tree import annotate, tree
from uv_argo_magic.core.resolution.lock import Lock, Package, Target

TARGET = Target(python="3.12.1")


def lock(*names):
    return Lock(packages=tuple(Package(name=name, version="1") for name in names), target=TARGET)


SAID = """\
alpha[fast]==1            # via -r requirements.in
    # from https://user@index.example.com/corp/
beta==1                   # via alpha, -c constraints.txt
    # from https://index.example.com/simple
gamma @ https://index.example.com/g-1-py3-none-any.whl#sha256=ab  # via -r requirements.in, alpha, Zope.X
delta==1 ; python_version < '3'  # via gamma
    # from https://elsewhere.example.com/simple
noise
"""


def test_uvs_words_become_reasons():
    made = lock("alpha", "beta", "delta", "gamma", "omega", "zope-x")
    annotated = annotate(
        made, "    # from x\n" + SAID, "corp=https://index.example.com/corp https://index.example.com/simple"
    )
    assert [(one.name, one.requested, one.via, one.index) for one in annotated.packages] == [
        ("alpha", True, (), "corp"),
        ("beta", False, ("alpha",), ""),
        ("delta", False, ("gamma",), ""),
        ("gamma", True, ("alpha", "zope-x"), ""),
        ("omega", False, (), ""),
        ("zope-x", False, (), ""),
    ]
    assert annotate(made, SAID).packages[0].index == ""


def test_each_package_stands_once_under_the_nearest_that_needs_it():
    def package(name, *via, requested=False):
        return Package(name=name, version="1", via=via, requested=requested)

    packages = [
        package("a", requested=True),
        package("b", "a"),
        package("c", "b", "a"),
        package("d", "c", requested=True),
        package("e", "b", "d"),
        package("loop", "pool"),
        package("pool", "loop"),
        package("unknown"),
    ]
    assert [(depth, one.name) for depth, one in tree(packages)] == [
        (0, "a"), (1, "b"), (1, "c"), (0, "d"), (1, "e"), (0, "unknown"), (0, "loop"), (0, "pool"),
    ]  # fmt: skip
    assert tree(()) == ()
