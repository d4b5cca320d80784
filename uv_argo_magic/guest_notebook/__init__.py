"""Modules that a notebook's cell may look for: IPython and ipykernel where they are not installed, and the shell.

Rules:
- They are files of their own on the cell's `sys.path`, behind everything installed: an installed IPython is used.
- As the guest: Python 3.8, the standard library, and nothing of ours but what `uv_argo_notebook.install` is given.
"""
