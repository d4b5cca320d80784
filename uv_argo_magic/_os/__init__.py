"""This machine: where our files lie, how they are written, which process is which."""
