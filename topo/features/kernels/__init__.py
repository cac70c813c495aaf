"""Loops over the arrays of a graph, compiled by numba: a file for each, loaded when a metric first needs it.

The compiled code is kept on disk, in ``__pycache__`` beside the files or in the user's cache, so it is compiled once a
machine. Where numba does not load, `compiled` says so once and every metric takes its slower route through scipy and
igraph, with equal values.

A kernel takes and returns arrays and numbers, knows no graph or view, and lets go of the interpreter's lock.
"""
