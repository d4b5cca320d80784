"""Run uv to resolve requirements and find Pythons; the store of locks for notebooks."""
