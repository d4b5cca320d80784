"""What is wanted, and what is made of it: the RunSpec with its settings, the program, the script, the metadata."""
