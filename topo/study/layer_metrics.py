"""What a record holds of the single layers of a network, and its training history: tables as plain values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from ..errors import InputError
from ..masks import Masks

__all__ = ["columns_of", "layer_facts", "plain_table", "table_of"]

SUFFIX = ".weight"


def layer_facts(masks: Masks, weights: Mapping[str, Any] | None) -> pd.DataFrame:
    """The layers of a network: how many weights each has and keeps, and how large these are.

    Parameters
    ----------
    masks
        What is kept.
    weights
        Parameter's name -> its values; None where they are not known.

    Returns
    -------
    DataFrame
        ``layer``, ``weights``, ``kept`` and ``mean_abs_weight``, the mean absolute value of the kept weights, NaN where
        it is not known; in the order of the network.

    Examples
    --------
    >>> layer_facts(Masks({"0.weight": [[1, 0]]}), {"0.weight": [[-2.0, 1.0]]}).values.tolist()
    [['0', 2, 1, 2.0]]
    """
    sizes = []
    arrays = {name: mask.numpy() for name, mask in masks.items()}
    for name, mask in arrays.items():
        known = None if weights is None else weights.get(name)
        kept = np.abs(np.asarray(known)[mask]) if known is not None else mask[:0]
        sizes.append(float(kept.mean()) if kept.size else np.nan)
    return pd.DataFrame(
        {
            "layer": [name.removesuffix(SUFFIX) for name in arrays],
            "weights": [mask.size for mask in arrays.values()],
            "kept": [int(np.count_nonzero(mask)) for mask in arrays.values()],
            "mean_abs_weight": sizes,
        }
    )


def plain_table(table: pd.DataFrame) -> dict[str, Any]:
    """A table of numbers and texts as values that JSON has; NaN is None.

    Parameters
    ----------
    table
        The table; of its index, nothing is kept.

    Returns
    -------
    dict
        What `table_of` takes.

    Examples
    --------
    >>> plain_table(pd.DataFrame({"loss": [0.5, float("nan")], "step": [1, 2]}))
    {'loss': ['float64', [0.5, None]], 'step': ['int64', [1, 2]]}
    """
    return {
        str(name): [str(column.dtype), column.astype(object).where(column.notna(), None).tolist()]
        for name, column in table.items()
    }


def columns_of(plain: Any) -> dict[str, list[Any]]:
    """The columns that `plain_table` wrote, None for what has no value; nothing where the values are of another kind.

    Parameters
    ----------
    plain
        Plain values.

    Returns
    -------
    dict
        Column -> values.

    Examples
    --------
    >>> columns_of({"step": ["int64", [1, 2]]})
    {'step': [1, 2]}
    """
    try:
        columns = {name: list(values) for name, (_, values) in plain.items()}
    except (TypeError, ValueError, AttributeError):
        return {}
    return columns if len({len(values) for values in columns.values()}) == 1 else {}


def table_of(plain: Any) -> pd.DataFrame:
    """The table that `plain_table` took apart.

    Parameters
    ----------
    plain
        Plain values.

    Returns
    -------
    DataFrame
        With rows numbered from 0.

    Raises
    ------
    InputError
        When the values are of another kind.

    Examples
    --------
    >>> table_of({"step": ["int64", [1, 2]]})["step"].tolist()
    [1, 2]
    """
    try:
        return pd.DataFrame({name: pd.Series(values, dtype=kind) for name, (kind, values) in plain.items()})
    except (TypeError, ValueError, AttributeError) as error:
        raise InputError(f"a record holds no table where it should ({error}); compute the cell again.") from error
