"""Distances between sparse networks, and tests on them."""
