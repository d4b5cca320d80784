"""The part of the guest that keeps an interpreter for several cells; sent only with cells of a session."""
