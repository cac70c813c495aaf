"""What a results table holds: identity columns, accuracy, metric columns and their categories."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from ..encoding import ENCODINGS
from ..errors import InputError, counted, nearest
from ..features import CATEGORIES
from ..features.registry import STATISTICS, metric_facts
from .names import shown_names, with_shown_columns
from .numbers import as_numbers, not_numeric, require_single_columns
from .published_columns import PUBLISHED_METRICS

__all__ = [
    "ALL_FAMILIES",
    "GROUPS",
    "NETWORK",
    "PAIR",
    "REPEATS",
    "UNKNOWN_FAMILY",
    "MetricColumn",
    "category_of",
    "encoding_label",
    "layer_encodings",
    "metric_column",
    "metric_columns",
    "metric_label",
    "ordered_families",
    "ordered_metrics",
    "reads_weights",
    "remember_metrics",
    "tidy_results",
]

# What was trained on what.
PAIR = ("dataset", "model")
# Networks that agree in these columns can be compared with each other.
GROUPS = (*PAIR, "sparsity")
# Networks that differ in their seed alone.
REPEATS = (*PAIR, "pruner", "sparsity")
# What tells one network from another.
NETWORK = (*REPEATS, "seed")
# Pruner families in the order of the moment at which they prune, and what all together and an unknown one are called.
FAMILIES = ("initial", "dynamic", "trained", "structured")
ALL_FAMILIES = "all families"
UNKNOWN_FAMILY = "other"

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

# Metrics that sentences call otherwise.
SAID = {"n_paths": "number of paths", "log10_paths": "log10 of paths"}
Z_SCORE = "z"
SUFFIXES = ("norm", *STATISTICS, Z_SCORE)


@dataclass(frozen=True)
class MetricColumn:
    """What a column of a results table says of a graph.

    Attributes
    ----------
    encoding
        What the column's name begins with, such as ``"rolled_channel"``; empty for the graph of the whole network.
    metric
        The metric's own column, such as ``"k_core"``.
    suffixes
        ``"norm"`` where it is normalised, the statistic over layers where it is one, and ``"z"`` where it is the
        z-score against random masks with as many weights in every layer (see `topo.z_scores`).
    category
        The metric's.
    reads_weights
        Whether it depends on the values of the weights, which training changes, and not on the edges alone.
    """

    encoding: str
    metric: str
    suffixes: tuple[str, ...]
    category: str
    reads_weights: bool

    @property
    def statistic(self) -> str:
        """How it is taken over layers: ``"mean"``, ``"min"``, ``"max"``, ``"weighted"``, or nothing."""
        return next((suffix for suffix in self.suffixes if suffix in STATISTICS), "")


# Facts of metrics that tables which were read bring along, for those that are not registered here.
_recorded: dict[str, dict[str, Any]] = {}


def metric_column(column: str) -> MetricColumn | None:
    """What a column measures, or None for a column that no registered, published or recorded metric fills.

    Parameters
    ----------
    column
        Name of a column.

    Returns
    -------
    MetricColumn or None
        Encoding, metric, suffixes, category, and whether it reads weights.

    Examples
    --------
    >>> metric_column("rolled_channel__strength_norm_mean")
    MetricColumn(encoding='rolled_channel', metric='strength', suffixes=('norm', 'mean'), category='strength',
                 reads_weights=True)
    >>> metric_column("seconds_train") is None
    True
    """
    known = metric_facts()
    encoding, _, name = str(column).rpartition("__")
    suffixes: list[str] = []
    while name not in known:
        if name in PUBLISHED_METRICS or name in _recorded:
            break
        name, separator, suffix = name.rpartition("_")
        if not separator or suffix not in SUFFIXES:
            return None
        suffixes.insert(0, suffix)
    facts = known.get(name) or PUBLISHED_METRICS.get(name) or _recorded[name]
    return MetricColumn(encoding, name, tuple(suffixes), facts["category"], bool(facts["reads_weights"]))


def remember_metrics(table: pd.DataFrame) -> None:
    """Remember what a table records of its metrics (``table.attrs["metrics"]``), where none of that name is registered.

    A study writes with its table what each metric is, so that the table can be read and its columns be told apart
    where the code of its own metrics has not been imported.

    Parameters
    ----------
    table
        A results table.
    """
    recorded = table.attrs.get("metrics")
    if not isinstance(recorded, dict) or not recorded:
        return
    from ..study.table import RESERVED

    taken = RESERVED | set(metric_facts())
    for name, facts in recorded.items():
        described = isinstance(facts, dict) and isinstance(facts.get("category"), str) and "reads_weights" in facts
        if described and name not in taken:
            # Of two tables that say different things of one name, the one that keeps it from leaking counts.
            earlier = _recorded.get(name, {})
            _recorded[name] = facts | {"reads_weights": facts["reads_weights"] or earlier.get("reads_weights", False)}


def tidy_results(table: pd.DataFrame) -> pd.DataFrame:
    """A copy of a results table with the column names and identity columns that figures rely on.

    Published names are translated, a missing dataset, model, family, seed, status or reason is filled in, names are as
    `topo.results.names.shown_name` has them, pruners lower-case. `accuracy`, `pruner` and `sparsity` must be there.

    Parameters
    ----------
    table
        A results table; it stays as it is.

    Returns
    -------
    DataFrame
        Rows numbered from 0.

    Raises
    ------
    InputError
        A needed column is missing, a column is not numeric that has to be, or several have the same name.

    Examples
    --------
    >>> raw = pd.DataFrame({"accuracy": [0.9], "pruning": ["snip"], "sparsity": [0.6]})
    >>> tidy_results(raw)[["pruner", "family", "status"]].values.tolist()
    [['snip', 'initial', 'finished']]
    """
    if not isinstance(table, pd.DataFrame):
        raise InputError(f"a results table must be a pandas DataFrame; got {type(table).__name__}.")
    remember_metrics(table)
    require_single_columns(table)
    table = table.rename(columns={k: v for k, v in ALIASES.items() if v not in table.columns})
    table = with_shown_columns(table).reset_index(drop=True)
    # pandas copies attrs deeply with every column that is taken, which took half the time of a report.
    table.attrs = {}
    for name in ("accuracy", "pruner", "sparsity"):
        if name not in table.columns:
            close = nearest(name, map(str, table.columns))
            hint = f" (nearest: {', '.join(close)})" if close else ""
            raise InputError(f"the table has no column {name!r}{hint}; it has {counted(len(table.columns), 'column')}.")
    for name in ("accuracy", "sparsity"):
        table[name] = as_numbers(table, name)
    table["pruner"] = shown_names(table["pruner"]).str.lower()
    for name in PAIR:
        table[name] = shown_names(table.get(name, pd.Series(None, table.index, dtype=object))).fillna("unnamed")
    for name in (c for c in not_numeric(table) if metric_column(c) is not None):
        table[name] = as_numbers(table, name)
    family = shown_names(table.get("family", pd.Series(None, table.index, dtype=object)))
    if (unknown := family.isna()).any():
        family = family.astype(object).where(~unknown, table["pruner"].map(_families()).fillna(UNKNOWN_FAMILY))
    table["family"] = family.astype("str")
    if "seed" not in table.columns:
        table["seed"] = table.groupby(list(REPEATS), dropna=False).cumcount()
    if "status" not in table.columns:
        table["status"] = np.where(table["accuracy"].notna(), "finished", "failed")
    if "reason" not in table.columns:
        table["reason"] = ""
    table["reason"] = table["reason"].astype(object).where(table["reason"].notna(), "").astype(str)
    return table


def _families() -> dict[str, str]:
    """Family by pruner, which the registry knows of published tables' pruners too."""
    # The registry brings torch with it, which a table that names its families does not need.
    from ..pruning import PRUNERS

    return {"dense": "dense", **{entry.name: entry.family for entry in PRUNERS.entries()}}


def metric_columns(table: pd.DataFrame) -> list[str]:
    """The columns that measure a graph, in the order of the table: those that a metric fills with numbers.

    Z-scores of metrics are not among them; see `topo.results.control_columns`.

    Parameters
    ----------
    table
        A results table.

    Returns
    -------
    list
        Names of columns.
    """
    return [
        column
        for column, kind in table.dtypes.items()
        if pd.api.types.is_numeric_dtype(kind)
        and not pd.api.types.is_bool_dtype(kind)
        and (described := metric_column(column)) is not None
        and Z_SCORE not in described.suffixes
    ]


def layer_encodings(columns: Iterable[str]) -> list[str]:
    """What the names of layer-wise metric columns begin with: those of registered encodings first, in their order.

    Parameters
    ----------
    columns
        Names of columns, of any kind.

    Returns
    -------
    list
        Encodings with underscores, as columns begin with them.

    Examples
    --------
    >>> layer_encodings(["edges", "unrolled__edges_mean", "ramanujan__imdb_mean", "rolled__edges_mean"])
    ['rolled', 'unrolled', 'ramanujan']
    """
    described = map(metric_column, columns)
    there = list(dict.fromkeys(c.encoding for c in described if c is not None and c.encoding and c.statistic))
    registered = [name.replace("-", "_") for name in ENCODINGS]
    return sorted(there, key=lambda e: registered.index(e) if e in registered else len(registered))


def encoding_label(encoding: str) -> str:
    """An encoding, as columns name it, as a figure writes it.

    Parameters
    ----------
    encoding
        As columns begin with it; empty for metrics of the whole network.

    Returns
    -------
    str
        The text.

    Examples
    --------
    >>> encoding_label(""), encoding_label("rolled_channel"), encoding_label("my_own")
    ('whole network', 'rolled-channel', 'my own')
    """
    if not encoding:
        return "whole network"
    return next((name for name in ENCODINGS if name.replace("-", "_") == encoding), encoding.replace("_", " "))


def category_of(column: str) -> str:
    """Category of a metric column, or ``"other"`` for any other.

    Parameters
    ----------
    column
        Name of a column.

    Returns
    -------
    str
        Name of a category.

    Examples
    --------
    >>> category_of("sink_nodes_norm"), category_of("rolled__k_core_mean"), category_of("unheard_of")
    ('local', 'strength', 'other')
    """
    described = metric_column(column)
    return "other" if described is None else described.category


def reads_weights(column: str) -> bool:
    """Whether a metric column depends on the values of the weights, not on the mask alone; so does an unknown one.

    Parameters
    ----------
    column
        Name of a column.

    Returns
    -------
    bool
        True for what is no metric column.

    Examples
    --------
    >>> [reads_weights(c) for c in ("strength_norm", "rolled__spectral_gap_mean", "unheard_of")]
    [True, True, True]
    >>> [reads_weights(c) for c in ("k_core_z", "rolled__k_core_weighted", "spectral_gap_unweighted_mean")]
    [False, False, False]
    """
    described = metric_column(column)
    return described is None or described.reads_weights


def ordered_metrics(columns: Iterable[str], *, published: bool = True) -> list[str]:
    """Metric columns by category, in the order of the definitions.

    With `published`, a raw column whose normalised form ``<name>_norm`` is also there is left out.

    Parameters
    ----------
    columns
        Names of columns.
    published
        Whether to leave out raw columns that are there in normalised form too.

    Returns
    -------
    list
        Names of columns; those without a category come last.

    Examples
    --------
    >>> ordered_metrics(["spectral_gap", "sink_nodes", "sink_nodes_norm", "edges"])
    ['edges', 'sink_nodes_norm', 'spectral_gap']
    """
    columns = list(columns)
    if published:
        present = set(columns)
        columns = [c for c in columns if _normalised(c) not in present]
    categories = list(CATEGORIES)
    places = {name: (categories.index(facts["category"]), i) for i, (name, facts) in enumerate(metric_facts().items())}

    def place(column: str) -> tuple[int, int]:
        described = metric_column(column)
        return (len(categories), 0) if described is None else places.get(described.metric, (len(categories), 0))

    return sorted(columns, key=place)


def _normalised(column: str) -> str:
    described = metric_column(column)
    if described is None or not described.suffixes or "norm" in described.suffixes:
        return f"{column}_norm"
    head = f"{described.encoding}__" if described.encoding else ""
    return "_".join((f"{head}{described.metric}_norm", *described.suffixes))


def metric_label(column: str) -> str:
    """A column's name as a figure writes it.

    Parameters
    ----------
    column
        Name of a column.

    Returns
    -------
    str
        The text.

    Examples
    --------
    >>> metric_label("sink_nodes_norm"), metric_label("rolled__k_core_mean"), metric_label("mean_degree")
    ('sink nodes (norm.)', 'k core (mean)', 'mean degree')
    >>> metric_label("rolled__k_core_mean_z")
    'k core (mean, z)'
    """
    described = metric_column(column)
    if described is None:
        return column.rpartition("__")[2].replace("_", " ")
    text = SAID.get(described.metric, described.metric.replace("_", " "))
    suffix = ", ".join(described.suffixes).replace("norm", "norm.")
    return f"{text} ({suffix})" if suffix else text


def ordered_families(families: Iterable[str]) -> list[str]:
    """Pruner families in the order of the moment at which they prune, all of them together last.

    Parameters
    ----------
    families
        Names of families; unknown ones follow the known ones by name.

    Returns
    -------
    list
        The same names.

    Examples
    --------
    >>> ordered_families(["all families", "trained", "initial", "mine"])
    ['initial', 'trained', 'mine', 'all families']
    """
    position = {name: i for i, name in enumerate(FAMILIES)}
    return sorted(families, key=lambda name: (name == ALL_FAMILIES, position.get(name, len(position)), name))
