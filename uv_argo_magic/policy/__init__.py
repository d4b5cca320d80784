"""The package policy of a run: where it comes from, and that it holds before anything is installed."""
