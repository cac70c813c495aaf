"""Map of networks: near points are similar networks."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..errors import InputError
from ..results.labels import percent
from ..results.schema import GROUPS
from .theme import GRID, MUTED, figure, pruner_color, pruner_marker, pruner_order, style

__all__ = ["mds_map"]

COLUMNS = 3
PANEL = 3.05
MARGIN = 0.2
HEAD = 0.48
SIZE = 7.5
MOST_SPOTS = 6
# Offsets of a label from its point, in points, the nearest first.
PLACES = [(r * np.cos(a), r * np.sin(a)) for r in (9, 14, 20, 28, 38, 50) for a in np.linspace(0, 2 * np.pi, 17)[1:]]


def mds_map(positions: pd.DataFrame) -> Figure:
    """Maps of the networks of every dataset, model and sparsity; colour, marker and a label tell the algorithm.

    Parameters
    ----------
    positions
        One row a network: dataset, model, sparsity, pruner, x, y, stress.

    Returns
    -------
    Figure
        One panel for each dataset, model and sparsity.

    Raises
    ------
    InputError
        No network has a place on the map.

    Examples
    --------
    >>> positions = pd.DataFrame({"dataset": "digits", "model": "cnn", "sparsity": 0.9, "pruner": ["er", "er", "snip"],
    ...     "x": [0.0, 0.1, 1.0], "y": [0.0, 0.2, 0.5], "stress": 0.05})
    >>> [text.get_text() for text in mds_map(positions).axes[0].texts]
    ['er', 'snip', '90% sparse, stress 0.05']
    """
    if positions.empty:
        raise InputError("no network has a place on the map.")
    groups = list(positions.groupby(list(GROUPS), sort=True))
    columns = min(COLUMNS, len(groups))
    rows = -(-len(groups) // columns)
    width, height = columns * (PANEL + MARGIN) + MARGIN, rows * (PANEL + HEAD) + MARGIN
    with style():
        drawn = figure(width, height)
        for i, ((dataset, model, sparsity), part) in enumerate(groups):
            left = MARGIN + (i % columns) * (PANEL + MARGIN)
            bottom = height - (i // columns + 1) * (PANEL + HEAD)
            ax = drawn.add_axes((left / width, bottom / height, PANEL / width, PANEL / height))
            _panel(ax, part)
            ax.set_title(f"{dataset} · {model}", fontsize=8.5, pad=16)
            note = f"{percent(sparsity)} sparse, stress {part['stress'].iloc[0]:.2f}"
            ax.annotate(note, (0, 1), (0, 5), xycoords="axes fraction", textcoords="offset points", fontsize=7.5,
                        color=MUTED)  # fmt: skip
    return drawn


def _panel(ax: Axes, part: pd.DataFrame) -> None:
    xy = part[["x", "y"]].to_numpy(float)
    middle, half = (xy.max(0) + xy.min(0)) / 2, max(np.ptp(xy, axis=0).max() / 2, 1e-9) * 1.22
    ax.set_xlim(middle[0] - half, middle[0] + half)
    ax.set_ylim(middle[1] - half, middle[1] + half)
    ax.set_xticks([])
    ax.set_yticks([])
    ax.spines[:].set_visible(True)
    ax.spines[:].set_color(GRID)
    spots = {}
    for pruner in pruner_order(part["pruner"].unique()):
        own = xy[(part["pruner"] == pruner).to_numpy()]
        centre = own.mean(axis=0)
        spots[pruner] = np.vstack([centre, own])
        color = pruner_color(pruner)
        ends = np.stack([np.broadcast_to(centre, own.shape), own, np.full_like(own, np.nan)], axis=1).reshape(-1, 2)
        ax.plot(*ends.T, color=color, linewidth=0.7, alpha=0.5, zorder=1)
        ax.plot(*own.T, pruner_marker(pruner), color=color, markersize=4, markeredgewidth=0, alpha=0.85, zorder=2)
    _name(ax, spots, xy)


def _name(ax: Axes, spots: dict[str, np.ndarray], xy: np.ndarray) -> None:
    """Write every name near one of its points, or their middle, where it covers fewest points and no other name."""
    box = ax.get_window_extent()
    size = np.array([box.width, box.height]) * 72 / ax.figure.dpi

    def on_page(values: np.ndarray) -> np.ndarray:
        return ax.transAxes.inverted().transform(ax.transData.transform(values)) * size

    # Lines to the middle count as points along them.
    lines = [own[0] + share * (own - own[0]) for own in spots.values() for share in (0.35, 0.7)]
    points = on_page(np.vstack([xy, *lines]))
    taken: list[np.ndarray] = []
    for pruner, own in spots.items():
        reach = np.array([0.31 * SIZE * len(pruner) + 1.5, 0.55 * SIZE])
        options: list[tuple[np.ndarray, np.ndarray]] = [
            (at + np.array(p) + (np.sign(p[0]) * reach[0] * (abs(p[0]) > 1e-6), 0), at)
            for at in on_page(own)[:MOST_SPOTS]
            for p in PLACES
        ]
        best, at = min(options, key=lambda option: _cost(option[0], option[1], reach, points, taken, size))
        taken.append(np.array([best, reach]))
        x, y = best / size
        color = pruner_color(pruner)
        if np.linalg.norm(best - at) > reach[0] + 14:
            start = at / size
            ax.plot((start[0], x), (start[1], y), transform=ax.transAxes, color=color, linewidth=0.5, alpha=0.45,
                    zorder=1)  # fmt: skip
        ax.text(x, y, pruner, transform=ax.transAxes, ha="center", va="center", fontsize=SIZE, fontweight="bold",
                color=color)  # fmt: skip


def _cost(
    at: np.ndarray,
    home: np.ndarray,
    reach: np.ndarray,
    points: np.ndarray,
    taken: list[np.ndarray],
    size: np.ndarray,
) -> float:
    """How bad a label is at a place: what it covers, how far it leaves the panel and how far from home it lies."""
    out = np.maximum(reach - at, 0) + np.maximum(at + reach - size, 0)
    covered = (np.abs(points - at) < reach + 2).all(axis=1).sum()
    overlap = sum(np.prod(np.maximum(reach + r + 0.5 - np.abs(at - o), 0)) for o, r in taken)
    return float(1000 * out.sum() + 50 * overlap + 25 * covered + np.linalg.norm(at - home))
