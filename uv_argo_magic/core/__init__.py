"""Pure data, tables and functions; no I/O, clock, environment variables or threads.

Rule: imports the standard library's data modules and `packaging`, nothing else (import-linter checks it).
"""
