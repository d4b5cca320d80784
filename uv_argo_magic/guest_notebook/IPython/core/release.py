"""The version that these modules stand for."""

version = "9.0.0"
version_info = (9, 0, 0, "")
