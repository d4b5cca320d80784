"""The part of the guest for images without uv; sent only with runs that need it."""
