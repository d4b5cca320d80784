"""Nothing of the user's own settings reaches a test: no UV_ARGO_* of the shell that started it."""

from __future__ import annotations

import os

for name in [name for name in os.environ if name.startswith("UV_ARGO_") and not name.startswith("UV_ARGO_TEST_")]:
    del os.environ[name]
