"""What libraries use of IPython, for cells whose environment does not have it.

Each name acts as IPython's own does in a notebook; what is not here needs IPython itself (`--deps ipython`).
"""

from . import display
from .core.getipython import get_ipython
from .core.interactiveshell import InteractiveShell

version_info = (9, 0, 0, "")
__version__ = "9.0.0"

__all__ = ["InteractiveShell", "__version__", "display", "get_ipython", "version_info"]
