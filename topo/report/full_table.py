"""The whole results table: columns in groups that can be switched on and off, and rows of texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from ..results.controls import control_columns
from ..results.schema import encoding_label, ordered_metrics
from .cells import Column, Table, cell

__all__ = ["ColumnGroup", "FullTable", "full_table"]

IDENTITY = ("dataset", "model", "pruner", "family", "sparsity", "seed", "status", "accuracy", "dense_accuracy",
            "accuracy_drop", "loss", "perplexity", "reached_sparsity", "reason")  # fmt: skip
NETWORK = "whole network"
# Most cells and rows on a page; more would make it too heavy.
MOST_CELLS = 30_000
MOST_ROWS = 2_000


@dataclass(frozen=True)
class ColumnGroup:
    """Columns that are switched on and off together.

    Attributes
    ----------
    name
        What they are called.
    first, last
        Position of the first and of the last column, from 1.
    """

    name: str
    first: int
    last: int


@dataclass(frozen=True)
class FullTable:
    """The whole results table, or as much of it as a page bears.

    Attributes
    ----------
    table
        Its columns and rows.
    groups
        Groups of columns.
    left_out
        Columns that are only in the file.
    """

    table: Table
    groups: tuple[ColumnGroup, ...]
    left_out: int


def full_table(table: pd.DataFrame, metrics: Sequence[str], file: str = "") -> FullTable:
    """The results table in groups of columns, as many of them as a page bears.

    Parameters
    ----------
    table
        Results table.
    metrics
        Its metric columns.
    file
        Where it lies as CSV, relative to the report.

    Returns
    -------
    FullTable
        Results first, then the metrics of the whole network, those of layers, and all else.

    Examples
    --------
    >>> from topo.results import example_results, metric_columns
    >>> table = example_results()
    >>> [group.name for group in full_table(table, metric_columns(table)).groups][:2]
    ['results', 'whole network']
    """
    first = [c for c in IDENTITY if c in table.columns and not (c == "reason" and (table[c] == "").all())]
    groups = {"results": first, NETWORK: ordered_metrics([c for c in metrics if "__" not in c], published=False)}
    for prefix in dict.fromkeys(c.rpartition("__")[0] for c in metrics if "__" in c):
        groups[encoding_label(prefix)] = [c for c in metrics if c.rpartition("__")[0] == prefix]
    groups["z-scores against random masks"] = control_columns(table)
    placed_already = {column for members in groups.values() for column in members} | set(metrics)
    groups["run"] = [c for c in table.columns if c not in placed_already]
    shown = table.iloc[:MOST_ROWS]
    columns: list[str] = []
    placed: list[ColumnGroup] = []
    left_out = 0
    for name, members in groups.items():
        if not members:
            continue
        if placed and len(shown) * (len(columns) + len(members)) > MOST_CELLS:
            left_out += len(members)
            continue
        placed.append(ColumnGroup(name, len(columns) + 1, len(columns) + len(members)))
        columns += members
    texts = [[cell(v) for v in shown[c]] for c in columns]
    heads = tuple(Column(c, pd.api.types.is_numeric_dtype(table[c])) for c in columns)
    rows = tuple(zip(*texts, strict=True))
    return FullTable(Table("results", "Results", heads, rows, len(table), file), tuple(placed), left_out)
