"""See IPython.utils."""
