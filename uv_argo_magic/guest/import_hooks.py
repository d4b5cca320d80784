"""Run actions when the user's code imports a module, without importing it ourselves.

Rule: a module is loaded as usual; an action only changes the loaded module.
"""

import contextlib
import sys


class AfterImport:
    """A finder that delegates to the other finders, and runs the action for a module after it is loaded."""

    def __init__(self, actions):
        self.actions = dict(actions)

    def install(self):
        # type: () -> None
        """Become the first finder; run the actions of modules that are already imported."""
        for name in list(self.actions):
            if name in sys.modules:
                self.actions.pop(name)(sys.modules[name])
        sys.meta_path.insert(0, self)

    def find_spec(self, name, path=None, target=None):
        """The specification from another finder, with a loader that also runs the action."""
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

        with contextlib.suppress(AttributeError):  # a loader without settable attributes: the module stays unchanged
            spec.loader.exec_module = exec_module
