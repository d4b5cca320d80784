from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.cases import each

from uv_argo_magic.core.resolution.conflicts import unsolved
from uv_argo_magic.core.resolution.install_errors import classify
from uv_argo_magic.core.resolution.uv_stderr import parse_stderr

HEAD = "error: No solution found when resolving dependencies\n  cause: "
END = ", we can conclude that your requirements are unsatisfiable.\n"


def explain(chain, hint=""):
    failure = classify(1, HEAD + chain + END + (f"\nhint: {hint}\n" if hint else ""))
    assert failure == unsolved(parse_stderr(1, HEAD + chain + END + (f"\nhint: {hint}\n" if hint else "")))
    return failure.cause, failure.sentence, failure.hint


def test_conflict_with_the_python_version():
    start = "Because the current Python version (3.11.7) does not satisfy Python"
    cause, sentence, hint = explain(start + ">=3.13 and old==1.0 depends on Python>=3.13 and you require old==1.0")
    assert (cause, sentence) == ("python", "old 1.0 requires Python >=3.13, but the cell runs on Python 3.11.7.")
    assert "--python 3.13" in hint
    cause, sentence, hint = explain(start + "<3.8")
    assert (cause, sentence) == ("python", "A package requires Python <3.8, but the cell runs on Python 3.11.7.")
    assert "--python 3.X" in hint


def test_package_without_matching_wheels():
    chain = "Because plat==1.0 has no wheels with a matching platform tag (e.g., `x`) and you require plat==1.0"
    hint = "Wheels are available for `plat` (v1.0) on the following platform: `win_amd64`"
    cause, sentence, advice = explain(chain, hint)
    assert (cause, sentence) == ("platform", "plat 1.0 has wheels for win_amd64 only.")
    assert advice == "Use such a machine, or another version of the package."
    assert explain(chain)[2] == "Use another version, or another Python with --python."
    cause, sentence, _ = explain("Because all versions of src have no usable wheels and you require src")
    assert (cause, sentence) == (
        "platform",
        "src has no wheel, and building from source is disabled.",
    )


NO_ABI_TAG = "Because {0} has no wheels with a matching Python ABI tag (e.g., `cp311`) and you require {0}"
ABI_HINT = (
    "You require CPython 3.11 (`cp311`), but we only found wheels for `{}` (v{}) with the following Python ABI tags: {}"
)
PLATFORM_HINT = "Wheels are available for `pywin32` (v312) on the following platforms: `win32`, `win_amd64`"


@pytest.mark.parametrize(
    ("name", "hints", "sentence", "start_of_hint"),
    [
        (
            "tensorflow<=2.11.1",
            ABI_HINT.format("tensorflow", "2.11.1", "`cp37m`, `cp38`, `cp310`, `cp314t`"),
            "tensorflow 2.11.1 has wheels for Python 3.7, 3.8, 3.10 and 3.14t only.",
            "Use --python 3.14t, or another version of the package.",
        ),
        (
            "pywin32<=302",
            ABI_HINT.format("pywin32", "302", "`cp310`") + "\n\nhint: " + PLATFORM_HINT,
            "pywin32 312 has wheels for win32 and win_amd64 only.",
            "Use such a machine, or another version of the package.",
        ),
        (
            "x==1",
            ABI_HINT.format("x", "1", "`pypy37_pp73`"),
            "x 1 has no wheel for this Python and platform.",
            "You require CPython 3.11",
        ),
    ],
)
def test_hint_names_platforms_and_versions_with_wheels(name, hints, sentence, start_of_hint):
    cause, message, hint = explain(NO_ABI_TAG.format(name), hints)
    assert (cause, message) == ("platform", sentence)
    assert hint.startswith(start_of_hint)


@pytest.mark.parametrize(
    ("chain", "sentence", "start_of_hint"),
    [
        (
            "Because all versions of sklearn have no usable wheels and you require sklearn",
            "sklearn is an import name; its package is scikit-learn.",
            "Use scikit-learn in the requirements; the import stays as it is.",
        ),
        (
            "Because skimage==0.0 has no usable wheels and you require skimage",
            "skimage is an import name; its package is scikit-image.",
            "Use scikit-image",
        ),
        (
            "Because pytorch was not found in the package registry and you require pytorch>=2",
            "The package is called torch, not pytorch.",
            "Use torch in the requirements.",
        ),
        (
            "Because sqlite3 was not found in the package registry and you require sqlite3",
            "sqlite3 is part of Python's standard library and needs no package.",
            "Remove sqlite3",
        ),
    ],
)
def test_names_that_are_not_packages_are_explained(chain, sentence, start_of_hint):
    cause, message, hint = explain(chain)
    assert (cause, message) == ("unknown-package", sentence)
    assert hint.startswith(start_of_hint)


def test_unknown_package():
    cause, sentence, hint = explain("Because nosuch was not found in the package registry and you require nosuch")
    assert (cause, sentence) == ("unknown-package", "Package nosuch was not found on the index.")
    assert hint.startswith("Check the name")
    chain = "Because cv2 was not found in the package registry and all versions of needs depend on cv2>2"
    _, sentence, hint = explain(chain)
    assert sentence == "Package cv2 was not found on the index (required by needs)."
    assert hint.startswith("Did you mean opencv-python-headless? ")


@each(
    ("chain", "hint", "sentence", "part_of_hint"),
    [
        (
            "Because there is no version of numpy==99.0 and you require numpy==99.0",
            "",
            "There is no version 99.0 of numpy.",
            "Use numpy without a version",
        ),
        (
            "Because only alpha<=2.0 is available and you require alpha>2",
            "",
            "There is no version >2 of alpha.",
            "The index has alpha<=2.0. ",
        ),
        (
            "Because there are no versions of alpha and you require alpha",
            "",
            "There is no version of alpha.",
            "whether the index has files",
        ),
        (
            "Because alpha==1.0 was yanked (reason: broken) and you require alpha",
            "",
            'alpha 1.0 was yanked ("broken").',
            "==",
        ),
        ("Because alpha==1.0 was yanked and you require alpha", "", "alpha 1.0 was yanked.", "=="),
        (
            "Because there are no versions of alpha and you require alpha",
            (
                "`alpha` was filtered by `exclude-newer` to only include packages uploaded before "
                "2025-01-02T00:00:00Z. "
                "The latest version satisfying the requirement is v2.0, published at 2026-01-01T00:00:00Z."
            ),
            "alpha has no version published before 2025-01-02.",
            "Version 2.0 was published on 2026-01-01. ",
        ),
        (
            "Because there are no versions of alpha and you require alpha",
            "some files were filtered by `exclude-newer`",
            "A package has no version published early enough.",
            "Use a later exclude_newer.",
        ),
    ],
)
def test_unavailable_version(chain, hint, sentence, part_of_hint):
    cause, message, next_step = explain(chain, hint)
    assert (cause, message) == ("version", sentence)
    assert part_of_hint in next_step


def test_available_versions_alone_are_a_conflict():
    assert explain("Because only alpha<=2.0 is available")[0] == "conflict"


def test_conflicting_requirements():
    chain = (
        "Because all versions of gamma depend on beta>=2 and alpha<=1.0 depends on beta<2, we can conclude that"
        " alpha<=1.0 and all versions of gamma are incompatible.\n"
        "         And because you require alpha<2 and gamma"
    )
    assert explain(chain)[:2] == (
        "conflict",
        (
            "The requirements conflict: all versions of gamma depend on beta>=2 and alpha<=1.0"
            " depends on beta<2; you require alpha<2 and gamma."
        ),
    )
    assert explain("they depend on another")[:2] == (
        "conflict",
        (
            "The requirements conflict: they depend on another, we can conclude that your"
            " requirements are unsatisfiable."
        ),
    )


MANY_VERSIONS = """\
Because pandas>=3.0.0 depends on numpy{python_full_version < '3.14'}>=1.26.0 and all of:
             pandas==2.1.1
             pandas>=2.2.2,<=2.3.3
         depend on numpy>=1.26.0, we can conclude that all of:
             pandas==2.1.1
             pandas>=2.2.2
         depend on numpy>=1.26.0.
         And because pandas<=2.1.0 has no usable wheels and pandas==2.1.2 depends on numpy>=1.26, we can conclude that
         all versions of pandas depend on numpy>=1.26.0.
         And because you require pandas and numpy{python_full_version < '3.13'}<1.26"""


def test_conflict_of_many_versions_shows_the_last_conclusion():
    assert explain(MANY_VERSIONS) == (
        "conflict",
        "The requirements conflict: all versions of pandas depend on numpy>=1.26.0; you require pandas and numpy<1.26.",
        "Loosen or remove one of them, use another Python with --python, or run them in separate cells.",
    )


def test_versions_of_one_package_are_summarized():
    chain = "Because all of:\n  a==1\n  a==2\n  a>=3,<4\n have no usable wheels and you require a<4"
    assert explain(chain)[:2] == ("platform", "a has no wheel, and building from source is disabled.")
    chain = "Because all of:\n  a==1\n  a==2\n depend on b<2 and you require a<3 and b>2"
    assert (
        explain(chain)[1]
        == "The requirements conflict: several versions of a depend on b<2 and you require a<3 and b>2."
    )


def test_long_explanation_is_shortened():
    steps = [f"Because a=={n} depends on b=={n} and b=={n} depends on c<{n}, we can conclude ({n})" for n in range(9)]
    steps += ["And because we know from (1) that a<2 cannot be used, we can conclude that x"]
    steps += ["And because only the following versions of a are available: a<2 a>3 we can conclude that y"]
    _, sentence, _ = explain("\n         ".join([*steps, "And because you require a"]))
    assert sentence.endswith("and so on for other versions; you require a.")
    assert "know from" not in sentence
    assert "following versions" not in sentence


@given(st.text())
def test_any_explanation_is_handled(chain):
    failure = classify(1, HEAD + chain + END)
    assert failure.sentence
    assert failure.hint
