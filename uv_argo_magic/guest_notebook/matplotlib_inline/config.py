"""The settings of the backend, as in matplotlib_inline.config."""

import builtins


class InlineBackend:
    """The settings that `%config InlineBackend` changes."""

    _instance = None

    @classmethod
    def instance(cls):
        """The settings of this process."""
        if cls._instance is None:
            cls._instance = cls()
        return cls._instance

    def __getattr__(self, name):
        return getattr(figures().settings, name)

    def __setattr__(self, name, value):
        figures().configure(name, value)


def figures():
    """The object that shows the cell's figures."""
    return builtins.get_ipython().notebook.figures
