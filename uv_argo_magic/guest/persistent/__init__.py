"""The part of the guest for persistent environments; sent only with runs that use one."""
