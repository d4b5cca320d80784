"""See IPython.terminal."""
