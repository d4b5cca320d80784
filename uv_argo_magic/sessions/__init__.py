"""The sessions of this machine: which there are, and how a client talks to their workers."""
