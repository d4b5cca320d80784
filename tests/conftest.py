"""What holds for every test: nothing of the user's own settings, and no silent skip where none is allowed.

Rules:
- No UV_ARGO_* of the shell that started the tests reaches them.
- What downloads libraries runs with `-m corpus`.
- The comparison with whole galleries takes minutes and archives: it runs where UV_ARGO_TEST_GALLERIES names them.
- No test depends on how fast the machine is: Hypothesis bounds the number of examples, not their time. There are few of
  them, and many in a strict run or with `--hypothesis-profile thorough`.
- Python keeps what it compiles, whatever the shell sets: otherwise each process compiles all that it imports.
- A run started by nohup or as a background job inherits ignored signals, and so would every process under test: they
  get the dispositions of a terminal here.
- jsonschema, which comes with nbformat, checks IRIs if it can, and compiles 38 grammars for it in each process: two
  seconds. No notebook has one.
- What is imported and collected stays until the end: the garbage collector leaves it alone. A shell of IPython collects
  at its end, which took more time than most of its tests.
- With UV_ARGO_TEST_STRICT a skipped test has failed, unless it is one that needs a cluster.
"""

from __future__ import annotations

import gc
import os
import signal
import sys

import pytest
from hypothesis import settings

settings.register_profile("quick", deadline=None, max_examples=20)
settings.register_profile("thorough", deadline=None, max_examples=100)
settings.load_profile("thorough" if os.environ.get("UV_ARGO_TEST_STRICT") else "quick")

sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

signal.signal(signal.SIGINT, signal.default_int_handler)
for number in (signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else [])):
    signal.signal(number, signal.SIG_DFL)

sys.modules.setdefault("rfc3987_syntax", None)

ORDER = ("browser", "fidelity", "notebooks", "contract", "ipython")

for name in [name for name in os.environ if name.startswith("UV_ARGO_") and not name.startswith("UV_ARGO_TEST_")]:
    del os.environ[name]


def pytest_xdist_auto_num_workers():
    """Two for each core: much of the time is spent waiting."""
    return 2 * (len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)


def pytest_report_header(config):
    left_out = {"slow", "corpus", "cluster"} if config.option.markexpr == "not slow" else set()
    return f"left out: tests marked {', '.join(sorted(left_out))} (CONTRIBUTING.md)" if left_out else None


def pytest_collection_modifyitems(config, items):
    # The folders with the longest files come first, so that no process waits for another at the end.
    items.sort(key=lambda item: next((at for at, name in enumerate(ORDER) if name in item.path.parts), len(ORDER)))
    unwanted = {"fidelity"} if not os.environ.get("UV_ARGO_TEST_GALLERIES") else set()
    if "corpus" not in config.option.markexpr:
        unwanted.add("corpus")
    left = [item for item in items if any(map(item.get_closest_marker, unwanted))]
    config.hook.pytest_deselected(items=left)
    items[:] = [item for item in items if item not in left]


def pytest_collection_finish():
    gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    strict = os.environ.get("UV_ARGO_TEST_STRICT") and not item.get_closest_marker("cluster")
    if strict and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped, which a strict run does not allow: {report.longrepr}"
    return report
