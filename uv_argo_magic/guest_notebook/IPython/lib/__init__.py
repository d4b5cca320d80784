"""See IPython.lib."""
