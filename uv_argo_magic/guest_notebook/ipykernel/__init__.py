"""The part of ipykernel that libraries use, for cells whose environment does not have ipykernel."""

version_info = (7, 0, 0)
__version__ = "7.0.0"
