"""Backends: everything that communicates with a process, a file or a cluster to run programs."""
