"""core/view/missing_hints.py: the next step after a cell missed what the notebook has."""

from __future__ import annotations

import json
from dataclasses import replace

from support.cases import each

from uv_argo_magic.core.protocol.events import LocalName
from uv_argo_magic.core.spec.run_spec import FILES
from uv_argo_magic.core.view import messages, missing_hints
from uv_argo_magic.testing import play, write

IMPORT = ("ImportError", "Exception", "BaseException")


def raised(ename, mro=(), packages=(), message="", missing=(), cause=None, **attributes):
    """The state of a cell that ended so, its error as the guest sends it."""
    return play(
        [
            write(
                ("installed", {"packages": [list(pair) for pair in packages], "seconds": 1.0, "cached": True}),
                ("error", {"error": record(ename, mro, message, missing, cause, **attributes)}),
                ("exit", {"reason": "error", "code": 1}),
            )
        ]
    )


def record(ename, mro=(), message="", missing=(), cause=None, **attributes):
    return {
        **dict.fromkeys(("args", "syntax", "cause", "context", "members")),
        **dict.fromkeys(("evalue", "message"), ""),
        "frames": [], "order": [], "notes": [], "omitted": 0, "suppress_context": False, "module": "builtins",
        "ename": ename, "qualname": ename, "mro": [ename, *mro], "attributes": attributes, "evalue": message,
        "missing": list(missing), "cause": cause,
    }  # fmt: skip


@each(
    ("state", "hint"),
    [
        (raised("ModuleNotFoundError", IMPORT, name="idna"), "Add --deps idna."),
        (raised("ModuleNotFoundError", IMPORT, name="cv2"), "Add --deps opencv-python-headless."),
        (raised("ModuleNotFoundError", IMPORT, name="sklearn.svm"), "Add --deps scikit-learn."),
        (raised("Mine", ["ModuleNotFoundError", *IMPORT], name="idna"), "Add --deps idna."),
        (raised("ModuleNotFoundError", IMPORT, name="six.nope", packages=[("six", "1.0")]), ""),
        (raised("ModuleNotFoundError", IMPORT, name="os.nope"), ""),
        (raised("ModuleNotFoundError", IMPORT), ""),
        (raised("FileNotFoundError", filename="data.csv"), "Send the data with --push"),
        (raised("FileNotFoundError", filename="/data.csv"), ""),
        (raised("FileNotFoundError", filename=3), ""),
        (raised("ValueError", name="idna"), ""),
        (raised("MemoryError"), "Raise --memory if it is set"),
        (raised("_ArrayMemoryError", ["MemoryError"]), "Raise --memory if it is set"),
        (play([write(("error", {"error": {}}), ("exit", {"reason": "error"}))]), ""),
    ],
)
def test_what_the_notebook_has_and_the_cell_lacks_is_named(state, hint):
    assert hint in messages.hint(state)
    assert bool(messages.hint(state)) == bool(hint)


@each(
    ("needs", "source", "advice"),
    [
        (("numpy", "pandas>=2"), "", 'Use --deps "numpy pandas>=2 opencv-python-headless".'),
        (('a; os_name == "nt"',), "", 'Use --deps ["a; os_name == \\"nt\\"", "opencv-python-headless"].'),
        (("numpy",) * 40, "", "Add --deps opencv-python-headless."),
        (("numpy",), FILES, "Add --deps opencv-python-headless."),
        ((), "the cell's script block", "Add opencv-python-headless to the cell's script block."),
        (("numpy",), "study.requirements.txt", "Add opencv-python-headless to study.requirements.txt."),
    ],
)
def test_how_to_add_what_is_missing_where_the_requirements_are_written(needs, source, advice):
    state = replace(raised("ModuleNotFoundError", IMPORT, name="cv2"), requirements=needs, requirements_source=source)
    assert messages.hint(state) == f"The cell does not see the notebook's packages. {advice}"


@each(
    ("message", "package"),
    [
        ("Missing optional dependency 'lxml'.  Use pip or conda to install lxml.", "lxml"),
        ("`Import tabulate` failed.  Use pip, conda, or another tool to install the tabulate package.", "tabulate"),
        ("Unable to find a usable engine; tried using: 'pyarrow', 'fastparquet'.", "pyarrow"),
        ('matplotlib is required for plotting when the default backend "matplotlib" is selected.', "matplotlib"),
        ("The '.style' accessor requires jinja2", "jinja2"),
        ("Using URI string without sqlalchemy installed.", "sqlalchemy"),
        (
            'Please either conda or pip install as follows:\n  python -m pip install "dask[array]" --upgrade',
            "dask[array]",
        ),
        ("AutoModel requires the PyTorch library but it was not found in your environment.", "torch"),
        ("check_matplotlib_support requires matplotlib", "matplotlib"),
        ("to use this, pip install --upgrade acme-tools", "acme-tools"),
        ("No module named 'cv2'", "opencv-python-headless"),
        ("cannot import name 'x' from 'y'", ""),
        ("'DataFrame' object has no attribute 'nope'", ""),
        ("this is required", ""),
    ],
)
@each("ename", ["ImportError", "AttributeError"])
def test_an_optional_dependency_is_named_from_the_librarys_words(ename, message, package):
    quoted = f'"{package}"' if " " in package else package
    assert messages.hint(raised(ename, message=message)) == (f"Add --deps {quoted}." if package else "")


def test_an_optional_dependency_that_is_installed_is_not_named():
    state = raised("ImportError", message="lxml is required", packages=[("lxml", "5")])
    assert messages.hint(state) == ""


def test_several_missing_imports_are_named_at_once():
    state = raised(
        "ModuleNotFoundError", IMPORT, name="numpy", missing=("numpy", "pandas", "sklearn.svm", "os"),
        packages=[("pandas", "3")],
    )  # fmt: skip
    assert messages.hint(state).endswith('Add --deps "numpy scikit-learn".')
    state = replace(state, requirements=("pandas",))
    assert messages.hint(state).endswith('Use --deps "pandas numpy scikit-learn".')


def test_the_module_behind_a_librarys_own_exception_counts():
    behind = record("ModuleNotFoundError", IMPORT, name="openpyxl")
    assert messages.hint(raised("ImportError", message="cannot write", cause=behind)).endswith("Add --deps openpyxl.")
    assert messages.hint(raised("ValueError", message="cannot write", cause=behind)) == ""


UTILS = LocalName(name="utils", kind="file", detail="utils.py is next to the notebook")


def test_a_module_beside_the_notebook_is_never_a_package():
    state = replace(raised("ModuleNotFoundError", IMPORT, name="utils", missing=("utils.io",)), found_here=(UTILS,))
    assert messages.hint(state) == (
        "utils.py is next to the notebook and was not sent. Move the code that the cell needs into the cell."
    )
    state = replace(raised("ModuleNotFoundError", IMPORT, name="utils", missing=("numpy",)), found_here=(UTILS,))
    assert messages.hint(state).endswith("into the cell. Add --deps numpy.")


@each(
    ("local", "hint"),
    [
        (LocalName(name="df", kind="variable"), "df exists in the notebook: add --push df."),
        (
            LocalName(name="df", kind="definition"),
            "df is defined in the notebook: add --push df, or define it in this cell.",
        ),
        (
            LocalName(name="df", kind="module", detail="pandas"),
            "df is imported in the notebook only. Add to the cell: import pandas as df.",
        ),
        (
            LocalName(name="df", kind="module", detail="df"),
            "df is imported in the notebook only. Add to the cell: import df.",
        ),
        (
            LocalName(name="df", kind="file", detail="df.py is next to the notebook"),
            "df.py is next to the notebook and was not sent. Move the code that the cell needs into the cell.",
        ),
    ],
)
def test_an_undefined_name_that_the_notebook_has(local, hint):
    state = raised("NameError", name="df")
    assert messages.hint(state) == ""
    assert messages.hint(replace(state, found_here=(local,))) == hint


def test_the_names_to_look_up():
    undefined = json.dumps(record("NameError", name="df"))
    assert missing_hints.names(undefined) == messages.missing_names(undefined) == ("df",)
    error = record("ModuleNotFoundError", IMPORT, name="a.b", missing=("a", "c.d"))
    assert missing_hints.names(json.dumps(error)) == ("a", "c")
    assert missing_hints.names(json.dumps(record("ValueError"))) == ()
    assert missing_hints.names("{}") == ()
