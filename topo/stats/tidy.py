"""What a results table holds: identity columns, accuracy, metric columns and their categories."""

from __future__ import annotations

import re
from collections.abc import Iterable

import numpy as np
import pandas as pd

from ..errors import InputError, nearest

__all__ = ["accuracy_summary", "category_of", "metric_columns", "metric_label", "ordered_metrics", "tidy_results"]

# Names used by published tables for what is called otherwise here.
ALIASES = {
    "pruning": "pruner",
    "disc_nodes": "disconnected_nodes",
    "r-out": "removable_out",
    "r-in": "removable_in",
    "1-hop_nei": "one_hop",
    "2-hop_nei": "two_hop",
    "cut-edges": "cut_edges",
    "cut-nodes": "cut_nodes",
    "motif": "motifs",
    "no_connected_components": "connected_components",
    "mean_connected_components": "mean_component_size",
    "avg_node_strength": "strength",
    "k-core": "k_core",
}

NOT_METRICS = {
    "dataset", "model", "pruner", "family", "sparsity", "seed", "status", "reason", "accuracy", "loss",
    "dense_accuracy", "accuracy_drop", "reached_sparsity", "recipe", "cell", "key", "hash", "stage", "device",
    "epochs", "undefined", "train_loss", "train_accuracy", "kept_weights", "total_weights", "peak_memory",
}  # fmt: skip
NOT_METRIC_PREFIXES = ("seconds", "layer_density", "setting_", "settings_", "n_layers", "empty_layers")

FAMILIES = {
    "initial": "uniform er erk snip grasp synflow prospr phew force iterative-snip",
    "dynamic": "set rigl itop snfs dsr mest cht",
    "trained": "magnitude magnitude-layerwise lamp gmp imp wanda sparsegpt",
}
FAMILY_OF = {name: family for family, names in FAMILIES.items() for name in names.split()}

CATEGORIES = {
    "size": "nodes edges density",
    "local": "sink_nodes source_nodes disconnected_nodes removable_out removable_in",
    "neighbourhood": "one_hop two_hop motifs",
    "strength": "strength k_core",
    "global": "cut_edges cut_nodes connected_components mean_component_size",
    "expansion": "spectral_gap spectral_radius",
}
KNOWN = {name: category for category, names in CATEGORIES.items() for name in names.split()}
SUFFIX = re.compile(r"_(norm|mean|min|max|weighted)$")


def tidy_results(table: pd.DataFrame) -> pd.DataFrame:
    """A copy of a results table with the column names and identity columns that figures rely on.

    Published names are translated, a missing dataset, model, family, seed, status or reason is filled in, and
    pruner names are lower-case. `accuracy`, `pruner` and `sparsity` must be there.

    Raises
    ------
    InputError
        A needed column is missing or is not numeric.

    Examples
    --------
    >>> raw = pd.DataFrame({"accuracy": [0.9], "pruning": ["snip"], "sparsity": [0.6]})
    >>> tidy_results(raw)[["pruner", "family", "status"]].values.tolist()
    [['snip', 'initial', 'finished']]
    """
    if not isinstance(table, pd.DataFrame):
        raise InputError(f"a results table must be a pandas DataFrame; got {type(table).__name__}.")
    table = table.rename(columns={k: v for k, v in ALIASES.items() if v not in table.columns}).reset_index(drop=True)
    for name in ("accuracy", "pruner", "sparsity"):
        if name not in table.columns:
            close = nearest(name, map(str, table.columns))
            hint = f" (nearest: {', '.join(close)})" if close else ""
            raise InputError(f"the results table has no column {name!r}{hint}; it has {len(table.columns)} columns.")
    for name in ("accuracy", "sparsity"):
        values = pd.to_numeric(table[name], errors="coerce")
        if (values.isna() & table[name].notna()).any():
            raise InputError(f"column {name!r} of the results table holds values that are not numbers.")
        table[name] = values.astype(float)
    table["pruner"] = table["pruner"].astype(str).str.lower()
    for name in ("dataset", "model"):
        table[name] = table[name].astype(str) if name in table.columns else "unnamed"
    if "family" not in table.columns:
        table["family"] = None
    known = table["pruner"].map(FAMILY_OF)
    table["family"] = table["family"].astype(object).where(table["family"].notna(), known)
    table["family"] = table["family"].where(table["family"].notna(), "other")
    if "seed" not in table.columns:
        table["seed"] = 0
    if "status" not in table.columns:
        table["status"] = np.where(table["accuracy"].notna(), "finished", "failed")
    if "reason" not in table.columns:
        table["reason"] = ""
    table["reason"] = table["reason"].fillna("").astype(str)
    return table


def metric_columns(table: pd.DataFrame) -> list[str]:
    """Numeric columns that measure a graph, in the order of the table."""
    return [
        c
        for c in table.columns
        if c not in NOT_METRICS
        and not c.startswith(NOT_METRIC_PREFIXES)
        and pd.api.types.is_numeric_dtype(table[c])
        and not pd.api.types.is_bool_dtype(table[c])
    ]


def _split(column: str) -> tuple[str, str, str]:
    """Encoding prefix, metric name and suffix of a column."""
    encoding, _, name = column.rpartition("__")
    found = SUFFIX.search(name)
    return (encoding, name[: found.start()], found.group(1)) if found else (encoding, name, "")


def category_of(column: str) -> str:
    """Category of a metric column: the registered metric's, or ``"other"``.

    Examples
    --------
    >>> category_of("sink_nodes_norm"), category_of("rolled__k_core_mean"), category_of("unheard_of")
    ('local', 'strength', 'other')
    """
    return KNOWN.get(_split(column)[1], "other")


def ordered_metrics(columns: Iterable[str], *, published: bool = True) -> list[str]:
    """Metric columns by category, in the order of the definitions.

    With `published`, a raw column whose normalised form ``<name>_norm`` is also there is left out.

    Examples
    --------
    >>> ordered_metrics(["spectral_gap", "sink_nodes", "sink_nodes_norm", "edges"])
    ['edges', 'sink_nodes_norm', 'spectral_gap']
    """
    columns = list(columns)
    if published:
        columns = [c for c in columns if f"{c}_norm" not in columns]
    place = {name: i for i, name in enumerate(KNOWN)}
    categories = [*CATEGORIES, "other"]
    first = {c: i for i, c in enumerate(columns)}
    return sorted(
        columns, key=lambda c: (categories.index(category_of(c)), place.get(_split(c)[1], len(place)), first[c])
    )


def metric_label(column: str) -> str:
    """A column's name as a figure writes it.

    Examples
    --------
    >>> metric_label("sink_nodes_norm"), metric_label("rolled__k_core_mean")
    ('sink nodes, norm.', 'k core, mean')
    """
    _, name, suffix = _split(column)
    text = name.replace("_", " ")
    return f"{text}, {suffix.replace('norm', 'norm.')}" if suffix else text


def accuracy_summary(table: pd.DataFrame) -> pd.DataFrame:
    """Mean accuracy over seeds with the lowest and the highest seed.

    Returns
    -------
    DataFrame
        One row per dataset, model, pruner and sparsity: mean, low, high, n (networks with an accuracy).
    """
    whole = table[table["accuracy"].notna()]
    groups = whole.groupby(["dataset", "model", "pruner", "sparsity"], sort=True, observed=True)["accuracy"]
    return groups.agg(mean="mean", low="min", high="max", n="size").reset_index()
