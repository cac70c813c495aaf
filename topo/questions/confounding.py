"""Tables of question 2: correlations with the confounders of topology held still, and the confounders themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from ..results.controls import control_columns
from ..results.evidence import Evidence
from ..results.schema import GROUPS, PAIR
from ..stats.collinearity import collinear_groups, determined_columns
from ..stats.confounders import family_ratio
from ..stats.correlation import grouped_correlation
from ..stats.permutation import permutation_correlation
from ..stats.power import Detectable, detectable_correlation, p_to_be_found
from ..stats.significance import FEWEST_ALGORITHMS, cluster_column, with_q_values
from .grouping import scopes

__all__ = [
    "ALONE",
    "RAMANUJAN",
    "WEIGHT",
    "Z_STEP",
    "Steps",
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
RAMANUJAN = {"delta_r": "delta r (bound)", "imdb": "iterative bound", "iwsg": "iterative gap"}
ALONE = "alone"
Z_STEP = "given layer densities (z)"


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


@dataclass(frozen=True)
class Steps:
    """What is held still, step by step, while metrics are correlated with accuracy.

    Parameters
    ----------
    table
        One row a network, with the column `WEIGHT` where weights are known.
    metrics
        Metric columns.
    min_rows
        Fewest networks for a correlation, where there are not several algorithms.
    seed
        Seeds the permutations.
    """

    table: pd.DataFrame
    metrics: Sequence[str]
    min_rows: int
    seed: int

    @property
    def covariates(self) -> Mapping[str, list[str]]:
        """The columns that each step holds still; those of the last one with z-scores are none."""
        density = density_column(self.table)
        steps: dict[str, list[str]] = {ALONE: [], "given edges": ["edges"]}
        if density:
            steps["given edges, density"] = ["edges", density]
        if WEIGHT in self.table.columns:
            steps["given edges, density, |w|" if density else "given edges, |w|"] = [*list(steps.values())[-1], WEIGHT]
        return steps | ({Z_STEP: []} if self.z_scores else {})

    @property
    def z_scores(self) -> dict[str, str]:
        """By metric the column with its z-score against random masks of the same layer densities."""
        known = set(control_columns(self.table))
        found = {}
        for metric in self.metrics:
            for name in (f"{metric}_z", f"{metric.removesuffix('_norm')}_z"):
                if name in known and self.table[name].notna().any():
                    found[metric] = name
                    break
        return found

    def correlations(self) -> pd.DataFrame:
        """Every scope, step and metric: the (partial) correlation over groups, tested by permutation of algorithms.

        Returns
        -------
        DataFrame
            One row for each of them; q is over all tests of a step.
        """
        pieces = []
        for scope in scopes(self.table):
            for step, given in self.covariates.items():
                test = partial(permutation_correlation, *self._asked(scope, step), given=given, **self._settings)
                over = test()
                if given:
                    over["p"] = np.maximum(over["p"], self._p_on_other_scales(scope, step, given))
                over["metric"] = self._measured(step)
                pieces.append(over.assign(scope=scope, control=step))
        controlled = with_q_values(pd.concat(pieces, ignore_index=True), within=["control"])
        first = ["scope", "control", "metric", "k", "units", "r", "low", "high", "p", "q"]
        return controlled[[*first, *[c for c in controlled.columns if c not in first]]]

    def _p_on_other_scales(self, scope: str, step: str, given: list[str]) -> np.ndarray:
        """The larger p-value with values and with logarithms of the covariates in place of ranks.

        What ranks of a covariate leave unexplained, its values or their logarithms may explain.
        """
        table, metrics = self._asked(scope, step)

        def p_of(networks: pd.DataFrame, covariates: list[str]) -> np.ndarray:
            settings = {"kind": "pearson", "level": None, **self._settings}
            return permutation_correlation(networks, metrics, given=covariates, **settings)["p"].to_numpy()

        p = p_of(table, given)
        if (table[given] > 0).all(axis=None):
            logs = {f"log {name}": np.log(table[name].astype(float)) for name in given}
            other = p_of(table.assign(**logs), list(logs))
            # The covariates themselves are determined on one scale and not on the other.
            p = np.where(np.isnan(p), p, np.fmax(p, other))
        return p

    def alone(self) -> pd.DataFrame:
        """Every scope and metric with nothing held still.

        Returns
        -------
        DataFrame
            One row for each of them; q is over all.
        """
        pieces = [
            permutation_correlation(part, self.metrics, **self._settings).assign(scope=scope)
            for scope, part in scopes(self.table).items()
        ]
        return with_q_values(pd.concat(pieces, ignore_index=True))

    def detectable(self, controlled: pd.DataFrame, scope: str, step: str) -> Detectable:
        """What one more metric of a scope and step would have to be to be clear.

        Parameters
        ----------
        controlled
            What `correlations` returned.
        scope, step
            Where.

        Returns
        -------
        Detectable
            Of the rank correlation.
        """
        tests = controlled[controlled["control"] == step]
        given = self.covariates[step]
        return detectable_correlation(
            *self._asked(scope, step), p_below=p_to_be_found(tests), given=given, **self._settings
        )

    def _asked(self, scope: str, step: str) -> tuple[pd.DataFrame, list[str]]:
        # Every step on the same networks, so that the steps differ by their covariates only.
        most = max(self.covariates.values(), key=len)
        columns = [self.z_scores[m] if step == Z_STEP else m for m in self._measured(step)]
        return scopes(self.table)[scope].dropna(subset=most), columns

    def _measured(self, step: str) -> list[str]:
        return [m for m in self.metrics if step != Z_STEP or m in self.z_scores]

    @property
    def _settings(self) -> dict[str, Any]:
        unit = cluster_column(self.table)
        return {"unit": unit, "min_units": FEWEST_ALGORITHMS if unit else self.min_rows, "seed": self.seed}


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
        correlations = grouped_correlation(part, metrics, by=GROUPS, cluster=None, n_boot=0, min_rows=min_rows)
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
        As of `topo.stats.confounders.family_ratio`; None where weights are not known, or there is one family.
    """
    if WEIGHT not in table.columns or len(table["family"].unique()) < 2:
        return None
    return family_ratio(table, WEIGHT)


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
    """Rank correlation over layers of Ramanujan metrics with the layer's density, pooled and by dataset and model.

    Parameters
    ----------
    evidence
        Tables to ask.

    Returns
    -------
    DataFrame or None
        dataset, model, metric, n (layers), r, reason, and lowest and highest, of single algorithms; None where no layer
        has such metrics.
    """
    layers = evidence.layers
    if layers is None or "encoding" not in layers.columns or "layer_density" not in layers.columns:
        return None
    layers = layers[layers["encoding"] == "ramanujan"]
    metrics = [m for m in RAMANUJAN if m in layers.columns and layers[m].notna().any()]
    if not metrics:
        return None
    correlate = partial(grouped_correlation, layers, metrics, target="layer_density", cluster=None, n_boot=0)
    every = correlate(by=[]).assign(dataset="all", model="all")
    by_algorithm = correlate(by=["pruner"]).assign(dataset="all", model="all")
    pieces = [_with_range(every, by_algorithm), _with_range(correlate(by=[*PAIR]), correlate(by=[*PAIR, "pruner"]))]
    columns = [*PAIR, "metric", "n", "r", "lowest", "highest", "reason"]
    return pd.concat(pieces, ignore_index=True)[columns]


def _with_range(correlations: pd.DataFrame, by_algorithm: pd.DataFrame) -> pd.DataFrame:
    ends = by_algorithm.groupby([*PAIR, "metric"])["r"].agg(lowest="min", highest="max")
    return correlations.join(ends, on=[*PAIR, "metric"])


def ramanujan_and_accuracy(table: pd.DataFrame, ramanujan: list[str], steps: Steps) -> pd.DataFrame | None:
    """Correlation with accuracy of Ramanujan metrics and of layer density, over groups, algorithms as the sample.

    Parameters
    ----------
    table
        One row a network.
    ramanujan
        Layer-wise Ramanujan metrics.
    steps
        Whose settings are taken.

    Returns
    -------
    DataFrame or None
        As of `topo.stats.permutation_correlation`, with scope and q.
    """
    density = density_column(table)
    if density is None or not ramanujan:
        return None
    asked = Steps(table, [density, *ramanujan], steps.min_rows, steps.seed)
    alone = asked.alone()
    return alone if alone["r"].notna().any() else None
