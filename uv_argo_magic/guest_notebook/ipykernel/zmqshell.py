"""Where libraries look for a notebook's shell: it gets the class of the cell's shell when it is imported."""
