"""Renderers of runs: the panel and the cell output in a notebook, plain text in a terminal."""
