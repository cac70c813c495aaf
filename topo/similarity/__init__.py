"""Distances between sparse networks, and tests on them."""

from .overlap import mask_overlap
from .profiles import layer_profile, profile_distances, rank_scaled
from .topology_distance import Matching, nnstd, nnstd_matrix

__all__ = ["Matching", "layer_profile", "mask_overlap", "nnstd", "nnstd_matrix", "profile_distances", "rank_scaled"]
