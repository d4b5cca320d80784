"""What libraries look for of ipykernel, for cells whose environment does not have it."""

version_info = (7, 0, 0)
__version__ = "7.0.0"
