"""As IPython.terminal."""
