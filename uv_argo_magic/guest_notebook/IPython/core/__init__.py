"""See IPython.core."""
