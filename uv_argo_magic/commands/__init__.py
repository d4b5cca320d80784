"""The commands other than a run, one module each; they are the same in a notebook and in a terminal."""
