"""The commands and their options: the table, the parser of a line, help and completion."""
