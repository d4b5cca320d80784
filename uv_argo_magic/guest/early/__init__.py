"""The early copy of a log: sent with runs on a cluster that are not in a session."""
