"""Tables of question 2: confounders of the metrics, and correlations with the confounders partialled out."""

from __future__ import annotations

from functools import partial

import numpy as np
import pandas as pd

from ..results.evidence import Evidence
from ..results.schema import GROUPS, PAIR
from ..stats.collinearity import collinear_groups, determined_columns
from ..stats.correlation import grouped_correlation
from ..stats.permutation import permutation_correlation
from ..stats.significance import FEWEST_ALGORITHMS, cluster_column, with_q_values
from .grouping import scopes

__all__ = [
    "RAMANUJAN",
    "WEIGHT",
    "controlled_correlations",
    "density_column",
    "family_medians",
    "ramanujan_and_accuracy",
    "ramanujan_and_density",
    "redundant_metrics",
    "weights",
]

WEIGHT = "mean_abs_weight"
# Columns with the mean share of weights that layers keep; the first one present is used.
DENSITIES = (
    *("layer_density_mean", "rolled__direct_sparsity_mean", "unrolled__direct_sparsity_mean", "reached_sparsity"),
)
RAMANUJAN = {"delta_r": "bound (delta r)", "imdb": "iterative bound", "iwsg": "iterative gap"}


def density_column(table: pd.DataFrame) -> str | None:
    """The column with the mean density of the layers, or None.

    Parameters
    ----------
    table
        One row a network.

    Returns
    -------
    str or None
        Its name.
    """
    known = [c for c in DENSITIES if c in table.columns and table[c].notna().any()]
    return known[0] if known else None


def controlled_correlations(table: pd.DataFrame, metrics: list[str], min_rows: int, seed: int) -> pd.DataFrame:
    """Every scope, control and metric: the (partial) correlation over groups, tested by permutation of algorithms.

    Parameters
    ----------
    table
        One row a network.
    metrics
        Metric columns.
    min_rows
        Fewest networks for a correlation, where there are not several algorithms.
    seed
        Seeds the permutations.

    Returns
    -------
    DataFrame
        One row for each of them.
    """
    density = density_column(table)
    controls: dict[str, list[str]] = {"alone": [], "given edges": ["edges"]}
    if density:
        controls["given edges, density"] = ["edges", density]
    if WEIGHT in table.columns:
        controls["given edges, density, |w|"] = [*(["edges", density] if density else ["edges"]), WEIGHT]
    unit = cluster_column(table)
    fewest = FEWEST_ALGORITHMS if unit else min_rows
    pieces = []
    for scope, part in scopes(table).items():
        # Every step on the same networks, so that the steps differ by their covariates only.
        complete = part.dropna(subset=controls[list(controls)[-1]])
        for control, given in controls.items():
            test = partial(
                permutation_correlation, complete, metrics, given=given, unit=unit, min_units=fewest, seed=seed
            )
            over = test()
            if given:
                # What ranks of the covariates leave unexplained, their values may explain, and the other way round.
                over["p"] = np.maximum(over["p"], test(kind="pearson", level=None)["p"])
            pieces.append(over.assign(scope=scope, control=control))
    controlled = with_q_values(pd.concat(pieces, ignore_index=True))
    first = ["scope", "control", "metric", "k", "units", "r", "low", "high", "p", "q"]
    return controlled[[*first, *[c for c in controlled.columns if c not in first]]]


def family_medians(table: pd.DataFrame, metrics: list[str], min_rows: int) -> pd.DataFrame:
    """Median and mean over groups of Spearman's correlation, within families and over all, and mean by dataset.

    Parameters
    ----------
    table
        One row a network.
    metrics
        Metric columns.
    min_rows
        Fewest networks for a correlation.

    Returns
    -------
    DataFrame
        One row a metric.
    """
    columns = {}
    for scope, part in scopes(table).items():
        correlations = grouped_correlation(part, metrics, by=GROUPS, n_boot=0, min_rows=min_rows)
        by_metric = correlations.groupby("metric", sort=False)["r"]
        columns[f"median {scope}"], columns[f"mean {scope}"] = by_metric.median(), by_metric.mean()
        if len(table["dataset"].unique()) > 1:
            for dataset, rows in correlations.groupby("dataset", sort=False):
                columns[f"mean {scope}, {dataset}"] = rows.groupby("metric", sort=False)["r"].mean()
    return pd.DataFrame(columns).rename_axis("metric").reset_index()


def weights(table: pd.DataFrame) -> pd.DataFrame | None:
    """Mean absolute weight by architecture and family, and relative to the initial (or first) family's.

    Parameters
    ----------
    table
        One row a network, with the column `WEIGHT`.

    Returns
    -------
    DataFrame or None
        None where weights are not known, or there is one family.
    """
    if WEIGHT not in table.columns or table["family"].nunique() < 2:
        return None
    middle = table.pivot_table(WEIGHT, [*GROUPS], "family", "median", observed=True)
    base = "initial" if "initial" in middle else middle.columns[0]
    rows = []
    for model, part in [*middle.groupby("model"), ("all", middle)]:
        for family in part.columns:
            ratio = (part[family] / part[base]).dropna()
            typical = table.loc[(table["family"] == family) & ((table["model"] == model) | (model == "all")), WEIGHT]
            rows.append([model, family, typical.median(), base, ratio.median(), ratio.min(), ratio.max(), len(ratio)])
    columns = ["model", "family", "median_weight", "compared_with", "ratio", "ratio_low", "ratio_high", "groups"]
    return pd.DataFrame(rows, columns=columns)


def redundant_metrics(table: pd.DataFrame, metrics: list[str], threshold: float) -> pd.DataFrame:
    """Groups of collinear metrics, with the exact formulas among them.

    Parameters
    ----------
    table
        One row a network.
    metrics
        Metric columns.
    threshold
        Rank correlation from which two metrics count as one.

    Returns
    -------
    DataFrame
        As of `topo.stats.collinear_groups`, and formula, empty where there is none.
    """
    groups = collinear_groups(table, metrics, threshold=threshold, by=GROUPS)
    exact = determined_columns(table).drop_duplicates("metric").set_index("metric")["formula"]
    return groups.assign(formula=groups["metric"].map(exact).astype(object).fillna(""))


def ramanujan_and_density(evidence: Evidence) -> pd.DataFrame | None:
    """Rank correlation of layer-wise Ramanujan metrics with the layer's density, pooled and by dataset and model.

    Parameters
    ----------
    evidence
        Tables to ask.

    Returns
    -------
    DataFrame or None
        None where no layer has such metrics.
    """
    layers = evidence.layers
    if layers is None or "encoding" not in layers.columns or "layer_density" not in layers.columns:
        return None
    layers = layers[layers["encoding"] == "ramanujan"]
    metrics = [m for m in RAMANUJAN if m in layers.columns and layers[m].notna().any()]
    if not metrics:
        return None
    correlate = partial(grouped_correlation, layers, metrics, target="layer_density", n_boot=0)
    every = correlate(by=[]).assign(dataset="all", model="all")
    each = correlate(by=[*PAIR])
    return pd.concat([every, each], ignore_index=True)[[*PAIR, "metric", "n", "r", "reason"]]


def ramanujan_and_accuracy(table: pd.DataFrame, ramanujan: list[str], min_rows: int) -> pd.DataFrame | None:
    """Correlation with accuracy of Ramanujan metrics and of layer density, median over groups.

    Parameters
    ----------
    table
        One row a network.
    ramanujan
        Layer-wise Ramanujan metrics.
    min_rows
        Fewest networks for a correlation.

    Returns
    -------
    DataFrame or None
        scope, metric, groups, median, median_size.
    """
    density = density_column(table)
    if density is None or not ramanujan:
        return None
    rows = []
    for scope, part in scopes(table).items():
        correlations = grouped_correlation(part, [density, *ramanujan], by=GROUPS, n_boot=0, min_rows=min_rows)
        for metric, r in correlations.groupby("metric", sort=False)["r"]:
            rows.append([scope, metric, int(r.notna().sum()), r.median(), r.abs().median()])
    return pd.DataFrame(rows, columns=["scope", "metric", "groups", "median", "median_size"])
