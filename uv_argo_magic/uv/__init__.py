"""uv: how it is run, what it resolves, which Pythons it finds, and the locks kept for notebooks."""
