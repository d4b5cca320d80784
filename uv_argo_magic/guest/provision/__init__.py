"""What only runs in an image without uv need: an archive of its own, in the same place."""
