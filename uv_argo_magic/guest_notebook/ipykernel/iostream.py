"""Where libraries look for the class of a notebook's sys.stdout; the cell's streams count as its instances."""


class OutStream:
    """A stream of a kernel."""
