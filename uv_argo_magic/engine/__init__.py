"""The use case of this package: prepare a cell, submit it, and follow the run."""
