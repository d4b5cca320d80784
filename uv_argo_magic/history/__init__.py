"""The runs of this machine, kept on disk."""
