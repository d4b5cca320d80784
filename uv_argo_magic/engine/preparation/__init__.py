"""From a cell and its options to a run that is ready to be submitted: spec, target, lock and program."""
