"""The files that are sent with each run, in one archive: the supervisor and the process that runs the cell.

Rules: standard library only, Python 3.8 syntax, imports nothing of ours but its own modules.
"""
