"""Z-scores of metrics in results tables: what of a metric is left once the densities of the layers are taken out."""

from __future__ import annotations

import pandas as pd

from .schema import Z_SCORE, metric_column

__all__ = ["compared_metric", "control_columns"]


def control_columns(table: pd.DataFrame) -> list[str]:
    """The columns that hold z-scores of metrics against random masks with as many weights in every layer.

    They are no metrics of a graph, so that `metric_columns` leaves them out, but what of a metric is left once the
    densities of the layers are taken out. Correlated with accuracy as metrics are, they tell whether wiring matters
    beyond density, which holding edges and density fixed over a handful of algorithms can not. A study whose file says
    ``controls: 20`` has them; `topo.z_scores` says how they are made.

    Parameters
    ----------
    table
        A results table.

    Returns
    -------
    list
        Names of columns, in the order of the table.

    Examples
    --------
    >>> table = pd.DataFrame({"k_core": [2.0], "k_core_z": [1.5], "rolled__k_core_mean_z": [0.1], "w_z": [1.0]})
    >>> control_columns(table)
    ['k_core_z', 'rolled__k_core_mean_z']
    """
    return [c for c in table.columns if compared_metric(c) is not None and pd.api.types.is_numeric_dtype(table[c])]


def compared_metric(column: str) -> str | None:
    """The metric column whose z-score a column holds, or None for any other column.

    Parameters
    ----------
    column
        Name of a column.

    Returns
    -------
    str or None
        Name of the metric column.

    Examples
    --------
    >>> compared_metric("rolled__k_core_mean_z"), compared_metric("k_core"), compared_metric("seconds_z")
    ('rolled__k_core_mean', None, None)
    """
    described = metric_column(column)
    if described is None or described.suffixes[-1:] != (Z_SCORE,):
        return None
    return str(column).removesuffix(f"_{Z_SCORE}")
