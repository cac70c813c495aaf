"""The whole results table: columns in groups that can be switched on and off, rows of texts, and a file."""

from __future__ import annotations

import base64
import gzip
from collections.abc import Sequence
from typing import Any

import pandas as pd

from ..results.schema import encoding_label, ordered_metrics
from .cells import cell

__all__ = ["full_table"]

IDENTITY = ("dataset", "model", "pruner", "family", "sparsity", "seed", "status", "accuracy", "dense_accuracy",
            "accuracy_drop", "loss", "reached_sparsity", "reason")  # fmt: skip
# Most cells and rows on the page; more would make it too heavy.
MOST_CELLS = 60_000
MOST_ROWS = 5_000


def full_table(table: pd.DataFrame, metrics: Sequence[str]) -> dict[str, Any]:
    """What the page's table needs: groups, columns, rows, how many columns and rows are only in the file, the file.

    The file is CSV, gzip-compressed and in base64.

    Parameters
    ----------
    table
        Results table.
    metrics
        Its metric columns.

    Returns
    -------
    dict
        By name.
    """
    first = [c for c in IDENTITY if c in table.columns and not (c == "reason" and (table[c] == "").all())]
    other = [c for c in table.columns if c not in first and c not in metrics]
    groups = {
        "results": first,
        "whole network": ordered_metrics([c for c in metrics if "__" not in c], published=False),
    }
    for prefix in dict.fromkeys(c.rpartition("__")[0] for c in metrics if "__" in c):
        groups[encoding_label(prefix)] = [c for c in metrics if c.rpartition("__")[0] == prefix]
    if other:
        groups["run"] = other
    groups = {name: columns for name, columns in groups.items() if columns}
    everything = table[[c for columns in groups.values() for c in columns]]
    left_out = 0
    if everything.size > MOST_CELLS:
        kept = {name: c for name, c in groups.items() if name in ("results", "whole network")}
        left_out = sum(len(c) for name, c in groups.items() if name not in kept)
        groups = kept
    columns = [
        {"name": c, "group": i, "number": pd.api.types.is_numeric_dtype(table[c])}
        for i, names in enumerate(groups.values())
        for c in names
    ]
    shown = table.iloc[:MOST_ROWS][[c["name"] for c in columns]]
    texts = [[cell(v) for v in shown[name]] for name in shown.columns]
    packed = gzip.compress(everything.to_csv(index=False).encode(), mtime=0)
    return {
        "groups": [
            {"name": name, "columns": len(c), "shown": name in ("results", "whole network")}
            for name, c in groups.items()
        ],
        "columns": columns,
        "rows": list(zip(*texts, strict=True)),
        "left_out": left_out,
        "rows_left_out": len(table) - len(shown),
        "csv": base64.b64encode(packed).decode(),
    }
