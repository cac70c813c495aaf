"""Distances between networks without masks: mean differences of the ranks of their metrics (profiles)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from ..errors import InputError

__all__ = ["layer_profile", "profile_distances", "rank_scaled"]


def rank_scaled(values: pd.DataFrame) -> pd.DataFrame:
    """Every column as ranks from 0 to 1; ties share the mean of their ranks, a missing value has rank 0.5.

    Parameters
    ----------
    values
        One row a network; columns without two different values are left out.

    Returns
    -------
    DataFrame
        From 0 to 1.

    Examples
    --------
    >>> rank_scaled(pd.DataFrame({"a": [1.0, 100, 3], "b": [2.0, 2, 2], "c": [5.0, 4, np.nan]})).values.tolist()
    [[0.0, 1.0], [1.0, 0.0], [0.5, 0.5]]
    """
    values = values.astype(float).replace([np.inf, -np.inf], np.nan)
    values = values.loc[:, (values.max() > values.min()).to_numpy()]
    return ((values.rank() - 1) / (values.count() - 1)).fillna(0.5)


def profile_distances(blocks: Sequence[pd.DataFrame]) -> np.ndarray:
    """Mean absolute difference of rank-scaled columns between all pairs of networks.

    Parameters
    ----------
    blocks
        Tables with one row a network, in the same order: densities of layers, metrics. Every block weighs the same,
        however many columns it has. A network whose row is empty in a block is compared by the other blocks.

    Returns
    -------
    array
        float64 (networks, networks), in [0, 1].

    Raises
    ------
    InputError
        No block has a column with two different values, or two networks share no block.

    Examples
    --------
    >>> profile_distances([pd.DataFrame({"density": [0.1, 0.2, 0.9]})]).tolist()
    [[0.0, 0.5, 1.0], [0.5, 0.0, 0.5], [1.0, 0.5, 0.0]]
    """
    rows = len(blocks[0]) if blocks else 0
    total, blocks_compared = np.zeros((rows, rows)), np.zeros((rows, rows))
    varies = False
    for block in blocks:
        scaled = rank_scaled(block).to_numpy()
        if not scaled.shape[1]:
            continue
        varies = True
        has_values = block.notna().any(axis=1).to_numpy()
        comparable = has_values[:, None] & has_values
        # Column by column: all differences of all columns at once would not fit for long tables.
        difference = np.zeros((rows, rows))
        for column in scaled.T:
            difference += np.abs(column[:, None] - column)
        total += np.where(comparable, difference / scaled.shape[1], 0)
        blocks_compared += comparable
    if not varies:
        raise InputError("no profile differs between the networks, so none is more similar than another.")
    if (blocks_compared == 0).any():
        raise InputError("some networks share no part of their profile, so they cannot be compared.")
    return total / blocks_compared


def layer_profile(layers: pd.DataFrame, keys: Sequence[str], metrics: Sequence[str]) -> pd.DataFrame:
    """One row a network, one column a layer and metric.

    Parameters
    ----------
    layers
        One row a layer, with the columns `keys`, ``layer`` and `metrics`.
    keys
        Columns that identify a network.
    metrics
        Columns to spread over the layers.

    Returns
    -------
    DataFrame
        Columns (metric, layer).

    Examples
    --------
    >>> layers = pd.DataFrame({"seed": [0, 0, 1, 1], "layer": [0, 1, 0, 1], "k_core": [1.0, 2, 3, 4]})
    >>> layer_profile(layers, ["seed"], ["k_core"]).values.tolist()
    [[1.0, 2.0], [3.0, 4.0]]
    """
    wide = layers.pivot_table(list(metrics), list(keys), "layer", aggfunc="mean", observed=True, dropna=False)
    return wide.dropna(how="all")
