"""How the networks of a question are grouped, and sampled where there are too many."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import pandas as pd

from ..errors import counted
from ..results.accuracy_drop import with_drop
from ..results.evidence import Evidence
from ..results.feature_sets import Z_SCORES, encodings_of, with_norms
from ..results.schema import ALL_FAMILIES, GROUPS, ordered_families

__all__ = [
    "HELD_OUT",
    "WIRING",
    "WIRING_LABEL",
    "held_out_columns",
    "limit_networks",
    "networks_with_drop",
    "normalised_layer_sets",
    "resample_count",
    "scopes",
    "varying_metrics",
    "wiring_columns",
]

# Titles of the ways of holding groups out, by the column whose values are held out.
HELD_OUT = {"dataset": "unseen dataset", "model": "unseen model", "pruner": "unseen algorithm", "seed": "unseen seed"}
# The set of all z-scores against random masks with equal layer densities, and what figures call it.
WIRING, WIRING_LABEL = "wiring", "wiring alone (z-scores)"
# Share of the networks that need them, for the set to take part.
MOST_WITH_CONTROLS = 0.9
# Networks that are kept or left out together when there are too many.
SAMPLED_TOGETHER = [*GROUPS, "seed"]
MOST_NETWORKS = 20_000
MOST_DRAWS = 10_000_000


def scopes(table: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Networks of every pruner family and, where there are several, of all of them together.

    Parameters
    ----------
    table
        One row a network.

    Returns
    -------
    dict
        Name of the family -> its rows.
    """
    families = ordered_families(table["family"].unique())
    parts = {family: table[table["family"] == family] for family in families}
    return parts | ({ALL_FAMILIES: table} if len(families) > 1 else {})


def held_out_columns(table: pd.DataFrame, candidates: Iterable[str] = HELD_OUT) -> list[str]:
    """Those columns whose values can be held out, having several; where there is none of `candidates`, the seed.

    Parameters
    ----------
    table
        One row a network.
    candidates
        Columns to look at, such as ``("dataset", "model")``.

    Returns
    -------
    list of str
        Empty where not even the seeds differ.

    Examples
    --------
    >>> from topo.results import example_results
    >>> held_out_columns(example_results()), held_out_columns(example_results(), ["dataset"])
    (['pruner', 'seed'], ['seed'])
    """
    several = [column for column in candidates if len(table[column].unique()) > 1]
    return several or ["seed"] * (len(table["seed"].unique()) > 1)


def networks_with_drop(evidence: Evidence) -> tuple[pd.DataFrame, str]:
    """The sparse networks with their accuracy drop and normalised layer metrics, and what the drop means.

    Parameters
    ----------
    evidence
        Tables to ask.

    Returns
    -------
    tuple
        The table, and the sentence.

    Raises
    ------
    InputError
        No sparse network has an accuracy, or several rows are the same network.
    """
    return with_drop(with_norms(evidence.distinct, evidence.layers))


def normalised_layer_sets(sets: Iterable[str]) -> list[str]:
    """For each layer-wise encoding the feature set of its normalised metrics, or else of its raw ones.

    Parameters
    ----------
    sets
        Names of the feature sets of a table.

    Returns
    -------
    list
        Names of feature sets.
    """
    names = list(sets)
    return [f"{encoding}_norm" if f"{encoding}_norm" in names else encoding for encoding in encodings_of(names)]


def wiring_columns(table: pd.DataFrame, sets: Mapping[str, Sequence[str]]) -> list[str]:
    """The z-scores of all encodings against random masks, where nearly all networks have them; else none.

    Parameters
    ----------
    table
        One row a network.
    sets
        Its feature sets (`topo.results.feature_sets.feature_sets`).

    Returns
    -------
    list
        Names of columns.
    """
    columns = [column for name, held in sets.items() if name.endswith(Z_SCORES) for column in held]
    enough = columns and (table[columns].notna().mean(axis=1) >= 1 / 3).mean() >= MOST_WITH_CONTROLS
    return columns if enough else []


def varying_metrics(table: pd.DataFrame, metrics: Sequence[str], by: Sequence[str] = GROUPS) -> list[str]:
    """Those metrics that are not constant in every group.

    Parameters
    ----------
    table
        One row a network.
    metrics
        Numeric columns.
    by
        Columns that form the groups.

    Returns
    -------
    list
        Names of columns.
    """
    spread = table.groupby(list(by), observed=True)[list(metrics)].agg(lambda column: column.max() - column.min())
    return [metric for metric in metrics if (spread[metric] > 0).any()]


def resample_count(table: pd.DataFrame, most: int) -> int:
    """Number of bootstrap resamples for a table of this length: at most `most`, fewer for long tables, at least 100.

    Parameters
    ----------
    table
        What is resampled.
    most
        Resamples of a short table.

    Returns
    -------
    int
        The number.
    """
    return int(min(most, max(100, MOST_DRAWS // max(len(table), 1))))


def limit_networks(table: pd.DataFrame, *, most: int = MOST_NETWORKS, seed: int = 0) -> tuple[pd.DataFrame, str]:
    """At most about `most` networks, drawn at random with all algorithms of a group and seed.

    Parameters
    ----------
    table
        One row a network.
    most
        Networks to keep.
    seed
        Seeds the draw.

    Returns
    -------
    table : DataFrame
        The networks kept.
    note : str
        A sentence that says how many were left out; empty where none were.

    Examples
    --------
    >>> from topo.results import example_results
    >>> kept, note = limit_networks(example_results(), most=20)
    >>> len(kept), note
    (16, ' Of 50 networks 16 were used, drawn at random with all algorithms of a group and seed.')
    """
    if len(table) <= most:
        return table, ""
    code = table.groupby(SAMPLED_TOGETHER, dropna=False).ngroup()
    order = pd.Series(code.unique()).sample(frac=1, random_state=seed)
    sizes = code.value_counts().loc[order].cumsum()
    kept = sizes.index[: max(1, int((sizes <= most).sum()))]
    part = table[code.isin(kept)].reset_index(drop=True)
    used = f"{len(part)} {'was' if len(part) == 1 else 'were'} used"
    note = f" Of {counted(len(table), 'network')} {used}, drawn at random with all algorithms of a group and seed."
    return part, note
