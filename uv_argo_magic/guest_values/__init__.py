"""Code for pushed and pulled values, in addition to guest/values.py; both ends use it.

It is sent, as the package `uv_argo_values`, only with runs that push or pull. It uses only the standard library and
Python 3.8 syntax, and imports none of our other packages.
"""
