"""Named sets of metric columns, so that encodings are compared like with like."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd

from ..features import METRICS
from .controls import control_columns
from .schema import (
    NETWORK,
    category_of,
    encoding_label,
    layer_encodings,
    metric_columns,
    ordered_metrics,
    reads_weights,
)

__all__ = ["BASELINES", "WHOLE_NETWORK", "encodings_of", "feature_sets", "mask_only_set", "set_label", "with_norms"]


# Sets that hold no topology: what any set of metrics has to beat.
BASELINES = ("mean", "sparsity", "density", "edges_density", "ramanujan")

# The set of the graph of the whole network.
WHOLE_NETWORK = "multipartite"
# What the set of an encoding's z-scores against random masks ends in.
Z_SCORES = "_z"
# Categories that are no topology of every encoding: how big and how dense a graph is, and what only layers have, make
# sets of their own.
OTHER_SETS = ("general", "sparsity", "ramanujan")
# Raw counts that grow with the graph (the number of paths beyond what a float holds).
MOTIFS = "motifs_of_three"  # what published layer tables count; no registered metric
COUNTS = re.compile(r"^(n_paths|effective_edges)(_mean)?$")

LABELS = {"edges_density": "edges + density", "density": "layer density", "mean": "mean of training rows"}


def set_label(name: str) -> str:
    """A feature set's name as a figure writes it.

    Parameters
    ----------
    name
        A key of `feature_sets`.

    Returns
    -------
    str
        The text.

    Examples
    --------
    >>> set_label("rolled_channel_norm_untrained"), set_label("density")
    ('rolled-channel / size, mask only', 'layer density')
    >>> set_label("rolled_z")
    'rolled, z-scores'
    """
    if name in LABELS:
        return LABELS[name]
    if name.endswith(Z_SCORES):
        return f"{encoding_label(_head(name))}, z-scores"
    mask_only, normalised = name.endswith("_untrained"), name.removesuffix("_untrained").endswith("_norm")
    return encoding_label(_head(name)) + " / size" * normalised + ", mask only" * mask_only


def _head(name: str) -> str:
    return name.removesuffix("_untrained").removesuffix("_norm").removesuffix(Z_SCORES)


def encodings_of(sets: Iterable[str]) -> list[str]:
    """The layer-wise encodings that sets of metrics are of, as columns name them.

    Parameters
    ----------
    sets
        Names of feature sets.

    Returns
    -------
    list
        Of encodings, each once.

    Examples
    --------
    >>> encodings_of(["mean", "density", "multipartite_untrained", "rolled", "rolled_norm_untrained", "my_own_norm"])
    ['rolled', 'my_own']
    """
    return [head for head in dict.fromkeys(map(_head, sets)) if head not in (*BASELINES, WHOLE_NETWORK)]


def feature_sets(table: pd.DataFrame) -> dict[str, list[str]]:
    """The sets of columns that a table can offer; a set without a usable column is not there.

    A column is usable when it has two different finite values.

    Parameters
    ----------
    table
        A results table.

    Returns
    -------
    dict
        ``mean`` (no column), ``sparsity``, ``density`` (of layers), ``edges_density`` (of the whole network),
        ``ramanujan``, ``multipartite`` (whole-network metrics, normalised), ``rolled``, ``rolled_channel``,
        ``unrolled`` (raw layer metrics, means over layers), the same with ``_norm`` (divided by each layer's nodes or
        edges, as the multipartite ones are by the network's), and all of these with ``_untrained``: without the metrics
        that contain the values of trained weights. Of a study with controls also ``multipartite_z``, ``rolled_z``
        and so on: z-scores of the metrics against random masks with as many weights in every layer.

    Notes
    -----
    The multipartite and the layer-wise sets hold the same kinds of metric, those of one's own categories included:
    node and edge counts and densities are in none of them, or an encoding would be compared by how well its sizes tell
    models apart.

    Examples
    --------
    >>> from topo.results import example_results
    >>> sets = feature_sets(example_results())
    >>> list(sets)[:5]
    ['mean', 'sparsity', 'density', 'edges_density', 'multipartite']
    >>> sets["rolled"]
    ['rolled__k_core_mean']
    """
    usable = [c for c in metric_columns(table) if _varies(table[c])]
    of_network = [c for c in usable if "__" not in c]
    layers = [c for c in usable if c.startswith("rolled__density_")]
    layers += [c for c in table.columns if c.startswith("layer_density") and _varies(table[c])]
    densities = [c for c in ("density", "rolled__density_mean", "layer_density_mean") if c in (*of_network, *layers)]
    sets = {
        "mean": [],
        "sparsity": ["sparsity"] if "sparsity" in table.columns and _varies(table["sparsity"]) else [],
        "density": layers,
        "edges_density": [*(c for c in ("edges",) if c in of_network), *densities[:1]],
        "ramanujan": _ramanujan(usable),
        WHOLE_NETWORK: ordered_metrics(_topology(of_network)),
    }
    for encoding in layer_encodings(usable):
        if encoding in sets:  # the published Ramanujan table, whose metrics are a set already
            continue
        columns = _topology(c for c in usable if c.startswith(f"{encoding}__") and c.endswith("_mean"))
        sets[encoding] = ordered_metrics((c for c in columns if not c.endswith("_norm_mean")), published=False)
        normalised = ordered_metrics(columns)
        sets[f"{encoding}_norm"] = normalised if normalised != sets[encoding] else []
    offered = {}
    for name, columns in sets.items():
        if columns or name == "mean":
            offered[name] = columns
        untrained = [c for c in columns if not reads_weights(c)]
        if 0 < len(untrained) < len(columns):
            offered[f"{name}_untrained"] = untrained
    for column in ordered_metrics((c for c in control_columns(table) if _varies(table[c])), published=False):
        encoding = column.rpartition("__")[0] or WHOLE_NETWORK
        offered.setdefault(f"{encoding}{Z_SCORES}", []).append(column)
    return offered


def mask_only_set(sets: Mapping[str, Sequence[str]], encoding: str, *, normalised: bool = True) -> str | None:
    """Name of the feature set of an encoding that holds no metric of trained weights, None where there is none.

    Parameters
    ----------
    sets
        What `feature_sets` returned.
    encoding
        As columns name it, such as ``"rolled_channel"``; ``"multipartite"`` for the graph of the whole network.
    normalised
        Prefer metrics divided by the size of each layer's graph, where there are some.

    Examples
    --------
    >>> mask_only_set({"rolled": ["rolled__strength_mean", "rolled__k_core_mean"],
    ...                "rolled_untrained": ["rolled__k_core_mean"]}, "rolled")
    'rolled_untrained'
    >>> mask_only_set({"rolled": ["rolled__strength_mean"]}, "rolled") is None
    True
    """
    heads = (f"{encoding}_norm", encoding) if normalised else (encoding,)
    candidates = [name for head in heads for name in (f"{head}_untrained", head)]
    return next((n for n in candidates if n in sets and not any(map(reads_weights, sets[n]))), None)


def _topology(columns: Iterable[str]) -> list[str]:
    return [c for c in columns if (category_of(c) not in OTHER_SETS or MOTIFS in c) and not COUNTS.search(_bare(c))]


def _bare(column: str) -> str:
    return column.rpartition("__")[2]


def _ramanujan(columns: list[str]) -> list[str]:
    own = [c for c in columns if c.startswith("ramanujan__") and c.endswith("_mean")]
    rolled = [c for c in columns if c.startswith("rolled__") and c.endswith("_mean")]
    return own or [c for c in rolled if category_of(c) == "ramanujan"]


def _varies(column: pd.Series) -> bool:
    if not pd.api.types.is_numeric_dtype(column):
        return False
    values = column.to_numpy(float)
    values = values[np.isfinite(values)]
    return len(values) > 1 and values.min() < values.max()


def with_norms(networks: pd.DataFrame, layers: pd.DataFrame | None) -> pd.DataFrame:
    """Networks with layer metrics divided by each layer's nodes or edges, where only raw ones are known.

    Parameters
    ----------
    networks
        One row a network.
    layers
        One row a layer and encoding, with the identity columns of a network, encoding, nodes, edges and raw metrics.

    Returns
    -------
    DataFrame
        `networks` with ``<encoding>__<metric>_norm_mean`` for the metrics that have a normalised form and lack it.

    Examples
    --------
    >>> names = {"dataset": "d", "model": "m", "pruner": "er", "sparsity": 0.9, "seed": 0}
    >>> layers = pd.DataFrame([{**names, "encoding": "rolled", "nodes": 4, "edges": e, "k_core": 2.0} for e in (8, 4)])
    >>> with_norms(pd.DataFrame([names]), layers)["rolled__k_core_norm_mean"].tolist()
    [0.375]
    """
    if layers is None or not {"encoding", "nodes", "edges", *NETWORK} <= set(layers.columns):
        return networks
    per = {c: e.info["per"] for e in METRICS.entries() for c in e.info["columns"] if e.info["per"]} | {MOTIFS: "edges"}
    keys = list(NETWORK)
    for encoding in layers["encoding"].unique():
        part = layers[layers["encoding"] == encoding]
        norms = {
            f"{encoding}__{metric}_norm_mean": part[metric] / part[size].where(part[size] > 0)
            for metric, size in per.items()
            if metric in part.columns and f"{encoding}__{metric}_norm_mean" not in networks.columns
        }
        if norms and len(part):
            means = part[keys].assign(**norms).groupby(keys)[list(norms)].mean().dropna(axis=1, how="all")
            networks = networks.merge(means.reset_index(), on=keys, how="left")
    return networks
