"""The history: runs of this machine, stored on disk."""
