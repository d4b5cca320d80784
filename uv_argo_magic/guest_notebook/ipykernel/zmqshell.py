"""The module of a notebook's shell, which libraries check; the class of the cell's shell is added at its import."""
