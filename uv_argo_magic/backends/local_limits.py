"""Resources of a local run as limits of its processes, where a process can limit itself (Linux).

Memory is what each process may allocate (RLIMIT_DATA), so that Python raises MemoryError: the address space as a limit
would also count what libraries only reserve. CPUs are some of this process's own, chosen at random for each run.
"""

from __future__ import annotations

import math
import os
import random
import sys
from typing import TYPE_CHECKING

from uv_argo_magic.core.spec import quantity

if TYPE_CHECKING:
    from uv_argo_magic.core.spec.settings import Resources

LIMITED = frozenset({"cpu", "memory"} if sys.platform == "linux" else ())
"""The fields of `Resources` that limit a run."""

_PRELUDE = """\
import os, resource
try:
    if {memory}:
        resource.setrlimit(resource.RLIMIT_DATA, ({memory}, {memory}))
    if {cpus}:
        os.sched_setaffinity(0, {cpus})
except (OSError, ValueError):
    pass  # a lower limit holds already
"""


def prelude(resources: Resources) -> str:
    """What a program runs first, so that all its processes have the limits; "" without limits."""
    if sys.platform != "linux" or not (resources.memory or resources.cpu):
        return ""
    available = sorted(os.sched_getaffinity(0))
    count = min(math.ceil(quantity.limit(resources.cpu)), len(available))
    return _PRELUDE.format(memory=int(quantity.limit(resources.memory)), cpus=random.sample(available, count))
