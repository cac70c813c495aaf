"""Networks that have nothing left to compare: no path from input to output, or an accuracy near that of guessing."""

from __future__ import annotations

import numpy as np
import pandas as pd

from .cleaning import are_percentages
from .labels import listed, percent
from .schema import NETWORK, PAIR, tidy_results

__all__ = ["collapsed_networks", "unknown_chance"]

# Of the accuracy above chance that the reference network has, what a network needs more than to count as trained.
SHARE = 0.1
# Standard errors of the accuracy of guessing on the test samples: one guess in a thousand is luckier.
ERRORS = 3.0
COLUMNS = [*NETWORK, "accuracy", "reason"]


def collapsed_networks(table: pd.DataFrame) -> pd.DataFrame:
    r"""Networks that collapsed: no kept weight connects input and output, or the accuracy is near chance.

    Chance is the accuracy :math:`c` of always naming the commonest class, where the table has it as column `chance`,
    and else :math:`1 / k` with :math:`k` classes. A network is near chance when its accuracy is at most the larger of

    - :math:`c + .1 \, (a - c)`: it has lost nine tenths of what the reference has above chance, where the
      reference :math:`a` is the accuracy of its dense network, else the best of the same dataset and model;
    - :math:`c + 3 \sqrt{c (1 - c) / n}`, where the number :math:`n` of test samples, or of the positions of them that
      are asked for an answer, is known: so much is reached by guessing.

    The first is there because many test samples tell 2% from the 1% of a hundred classes, which is still no network
    to compare with one of 70%.

    Parameters
    ----------
    table
        A results table. Columns `classes` and `test_samples` have the numbers of classes and of test samples; without
        `classes` chance is unknown, and only the status tells.

    Returns
    -------
    DataFrame
        dataset, model, pruner, sparsity, seed, accuracy and reason; rows keep the index that they have in the table
        when its rows are numbered from 0.

    Examples
    --------
    >>> from topo.results import example_results
    >>> table = example_results(sparsities=(0.9,))
    >>> table.loc[3, "accuracy"] = 0.12
    >>> collapsed_networks(table)[["pruner", "accuracy", "reason"]].values.tolist()
    [['erk', 0.12, 'accuracy near chance, which is 10% with 10 classes']]
    """
    table = tidy_results(table)
    unit = 100 if are_percentages(table["accuracy"]) else 1
    accuracy, classes = table["accuracy"] / unit, _numbers(table, "classes")
    chance = _numbers(table, "chance").fillna(1 / classes)
    limit = chance + SHARE * (_reference(table) / unit - chance).clip(lower=0)
    with np.errstate(invalid="ignore"):  # of a damaged record, which says nothing then
        luck = chance + ERRORS * np.sqrt(chance * (1 - chance) / _numbers(table, "test_samples"))
    near_chance = accuracy <= np.fmax(limit, luck) + 1e-12
    cut = table["status"] == "collapsed"
    reason = table["reason"].where(table["reason"] != "", "no kept weight connects the input to the output")
    levels = [f"accuracy near chance, which is {percent(c)} with {k:g} classes" for c, k in zip(chance, classes)]
    reason = reason.where(cut, pd.Series(levels, index=table.index, dtype=object))
    return table.assign(reason=reason).loc[cut | near_chance, COLUMNS]


def unknown_chance(table: pd.DataFrame) -> str:
    """For which datasets networks near chance can not be told, since the number of classes is not recorded.

    Parameters
    ----------
    table
        A results table.

    Returns
    -------
    str
        One sentence; empty when all are known.

    Examples
    --------
    >>> from topo.results import example_results
    >>> unknown_chance(example_results().drop(columns="classes"))
    'Whether networks are near chance is not known for digits: its number of classes is not recorded.'
    """
    table = tidy_results(table)
    datasets = sorted(table.loc[_numbers(table, "classes").isna(), "dataset"].unique())
    if not datasets:
        return ""
    whose = "its number" if len(datasets) == 1 else "their numbers"
    verb = "is" if len(datasets) == 1 else "are"
    return (
        f"Whether networks are near chance is not known for {listed(datasets)}: {whose} of classes {verb} not recorded."
    )


def _numbers(table: pd.DataFrame, column: str) -> pd.Series:
    """A column of counts, of which a dataset has one; NaN where no row of the dataset says it."""
    values = pd.Series(np.nan, index=table.index)
    if column in table.columns:
        values = pd.to_numeric(table[column], errors="coerce").astype(float)
    values = values.where(values > 0)
    return values.fillna(values.groupby(table["dataset"]).transform("max"))


def _reference(table: pd.DataFrame) -> pd.Series:
    """The dense accuracy, of the same seed where known; else the best of the same dataset and model."""
    reference = pd.Series(np.nan, index=table.index)
    if "dense_accuracy" in table.columns:
        reference = pd.to_numeric(table["dense_accuracy"], errors="coerce")
    groups = [table[name] for name in PAIR]
    dense = table["accuracy"].where(table["pruner"] == "dense")
    reference = reference.fillna(dense.groupby(groups).transform("mean"))
    return reference.fillna(table["accuracy"].groupby(groups).transform("max"))
