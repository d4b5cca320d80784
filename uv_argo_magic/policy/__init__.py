"""The package policy of a run: its sources, and its enforcement before anything is installed."""
