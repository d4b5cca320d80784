"""What a run prints, and the state that follows from it: records, the fold over them, values and remote errors."""
