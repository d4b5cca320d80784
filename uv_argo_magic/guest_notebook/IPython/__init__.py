"""The part of IPython that libraries use, for cells whose environment does not have IPython.

Each name behaves as in a notebook. All other names need the real IPython (`--deps ipython`).
"""

from . import display
from .core.getipython import get_ipython
from .core.interactiveshell import InteractiveShell

version_info = (9, 0, 0, "")
__version__ = "9.0.0"

__all__ = ["InteractiveShell", "__version__", "display", "get_ipython", "version_info"]
