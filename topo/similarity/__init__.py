"""Distances between sparse networks, and tests on them."""

from .profiles import layer_profile, profile_distances, rank_scaled
from .topology_distance import Matching, nnstd, nnstd_matrix

__all__ = ["Matching", "layer_profile", "nnstd", "nnstd_matrix", "profile_distances", "rank_scaled"]
