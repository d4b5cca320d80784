"""core/view/missing_hints.py: hints for packages, names and files that exist only in the notebook."""

from __future__ import annotations

import json
from dataclasses import replace

from support.cases import each

from uv_argo_magic.core.protocol.events import LocalName
from uv_argo_magic.core.spec.run_spec import FILES
from uv_argo_magic.core.view import messages, missing_hints
from uv_argo_magic.testing import play, write

IMPORT = ("ImportError", "Exception", "BaseException")


def failed_state(ename, mro=(), packages=(), message="", missing=(), cause=None, **attributes):
    """The state of a cell that raised this error."""
    return play(
        [
            write(
                ("installed", {"packages": [list(pair) for pair in packages], "seconds": 1.0, "cached": True}),
                ("error", {"error": error_record(ename, mro, message, missing, cause, **attributes)}),
                ("exit", {"reason": "error", "code": 1}),
            )
        ]
    )


def error_record(ename, mro=(), message="", missing=(), cause=None, **attributes):
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
        (failed_state("ModuleNotFoundError", IMPORT, name="idna"), "Add --deps idna."),
        (failed_state("ModuleNotFoundError", IMPORT, name="cv2"), "Add --deps opencv-python-headless."),
        (failed_state("ModuleNotFoundError", IMPORT, name="sklearn.svm"), "Add --deps scikit-learn."),
        (failed_state("Mine", ["ModuleNotFoundError", *IMPORT], name="idna"), "Add --deps idna."),
        (failed_state("ModuleNotFoundError", IMPORT, name="six.nope", packages=[("six", "1.0")]), ""),
        (failed_state("ModuleNotFoundError", IMPORT, name="os.nope"), ""),
        (
            failed_state("ModuleNotFoundError", IMPORT, name="google", missing=["google.cloud.storage"]),
            "Add --deps google-cloud-storage.",
        ),
        (
            failed_state("ModuleNotFoundError", IMPORT, name="google", missing=["google.cloud.storage.Blob", "six"]),
            'Add --deps "google-cloud-storage six".',
        ),
        (
            failed_state("ModuleNotFoundError", IMPORT, name="azure.storage", packages=[("azure-core", "1")]),
            "Add the package that provides azure.storage to the requirements, for example with --deps.",
        ),
        (
            failed_state(
                "ImportError", IMPORT[1:], message="cannot import name 'vision' from 'google.cloud' (unknown location)"
            ),
            "Add --deps google-cloud-vision.",
        ),
        (failed_state("ModuleNotFoundError", IMPORT), ""),
        (failed_state("FileNotFoundError", filename="data.csv"), "Send the data with --push"),
        (failed_state("FileNotFoundError", filename="/data.csv"), ""),
        (failed_state("FileNotFoundError", filename=3), ""),
        (failed_state("ValueError", name="idna"), ""),
        (failed_state("MemoryError"), "Raise --memory if it is set"),
        (failed_state("_ArrayMemoryError", ["MemoryError"]), "Raise --memory if it is set"),
        (play([write(("error", {"error": {}}), ("exit", {"reason": "error"}))]), ""),
    ],
)
def test_hints_for_missing_modules_files_and_memory(state, hint):
    assert hint in messages.hint(state)
    assert bool(messages.hint(state)) == bool(hint)


@each(
    ("requirements", "source", "advice"),
    [
        (("numpy", "pandas>=2"), "", 'Use --deps "numpy pandas>=2 opencv-python-headless".'),
        (('a; os_name == "nt"',), "", 'Use --deps ["a; os_name == \\"nt\\"", "opencv-python-headless"].'),
        (("numpy",) * 40, "", "Add --deps opencv-python-headless."),
        (("numpy",), FILES, "Add --deps opencv-python-headless."),
        ((), "the cell's script block", "Add opencv-python-headless to the cell's script block."),
        (("numpy",), "study.requirements.txt", "Add opencv-python-headless to study.requirements.txt."),
    ],
)
def test_hint_names_where_requirements_are_defined(requirements, source, advice):
    state = replace(
        failed_state("ModuleNotFoundError", IMPORT, name="cv2"), requirements=requirements, requirements_source=source
    )
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
def test_optional_dependency_is_read_from_the_message(ename, message, package):
    quoted = f'"{package}"' if " " in package else package
    assert messages.hint(failed_state(ename, message=message)) == (f"Add --deps {quoted}." if package else "")


def test_installed_optional_dependency_has_no_hint():
    state = failed_state("ImportError", message="lxml is required", packages=[("lxml", "5")])
    assert messages.hint(state) == ""


def test_hint_names_all_missing_imports():
    state = failed_state(
        "ModuleNotFoundError", IMPORT, name="numpy", missing=("numpy", "pandas", "sklearn.svm", "os"),
        packages=[("pandas", "3")],
    )  # fmt: skip
    assert messages.hint(state).endswith('Add --deps "numpy scikit-learn".')
    state = replace(state, requirements=("pandas",))
    assert messages.hint(state).endswith('Use --deps "pandas numpy scikit-learn".')


def test_cause_of_an_import_error_has_a_hint():
    import_error = error_record("ModuleNotFoundError", IMPORT, name="openpyxl")
    assert messages.hint(failed_state("ImportError", message="cannot write", cause=import_error)).endswith(
        "Add --deps openpyxl."
    )
    assert messages.hint(failed_state("ValueError", message="cannot write", cause=import_error)) == ""


UTILS = LocalName(name="utils", kind="file", detail="utils.py is next to the notebook")


def test_module_next_to_the_notebook_is_not_a_package():
    state = replace(
        failed_state("ModuleNotFoundError", IMPORT, name="utils", missing=("utils.io",)), found_here=(UTILS,)
    )
    assert messages.hint(state) == (
        "utils.py is next to the notebook and was not sent. Move the code that the cell needs into the cell."
    )
    state = replace(failed_state("ModuleNotFoundError", IMPORT, name="utils", missing=("numpy",)), found_here=(UTILS,))
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
def test_undefined_name_that_the_notebook_has(local, hint):
    state = failed_state("NameError", name="df")
    assert messages.hint(state) == ""
    assert messages.hint(replace(state, found_here=(local,))) == hint


def test_missing_names_are_read_from_the_error():
    undefined = json.dumps(error_record("NameError", name="df"))
    assert missing_hints.names(undefined) == messages.missing_names(undefined) == ("df",)
    error = error_record("ModuleNotFoundError", IMPORT, name="a.b", missing=("a", "c.d"))
    assert missing_hints.names(json.dumps(error)) == ("a", "c")
    assert missing_hints.names(json.dumps(error_record("ValueError"))) == ()
    assert missing_hints.names("{}") == ()
