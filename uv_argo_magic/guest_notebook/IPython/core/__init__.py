"""As IPython.core."""
