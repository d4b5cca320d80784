"""Messages, text and HTML for states, locks, requirements and tables."""
