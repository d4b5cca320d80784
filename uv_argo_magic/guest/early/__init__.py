"""The early copy of a log; this package is sent only with runs on a cluster that are not in a session."""
