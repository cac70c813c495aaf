"""Mean accuracy of every pruner as a table, a column a sparsity."""

from __future__ import annotations

import pandas as pd

from ..results.labels import percent
from ..results.schema import PAIR
from .cells import Column, Table
from .place import Place

__all__ = ["accuracy_table", "perplexity_table"]


def accuracy_table(summary: pd.DataFrame, place: Place) -> Table | None:
    """Mean accuracy in percent by dataset, model and pruner, a column a sparsity; the dense networks first.

    Parameters
    ----------
    summary
        What `topo.stats.accuracy_summary` returned.
    place
        Where it will stand.

    Returns
    -------
    Table or None
        None where no network has an accuracy.

    Examples
    --------
    >>> from topo.results import example_results
    >>> from topo.stats.pruners import accuracy_summary
    >>> table = accuracy_table(accuracy_summary(example_results()), Place())
    >>> [column.name for column in table.columns], table.rows[1][2]
    (['dataset', 'model', 'pruner', '0%', '80%', '90%', '95%'], 'er')
    """
    unit = 100 if not summary.empty and summary["high"].max() <= 1.5 else 1
    return _means("accuracy", "Mean accuracy", summary, unit, 1, place)


def perplexity_table(summary: pd.DataFrame, place: Place) -> Table | None:
    """As `accuracy_table`, of the perplexities of language models: the smaller the better.

    Parameters
    ----------
    summary
        What `topo.stats.pruners.accuracy_summary` returned of perplexity.
    place
        Where it will stand.

    Returns
    -------
    Table or None
        None where no network has a perplexity.
    """
    return _means("perplexity", "Mean perplexity", summary, 1, 2, place)


def _means(name: str, title: str, summary: pd.DataFrame, unit: float, digits: int, place: Place) -> Table | None:
    if summary.empty:
        return None
    sparsities = sorted(summary["sparsity"].unique())
    rows = []
    for (dataset, model, pruner), group in summary.groupby([*PAIR, "pruner"], sort=True):
        by = group.drop_duplicates("sparsity").set_index("sparsity")
        cells = []
        for sparsity in sparsities:
            if sparsity not in by.index:
                cells.append("")
                continue
            half = (by.loc[sparsity, "high"] - by.loc[sparsity, "low"]) / 2 * unit
            mean = by.loc[sparsity, "mean"] * unit
            cells.append(
                f"{mean:.{digits}f} ± {half:.{digits}f}" if by.loc[sparsity, "n"] > 1 else f"{mean:.{digits}f}"
            )
        rows.append(((dataset, model), pruner != "dense", (str(dataset), str(model), str(pruner), *cells)))
    columns = [Column(name) for name in (*PAIR, "pruner")]
    columns += [Column(percent(s), True) for s in sparsities]
    ordered = tuple(row[-1] for row in sorted(rows, key=lambda row: row[:2]))
    return Table(name, title, tuple(columns), ordered, len(rows), place.write_table(name, summary))
