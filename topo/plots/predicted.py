"""Predicted against true values, a panel per kind of held-out group."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ..errors import InputError
from .labels import plain_number
from .theme import GRID, HUES, MARKERS, MUTED, figure, style

__all__ = ["predicted_against_true"]

PANEL = 2.2
MOST = 4000


def predicted_against_true(
    panels: Mapping[str, pd.DataFrame], *, color_by: str = "model", unit: str = "accuracy drop"
) -> Figure:
    """A point per network; on the diagonal the prediction is right.

    Parameters
    ----------
    panels
        Title -> table with columns actual, predicted and `color_by`. At most 4,000 points of each are drawn.
    color_by
        Column that decides colour and marker.
    unit
        What is predicted.

    Returns
    -------
    Figure
        One panel for each table.

    Raises
    ------
    InputError
        There is no prediction.

    Examples
    --------
    >>> table = pd.DataFrame({"actual": [0.1, 0.2], "predicted": [0.1, 0.3], "model": ["a", "b"]})
    >>> len(predicted_against_true({"unseen model": table}).axes)
    1
    """
    panels = {title: t[np.isfinite(t["actual"]) & np.isfinite(t["predicted"])] for title, t in panels.items()}
    panels = {title: t for title, t in panels.items() if len(t)}
    if not panels:
        raise InputError("there is no prediction to draw.")
    values = np.concatenate([t[["actual", "predicted"]].to_numpy(float).ravel() for t in panels.values()])
    margin = 0.04 * max(np.ptp(values), 1e-6)
    ends = (values.min() - margin, values.max() + margin)
    names = sorted(set().union(*(set(t[color_by].astype(str)) for t in panels.values())))
    width, height = 0.65 + len(panels) * (PANEL + 0.2), PANEL + 1.15
    width = max(width, 1.0 + sum(0.4 + 0.083 * len(n) for n in names))
    with style():
        drawn = figure(width, height)
        for i, (title, table) in enumerate(panels.items()):
            ax = drawn.add_axes(((0.65 + i * (PANEL + 0.2)) / width, 0.5 / height, PANEL / width, PANEL / height))
            ax.axline((ends[0], ends[0]), slope=1, color=MUTED, linewidth=0.8, zorder=1)
            shown = table if len(table) <= MOST else table.sample(MOST, random_state=0)
            for k, name in enumerate(names):
                part = shown[shown[color_by].astype(str) == name]
                ax.scatter(
                    part["actual"], part["predicted"], s=11, color=HUES[k % 16], marker=MARKERS[k % 8], alpha=0.55,
                    linewidths=0, zorder=2,
                )  # fmt: skip
            ax.set_xlim(*ends)
            ax.set_ylim(*ends)
            ax.grid(True, color=GRID)
            ax.spines[:].set_visible(False)
            ax.tick_params(length=0, labelleft=i == 0)
            for axis in (ax.xaxis, ax.yaxis):
                axis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
                axis.set_major_formatter(plain_number)
            ax.set_title(title, pad=6)
            if i == 0:
                ax.set_xlabel(f"true {unit}", loc="left")
                ax.set_ylabel(f"predicted {unit}")
        x = 0.65 / width
        for k, name in enumerate(names):
            ax.plot(x, 1 - 0.16 / height, MARKERS[k % 8], color=HUES[k % 16], markersize=4.5, markeredgewidth=0,
                    transform=drawn.transFigure, clip_on=False)  # fmt: skip
            drawn.text(x + 0.1 / width, 1 - 0.16 / height, name, color=HUES[k % 16], fontsize=8.5, va="center")
            x += (0.4 + 0.083 * len(name)) / width
    return drawn
