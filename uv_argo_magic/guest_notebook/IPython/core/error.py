"""The exceptions of IPython."""


class IPythonCoreError(Exception):
    """The base of IPython's errors."""


class TryNext(IPythonCoreError):
    """The next hook should be tried."""


class UsageError(IPythonCoreError):
    """A magic was used wrongly."""


class StdinNotImplementedError(IPythonCoreError, NotImplementedError):
    """Input is not available."""


class InputRejected(Exception):
    """A transformer refused the input."""
