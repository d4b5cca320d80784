"""As IPython.utils."""
