"""See IPython.paths."""

import os


def get_ipython_dir():
    """IPython's folder in the user's home."""
    return os.environ.get("IPYTHONDIR") or os.path.join(os.path.expanduser("~"), ".ipython")
