"""The protocol between guest and client: records, the state folded from them, values and remote errors."""
