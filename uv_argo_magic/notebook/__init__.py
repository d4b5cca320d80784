"""What a person sees in Jupyter: the magics, the panel, the traceback."""
