"""Package policies: rules that an administrator writes, and what of a run they do not allow."""
