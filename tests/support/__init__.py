"""Shared parts of tests: servers, a fake engine, a driver for JupyterLab."""
