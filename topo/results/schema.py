"""What a results table holds: identity columns, accuracy, metric columns and their categories."""

from __future__ import annotations

import re
from collections.abc import Iterable

import numpy as np
import pandas as pd

from ..errors import InputError, nearest
from ..features import METRICS
from ..features.registry import CATEGORIES

__all__ = [
    "ALL_FAMILIES",
    "GROUPS",
    "accuracy_summary",
    "category_of",
    "metric_columns",
    "metric_label",
    "ordered_families",
    "ordered_metrics",
    "tidy_results",
]

# Networks that agree in these columns can be compared with each other.
GROUPS = ("dataset", "model", "sparsity")
# Pruner families in the order of the moment at which they prune, and what all of them together are called.
FAMILIES = ("initial", "dynamic", "trained", "structured")
ALL_FAMILIES = "all families"

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
    "compact_parameters", "compact_macs",
}  # fmt: skip
NOT_METRIC_PREFIXES = ("seconds", "layer_density", "setting_", "settings_", "n_layers", "empty_layers")

# Families of pruners that published tables name and the registry may not.
PUBLISHED_FAMILIES = {"prospr": "initial"} | dict.fromkeys(("snfs", "rigl", "itop", "dsr", "set"), "dynamic")

METRIC_OF = {column: entry.name for entry in METRICS.entries() for column in entry.info["columns"]}
PLACES = {
    column: (list(CATEGORIES).index(METRICS.entry(name).family), i)
    for i, (column, name) in enumerate(METRIC_OF.items())
}
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
    unknown = table["family"].isna()
    if unknown.any():
        table["family"] = table["family"].astype(object).where(~unknown, table["pruner"].map(_families()))
        table["family"] = table["family"].where(table["family"].notna(), "other")
    if "seed" not in table.columns:
        table["seed"] = 0
    if "status" not in table.columns:
        table["status"] = np.where(table["accuracy"].notna(), "finished", "failed")
    if "reason" not in table.columns:
        table["reason"] = ""
    table["reason"] = table["reason"].astype(object).where(table["reason"].notna(), "").astype(str)
    return table


def _families() -> dict[str, str]:
    """Family by pruner: the registry's, then that of published tables."""
    # The registry brings torch with it, which a table that names its families does not need.
    from ..pruning import PRUNERS

    return {"dense": "dense", **PUBLISHED_FAMILIES, **{entry.name: entry.family for entry in PRUNERS.entries()}}


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
    """Encoding prefix, metric name and suffixes of a column."""
    encoding, _, name = column.rpartition("__")
    suffixes: list[str] = []
    while name not in METRIC_OF and (found := SUFFIX.search(name)):
        name = name[: found.start()]
        suffixes.insert(0, found.group(1))
    return encoding, name, ", ".join(suffixes).replace("norm", "norm.")


def category_of(column: str) -> str:
    """Category of a metric column: the registered metric's, or ``"other"``.

    Examples
    --------
    >>> category_of("sink_nodes_norm"), category_of("rolled__k_core_mean"), category_of("unheard_of")
    ('local', 'strength', 'other')
    """
    name = _split(column)[1]
    return METRICS.entry(METRIC_OF[name]).family if name in METRIC_OF else "other"


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
        columns = [c for c in columns if _normalised(c) not in columns]
    last = (len(CATEGORIES), 0)
    return sorted(columns, key=lambda c: PLACES.get(_split(c)[1], last))


def _normalised(column: str) -> str:
    """Name of the normalised column beside a raw one, aggregated or not."""
    encoding, name, suffix = _split(column)
    head = f"{encoding}__" if encoding else ""
    return f"{head}{name}_norm_{suffix}" if suffix and "norm" not in suffix else f"{column}_norm"


def metric_label(column: str) -> str:
    """A column's name as a figure writes it.

    Examples
    --------
    >>> metric_label("sink_nodes_norm"), metric_label("rolled__k_core_mean"), metric_label("mean_degree")
    ('sink nodes (norm.)', 'k core (mean)', 'mean degree')
    """
    _, name, suffix = _split(column)
    text = name.replace("_", " ")
    return f"{text} ({suffix})" if suffix else text


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


def ordered_families(families: Iterable[str]) -> list[str]:
    """Pruner families in the order of the moment at which they prune, all of them together last.

    Parameters
    ----------
    families
        Names of families; unknown ones follow the known ones by name.

    Examples
    --------
    >>> ordered_families(["all families", "trained", "initial", "mine"])
    ['initial', 'trained', 'mine', 'all families']
    """
    position = {name: i for i, name in enumerate(FAMILIES)}
    return sorted(families, key=lambda name: (name == ALL_FAMILIES, position.get(name, len(position)), name))
