"""Modules that a notebook's cell can need: IPython and ipykernel if they are not installed, and the shell.

Rules:
- They are files at the end of the cell's `sys.path`, so that an installed IPython is used.
- Like the guest, they use only Python 3.8 and the standard library. Of our code, they use only the argument of
  `uv_argo_notebook.install`.
"""
