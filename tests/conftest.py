"""Configuration of all tests.

- UV_ARGO_* variables of the user's shell are removed.
- Tests that download libraries run with `-m corpus`.
- The comparison with complete galleries takes minutes; it runs if UV_ARGO_TEST_GALLERIES names their archives.
- Tests do not depend on the speed of the machine: Hypothesis limits the number of examples, not their time. It tries
  more examples in a strict run or with `--hypothesis-profile thorough`.
- Python always writes byte code; otherwise each process would compile all imported modules again.
- Tests started by nohup or as a background job inherit ignored signals; the default handlers are set again.
- jsonschema, a dependency of nbformat, must not import rfc3987_syntax, which takes two seconds in each process and is
  only needed for IRIs.
- The garbage collector ignores imported modules and collected tests. Each IPython shell runs the collector at its end,
  which took longer than most tests.
- With UV_ARGO_TEST_STRICT, skipped tests fail, except those that need a cluster.
"""

from __future__ import annotations

import collections
import gc
import os
import signal
import sys

import pytest
from hypothesis import settings

settings.register_profile("quick", deadline=None, max_examples=10)
settings.register_profile("thorough", deadline=None, max_examples=50)
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
    """Two workers per core, since tests often wait."""
    return 2 * (len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)


def pytest_report_header(config):
    deselected = {"slow", "corpus", "cluster"} if config.option.markexpr == "not slow" else set()
    return f"deselected: tests marked {', '.join(sorted(deselected))} (CONTRIBUTING.md)" if deselected else None


def pytest_collection_modifyitems(config, items):
    # The folders with the slowest files come first, so that all workers end at the same time.
    items.sort(
        key=lambda item: next((index for index, name in enumerate(ORDER) if name in item.path.parts), len(ORDER))
    )
    mark_slow_cases(items)
    unwanted = {"fidelity"} if not os.environ.get("UV_ARGO_TEST_GALLERIES") else set()
    if "corpus" not in config.option.markexpr:
        unwanted.add("corpus")
    deselected = [item for item in items if any(map(item.get_closest_marker, unwanted))]
    config.hook.pytest_deselected(items=deselected)
    items[:] = [item for item in items if item not in deselected]


def mark_slow_cases(items):
    counts = collections.Counter()
    for item in items:
        sample = item.get_closest_marker("sample")
        test = item.nodeid.partition("[")[0]
        counts[test] += 1
        if sample and counts[test] > sample.args[0]:
            item.add_marker("slow")


def pytest_collection_finish():
    gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    strict = os.environ.get("UV_ARGO_TEST_STRICT") and not item.get_closest_marker("cluster")
    if strict and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped in a strict run: {report.longrepr}"
    return report
