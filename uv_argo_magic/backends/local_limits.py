"""Apply the resources of a local run as limits of its processes, on systems where a process can limit itself (Linux).

The limit on memory is RLIMIT_DATA for each process, so that Python raises MemoryError. A limit on the address space
would also count memory that libraries only reserve. The CPUs are a random choice among those of this process.
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
    """Code that sets the limits for a program and all its processes; "" without limits."""
    if sys.platform != "linux" or not (resources.memory or resources.cpu):
        return ""
    available = sorted(os.sched_getaffinity(0))
    count = min(math.ceil(quantity.limit(resources.cpu)), len(available))
    return _PRELUDE.format(memory=int(quantity.limit(resources.memory)), cpus=random.sample(available, count))
