"""Locks, their file formats, and explanations of failed resolutions and installs."""
