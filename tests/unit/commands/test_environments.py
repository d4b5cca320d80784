"""commands/environments.py: the errors of the runs that read a store or install into it."""

from __future__ import annotations

import pytest

from uv_argo_magic.commands import environments
from uv_argo_magic.errors import NodeFailed


class FailedRun:
    name = "uv-argo-x7k2p"

    def __init__(self, log):
        self.log = log

    def wait(self):
        pass

    def raise_for_state(self):
        raise NodeFailed("The cell's container ended with exit code 1.", hint="See its log.", reason="lost")

    def logs(self):
        return self.log


@pytest.mark.parametrize(
    ("log", "end"),
    [
        (
            "a\nCannot write to the store: full.\n",
            " The log of uv-argo-x7k2p ends with: Cannot write to the store: full.",
        ),
        ("", ""),
    ],
)
def test_failed_run_shows_the_end_of_its_log(log, end):
    with pytest.raises(NodeFailed) as caught:
        environments._wait(FailedRun(log))
    assert str(caught.value) == f"The cell's container ended with exit code 1.{end}"
    assert (caught.value.hint, caught.value.reason) == ("See its log.", "lost")
