"""Course of a variational run: gate probabilities, complexity and time by epoch."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..errors import InputError, counted
from .theme import HUES, INK, MUTED, figure, style

__all__ = ["pruning_course"]

BLUE, ORANGE = HUES[0], HUES[3]
BANDS = ((0, 100, 0.12), (10, 90, 0.18), (25, 75, 0.28))


def pruning_course(record: pd.DataFrame, thetas: np.ndarray, is_layer: np.ndarray) -> Figure:
    """Four panels over epochs: the probabilities that unit gates and layer gates are open, what the network is
    expected to cost and does cost, and the time of each epoch.

    Parameters
    ----------
    record
        One row before the first and after every epoch, as `topo.pruning.variational.train` returns it.
    thetas
        Probabilities that gates are open, shape (rows, gates).
    is_layer
        Which gates close layers, shape (gates,).

    Returns
    -------
    Figure
        The four panels.

    Raises
    ------
    InputError
        The shapes do not fit.

    Examples
    --------
    >>> columns = ["expected_parameters", "expected_macs", "parameters", "macs"]
    >>> record = pd.DataFrame({"epoch": [0, 1], "seconds": [0.0, 2.0]} | {c: [9.0, 3.0] for c in columns})
    >>> len(pruning_course(record, np.array([[0.9, 0.9], [0.1, 1.0]]), np.array([False, True])).axes)
    4
    """
    thetas, is_layer = np.asarray(thetas, dtype=float), np.asarray(is_layer, dtype=bool)
    if thetas.shape != (len(record), len(is_layer)):
        raise InputError(
            f"thetas has the shape {thetas.shape}; {counted(len(record), 'row')} and {counted(len(is_layer), 'gate')} "
            f"need ({len(record)}, {len(is_layer)})."
        )
    epochs = record["epoch"].to_numpy()
    with style():
        new = figure(7.6, 5.0)
        panels = [new.add_axes((0.075 + 0.5 * (i % 2), 0.58 - 0.49 * (i // 2), 0.36, 0.33)) for i in range(4)]
        units, layers, cost, time = panels
        _units(units, epochs, thetas[:, ~is_layer])
        _layers(layers, epochs, thetas[:, is_layer])
        _cost(cost, record)
        time.plot(epochs[1:], record["seconds"].to_numpy()[1:], color=INK)
        time.set_ylim(bottom=0)
        time.set_title("Seconds of an epoch")
        for ax in panels:
            ax.set_xlim(epochs[0], max(epochs[-1], epochs[0] + 1))
            ax.set_xlabel(ax.get_xlabel() or "epoch")
    return new


def _units(ax: Axes, epochs: np.ndarray, thetas: np.ndarray) -> None:
    """Bands that hold all unit gates, 80% and 50% of them, and their mean."""
    ax.set_title("Chance that a unit is open")
    ax.set_ylim(-0.02, 1.02)
    if not thetas.shape[1]:
        ax.text(0.5, 0.5, "no unit gates", transform=ax.transAxes, ha="center", color=MUTED)
        return
    for low, high, alpha in BANDS:
        ax.fill_between(epochs, *np.percentile(thetas, [low, high], axis=1), color=BLUE, alpha=alpha, linewidth=0)
    ax.plot(epochs, thetas.mean(axis=1), color=BLUE)
    ax.annotate(
        "mean", (epochs[-1], thetas[-1].mean()), (4, 0), textcoords="offset points", color=BLUE, va="center", fontsize=8
    )


def _layers(ax: Axes, epochs: np.ndarray, thetas: np.ndarray) -> None:
    """One line a layer gate, from early (light) to late (dark)."""
    ax.set_title("Chance that a layer is open")
    ax.set_ylim(-0.02, 1.02)
    if not thetas.shape[1]:
        ax.text(0.5, 0.5, "no layer gates", transform=ax.transAxes, ha="center", color=MUTED)
        return
    for i, path in enumerate(thetas.T):
        ax.plot(epochs, path, color=ORANGE, alpha=0.35 + 0.65 * i / max(1, thetas.shape[1] - 1), linewidth=1.1)
    ax.set_xlabel("epoch   (early layers light, late ones dark)")


def _cost(ax: Axes, record: pd.DataFrame) -> None:
    """Expected (dashed) and actual (solid) cost, as shares of what the whole network costs."""
    ax.set_title("Cost, share of the whole network")
    ends = []
    for column, label, color in (("macs", "MACs", BLUE), ("parameters", "parameters", ORANGE)):
        dense = record[column].iloc[0]
        ax.plot(record["epoch"], record[f"expected_{column}"] / dense, color=color, linestyle=(0, (4, 2)), linewidth=1)
        ax.step(record["epoch"], record[column] / dense, where="post", color=color)
        ends.append((float(record[column].iloc[-1] / dense), label, color))
    ends.sort()
    # The labels must not overlap each other or the text below.
    middle = (ends[0][0] + ends[1][0]) / 2
    half = max(0.1, ends[1][0] - ends[0][0]) / 2
    lowest = max(middle - half, 0.04)
    for (_, label, color), height in zip(ends, (lowest, max(middle + half, lowest + 0.1))):
        ax.text(1.02, height, label, transform=ax.get_yaxis_transform(), color=color, fontsize=8, va="center")
    ax.text(0.02, 0.04, "solid: as it is; dashed: expected", transform=ax.transAxes, color=MUTED, fontsize=8)
    ax.set_ylim(0, 1.02)
    ax.yaxis.set_major_formatter(lambda y, _: f"{y:.0%}")
