"""What uv resolved, how that is written down, and why it could not be resolved or installed."""
