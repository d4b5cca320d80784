"""The part of the guest that installs packages: environments, their files, and the output of uv."""
