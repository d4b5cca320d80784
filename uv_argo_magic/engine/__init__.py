"""The one use case: run a cell. What is prepared before it is sent, and the loop that follows it."""
