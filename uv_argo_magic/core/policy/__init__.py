"""Package policies: rules that an administrator writes, and checks of runs against them."""
