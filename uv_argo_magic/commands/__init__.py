"""The commands that are not a run: one module each, the same in a notebook and in a terminal."""
