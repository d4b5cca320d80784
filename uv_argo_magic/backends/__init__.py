"""Where a run happens: everything that talks to a process, a file or a cluster."""
