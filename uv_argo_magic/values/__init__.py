"""Variables of the notebook that are pushed, and pulled ones as they arrive (docs/values.md)."""
