"""A remote exception, rebuilt here with its traceback."""
