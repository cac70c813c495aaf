"""Columns of the published tables: reading those that a file must have, our names for them, those that mean nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from ..errors import InputError
from ..tables import read_table
from .data_issues import DataIssues

__all__ = [
    "AS_THEY_ARE",
    "LEFT_OUT",
    "NAMES",
    "PUBLISHED_METRICS",
    "RAMANUJAN",
    "RAMANUJAN_AS_THEY_ARE",
    "read_csv",
    "without_repeats",
]

# Metrics that only published tables have: their category, and whether they depend on the values of weights.
PUBLISHED_METRICS: dict[str, dict[str, Any]] = {
    "density_directed": {"category": "general", "reads_weights": False},
    "motifs_of_three": {"category": "other", "reads_weights": False},
    "largest_component": {"category": "other", "reads_weights": False},
    "smallest_component": {"category": "other", "reads_weights": False},
    "delta_r_mean_degree": {"category": "other", "reads_weights": False},
    "spectral_gap_unweighted": {"category": "other", "reads_weights": False},
    "spectral_radius_unweighted": {"category": "other", "reads_weights": False},
}

NAMES = {
    "pruning_algorithm": "pruner",
    "layer_id": "layer",
    "layer_sparsity": "layer_density",
    "avg_degree_all": "mean_degree",
    "bridges": "cut_edges",
    "a_point": "cut_nodes",
    "motifs_count": "motifs_of_three",
    "nei_one_hop": "one_hop",
    "strenght_all": "strength",
    "coreness_all": "k_core",
    "weak_clusters": "connected_components",
    "max_weak": "largest_component",
    "min_weak": "smallest_component",
    "mean_weak": "mean_component_size",
    "delta_r_undirected": "delta_r_mean_degree",
    "delta_s_undirected": "delta_s_relative",
    "spectral_gap_unweighted_undirected": "spectral_gap_unweighted",
    "spectral_radius_laplacian_unweighted_undirected": "spectral_radius_unweighted",
    "spectral_gap_weighted_undirected": "spectral_gap",
    "spectral_radius_laplacian_weighted_undirected": "spectral_radius",
}
AS_THEY_ARE = (
    *("accuracy", "sparsity", "model", "dataset", "seed", "layer_name", "nodes", "edges", "max_degree", "min_degree"),
    *("assortativity", "disconnected_nodes", "density_directed"),
)
# Column: why it is left out.
LEFT_OUT = {
    "motifs": "the column is empty",
    "coreness_out": "the column is empty",
    "transitivity": "the column is empty",
    "sink_nodes": "counts have whole layers subtracted and are negative in part",
    "source_nodes": "counts have whole layers subtracted (3468 padded inputs) and are negative in most rows",
    "lost_out_edges": "edges are those of the miscounted sink nodes",
    "lost_in_edges": "edges are those of the miscounted source nodes",
    "unique_edges": "counts distinct half-precision weights, which is no property of the graph",
    "weights_edges_ratio": "is unique_edges/edges",
    "density_undirected": "is twice density_directed",
    "avg_degree_in": "is half of avg_degree_all",
    "avg_degree_out": "is half of avg_degree_all",
    "nei_two_hop": "repeats nei_one_hop: no path of two arcs in a layer",
    "strenght_out": "is half of strenght_all",
    "strong_clusters": "repeats weak_clusters",
    "max_strong": "repeats max_weak",
    "min_strong": "repeats min_weak",
    "mean_strong": "repeats mean_weak",
    "delta_r_directed": "comes from a directed layer's adjacency, whose eigenvalues are all 0",
    "delta_s_directed": "comes from a directed layer's adjacency, whose eigenvalues are all 0",
    "spectral_gap_unweighted_directed": "comes from a directed layer's adjacency, whose eigenvalues are all 0",
    "spectral_gap_weighted_directed": "comes from a directed layer's adjacency, whose eigenvalues are all 0",
    "spectral_radius_laplacian_unweighted_directed": "the Laplacian of a directed layer is triangular",
    "spectral_radius_laplacian_weighted_directed": "the Laplacian of a directed layer is triangular",
}
RAMANUJAN = {
    "layer_id": "layer",
    "layer_sparsity": "layer_density",
    "no_weights": "kept_weights",
    "no_params": "total_weights",
    "iterative_spectral_gap": "iwsg",
    "iterative_degree_bound": "imdb",
    "degree_bound": "delta_r",
}
RAMANUJAN_AS_THEY_ARE = ("accuracy", "sparsity", "seed", "model", "dataset", "layer_name")
TEXT = {"pruning", "pruning_algorithm", "model", "dataset", "layer_name"}


def read_csv(file: Path, columns: tuple[str, ...]) -> pd.DataFrame:
    """A CSV file that must have `columns`; columns that are neither names nor empty must be numbers.

    Parameters
    ----------
    file
        The file.
    columns
        Names of the columns that are read.

    Returns
    -------
    DataFrame
        Those columns, in this order.

    Raises
    ------
    InputError
        When the file cannot be read, a column is missing, or holds text where numbers belong.
    """
    table = read_table(file)
    missing = [c for c in columns if c not in table.columns]
    if missing:
        raise InputError(f"{file} has no column {', '.join(map(repr, missing))}; it is not the published schema.")
    text = [c for c in columns if c not in TEXT and not pd.api.types.is_numeric_dtype(table[c])]
    if text:
        raise InputError(f"{file}: column {text[0]!r} holds values that are not numbers.")
    return table[list(columns)]


def without_repeats(table: pd.DataFrame, keys: list[str], file: str, issues: DataIssues) -> pd.DataFrame:
    """The first row of every key; the others are listed, those that say something else apart.

    Parameters
    ----------
    table
        Any table.
    keys
        Columns that should tell rows apart.
    file
        Name of the file, for the list.
    issues
        The list that repeats are added to.

    Returns
    -------
    DataFrame
        The rows that stay.
    """
    again = table.duplicated(keys)
    same = table.duplicated()
    column = ", ".join(keys)
    issues.add(file, column, int(same.sum()), "rows are written twice", "left out")
    issues.add(file, column, int((again & ~same).sum()), "rows repeat a key with other values", "the first kept")
    return table[~again]
