"""This machine: the location of our files, atomic writes, and the identity of processes."""
