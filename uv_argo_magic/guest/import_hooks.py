"""Actions that run when the user's code imports a module, without importing it ourselves.

Rule: what the user imports is loaded as it would be without us; an action only adds to the finished module.
"""

import contextlib
import sys


class AfterImport:
    """A finder that finds nothing of its own: it lets others find `name`, and runs `action(module)` after loading."""

    def __init__(self, actions):
        self.actions = dict(actions)

    def install(self):
        # type: () -> None
        """Become the first finder; act at once for modules that are imported already."""
        for name in list(self.actions):
            if name in sys.modules:
                self.actions.pop(name)(sys.modules[name])
        sys.meta_path.insert(0, self)

    def find_spec(self, name, path=None, target=None):
        """The specification that another finder gives, with the action behind its loader."""
        action = self.actions.get(name)
        if action is None:
            return None
        for finder in sys.meta_path:
            if finder is self or not hasattr(finder, "find_spec"):
                continue
            spec = finder.find_spec(name, path, target)
            if spec is None:
                continue
            self._follow(spec, action)
            return spec
        return None

    @staticmethod
    def _follow(spec, action):
        load = getattr(spec.loader, "exec_module", None)
        if load is None:
            return

        def exec_module(module):
            load(module)
            action(module)

        with contextlib.suppress(AttributeError):  # a loader that takes no attributes: the module stays as it is
            spec.loader.exec_module = exec_module
