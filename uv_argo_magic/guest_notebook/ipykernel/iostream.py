"""The class of sys.stdout in a notebook, which libraries check; the cell's streams are instances of it."""


class OutStream:
    """A stream of a kernel."""
