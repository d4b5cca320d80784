"""State, locks and tables as text and HTML for people."""
