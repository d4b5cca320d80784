"""As IPython.lib."""
