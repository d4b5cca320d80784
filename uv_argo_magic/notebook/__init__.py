"""The user interface in Jupyter: the magics, the panel and the editor."""
