"""Code for runs in an image without uv: an archive of its own."""
