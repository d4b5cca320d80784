"""The files that are sent with each run, in one archive: the supervisor and the process that runs the cell.

Rules: it uses only the standard library and Python 3.8 syntax, and imports none of our other packages.
"""
