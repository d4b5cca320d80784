"""Code for pushed and pulled values in addition to guest/values.py; both sides use it.

It is only sent with runs that push or pull, as the package `uv_argo_values`: standard library only, Python 3.8 syntax,
and it imports nothing of ours.
"""
