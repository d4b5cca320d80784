"""The pure half: data, tables and folds; no I/O, clock, environment or threads.

Rule: imports the standard library's data modules and `packaging`, nothing else (import-linter checks it).
"""
