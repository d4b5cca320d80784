"""The version of IPython that these modules emulate."""

version = "9.0.0"
version_info = (9, 0, 0, "")
