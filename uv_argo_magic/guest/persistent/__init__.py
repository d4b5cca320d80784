"""What only runs with a persistent environment need: an archive of its own, in the same place."""
