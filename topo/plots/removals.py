"""What a structured pruner removed, step by step."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from ..errors import InputError
from .layers import short_layer_names
from .theme import GRID, HUES, INK, MUTED, PAPER, figure_of, own_axes, style

__all__ = ["removal_course"]

NEEDED = ("round_number", "name", "kind", "level", "left", "came_back")
KINDS = {"unit": ("unit", HUES[0], "o", 22), "arcs": ("branch", HUES[6], "s", 40)}
# Inches that a number of weights takes.
LEFT_WIDTH = 0.38


def removal_course(record: pd.DataFrame, ax: Axes | None = None, *, title: str = "") -> Axes:
    """Every unit and branch that went, in the order in which it went, at the layer that it is named after.

    Thin lines part the rounds; above them stands what a round left of the budget. Hollow marks came back in the end.

    Parameters
    ----------
    record
        `Masks.record` of the pruner ``"dag"``.
    ax
        Axes to draw on; new ones of a fitting size when left out.
    title
        Title of the figure.

    Returns
    -------
    Axes
        `ax`, or new ones.

    Raises
    ------
    InputError
        A column is missing, or nothing went.

    Examples
    --------
    >>> columns = ["round_number", "name", "kind", "level", "left", "came_back"]
    >>> rows = [(1, "conv.weight[3]", "unit", 1, 90, False), (2, "shortcut", "arcs", 3, 60, False)]
    >>> ax = removal_course(pd.DataFrame(rows, columns=columns))
    >>> [label.get_text() for label in ax.get_yticklabels()]
    ['conv', 'shortcut']
    """
    missing = [name for name in NEEDED if name not in record.columns]
    if missing:
        raise InputError(
            f"the record has no column {', '.join(map(repr, missing))}; draw Masks.record of the pruner 'dag'."
        )
    if record.empty:
        raise InputError("nothing was removed, so there is nothing to draw.")
    layer = record["name"].str.replace(r"(\.weight)?\[\d+\]$", "", regex=True)
    rows = list(layer.iloc[np.argsort(record["level"], kind="stable")].drop_duplicates())
    names = short_layer_names(rows)
    place = layer.map(rows.index).to_numpy()
    steps = np.arange(1, len(record) + 1)
    ends = np.append(np.flatnonzero(np.diff(record["round_number"])), len(record) - 1)
    left = 0.3 + 0.066 * max(map(len, names))
    wide = float(np.clip(0.22 * len(record), 3.2, 7.0))
    high = 0.3 * len(rows) + 0.1
    with style():
        ax, _ = own_axes(ax, left + wide + 0.3, high + 1.45, (left, 0.3, 0.85, 0.6))
        box, dpi = ax.get_window_extent(), figure_of(ax).dpi
        ax.set_xlim(0.3, len(record) + 0.7)
        ax.set_ylim(len(rows) - 0.4, -0.6)
        for kind, (called, color, marker, size) in KINDS.items():
            here = (record["kind"] == kind).to_numpy()
            back = record["came_back"].to_numpy(dtype=bool)
            for shown, face in ((here & ~back, color), (here & back, PAPER)):
                if shown.any():
                    label = called + (", came back" if face == PAPER else "")
                    ax.scatter(
                        steps[shown], place[shown], s=size, marker=marker, c=face, edgecolors=color, linewidths=1.1,
                        zorder=3, label=label,
                    )  # fmt: skip
        ax.set_yticks(range(len(rows)), names)
        ax.set_xlabel("things removed, in order")
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        ax.hlines(range(len(rows)), *ax.get_xlim(), color=GRID, linewidth=0.5, zorder=0)
        ax.vlines(ends[:-1] + 1.5, *ax.get_ylim(), color=MUTED, linewidth=0.5, zorder=1)
        ax.tick_params(axis="y", length=0)
        ax.spines["left"].set_visible(False)
        _write_left(ax, record, ends, box.width / dpi / (len(record) + 0.4))
        # Below the name of the axis, where no mark can be.
        ax.legend(loc="upper right", bbox_to_anchor=(1, -0.45 * dpi / box.height), ncols=4, handletextpad=0.2,
                  borderpad=0, columnspacing=1.2, borderaxespad=0, labelcolor=INK)  # fmt: skip
        ax.set_title(title, pad=20)
    return ax


def _write_left(ax: Axes, record: pd.DataFrame, ends: np.ndarray, inch: float) -> None:
    """What each round left, from the last back, where there is room for a number."""
    free = np.inf
    for end in ends[::-1]:
        at = end + 1.5
        if (free - at) * inch < LEFT_WIDTH and np.isfinite(free):
            continue
        text = f"{int(record['left'].iloc[end]):,}" + (" left" if not np.isfinite(free) else "")
        ax.annotate(
            text, (min(at, ax.get_xlim()[1]), ax.get_ylim()[1]), (0, 3), textcoords="offset points", ha="right",
            va="bottom", fontsize=7.5, color=MUTED,
        )  # fmt: skip
        free = at - (0.3 / inch if not np.isfinite(free) else 0)
