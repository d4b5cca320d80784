"""The specification of a run and what is built from it: the program, the script and the output metadata."""
