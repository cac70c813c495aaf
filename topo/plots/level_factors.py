"""The level factors of a network as one block matrix: the functions on the arcs, level by level."""

from __future__ import annotations

from collections import Counter
from itertools import groupby, pairwise

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PatchCollection
from matplotlib.colors import LogNorm
from matplotlib.patches import Rectangle

from ..dag.dag import Arc
from ..dag.operators import is_parametric
from ..dag.path_counts import count_paths
from ..decomposition.lifting import Lifting
from ..errors import InputError, counted
from .graph_drawing import SKIP
from .labels import short_number
from .theme import GRID, INK, MUTED, SEQUENTIAL, own_axes, style

__all__ = ["draw_lifting"]

IDENTITY, FUNCTION, FUSION = "#d4d8de", "#b2a25f", "#1f8a7d"
COLORS = {"skip": SKIP, "no layer": FUNCTION, "fusion": FUSION}
# Fixed inks on fixed cell colours: they must not follow the report's scheme.
DARK, LIGHT = "#1a1d21", "#ffffff"
# Up to so many nodes, names and the labels in cells are written; beyond, every cell is only a colour.
LABELLED = 9
NAMED = 64


def draw_lifting(lifting: Lifting, ax: Axes | None = None, *, title: str = "") -> Axes:
    """Draw the level factors of a network, stacked: row v, column u holds the functions on the arcs from u to v.

    Rows and columns are the nodes in order of level; thin lines part the levels. The rows of level k are those of the
    factor L_k that differ from the identity, so the picture is ``I + N_1 + ... + N_L``: unit lower-triangular. Cells
    with several parallel arcs are split. An arc with a layer is shaded by its number of weights; one without is a skip
    when it passes over a level; `fusion` is a function of a product, such as attention.

    Parameters
    ----------
    lifting
        What `topo.lift` returns.
    ax
        Axes to draw on; new ones of a fitting size when left out.
    title
        Written above, before the size of the network.

    Returns
    -------
    Axes
        `ax`, or new ones.

    Raises
    ------
    InputError
        `lifting` is something else.

    Examples
    --------
    >>> import torch, topo
    >>> ax = draw_lifting(topo.lift(torch.nn.Linear(3, 2), torch.zeros(1, 3)))
    >>> [label.get_text() for label in ax.get_yticklabels()]
    ['input', 'linear']
    """
    if not isinstance(lifting, Lifting):
        raise InputError(f"draw_lifting draws what topo.lift returns; got {type(lifting).__name__}.")
    dag = lifting.dag
    count = len(dag.nodes)
    named, labelled = count <= NAMED, count <= LABELLED
    place = {node: i for i, node in enumerate(lifting.order)}
    names = [_shortened(dag.nodes[i].name) for i in lifting.order]
    cell = 0.62 if labelled else float(np.clip(6.4 / count, 0.125 if named else 0.02, 0.3))
    side = max(cell * count, 1.9)
    left = 0.3 + (0.066 * max(map(len, names)) if named else 0.35)
    right, bottom, top = 0.55, 0.2, 1.12 if title else 0.92
    width = max(side + left + right, 5.3)
    with style():
        ax, own = own_axes(ax, width, side + bottom + top, (left, width - left - side, bottom, top))
        box = ax.get_window_extent()
        # Inches of paper per cell, whatever Axes it is drawn on.
        inch = min(box.width, box.height) / ax.figure.dpi / count
        ax.set_xlim(0, count)
        ax.set_ylim(count, 0)
        ax.set_aspect("equal")
        levels = [dag.nodes[i].level for i in lifting.order]
        _draw_level_lines(ax, levels, inch)
        gap = 0.04 if inch > 0.1 else 0.0
        _draw_diagonal(ax, count, gap)
        scale = _draw_arcs(ax, lifting, place, gap, inch if labelled else 0.0)
        rows = range(count) if named and inch > 0.1 else []
        ax.set_yticks([i + 0.5 for i in rows], [names[i] for i in rows], fontsize=float(np.clip(66 * inch, 5, 8.5)))
        marks = _level_marks(levels, inch)
        ax.set_xticks([at for _, at in marks], [str(level) for level, _ in marks])
        ax.xaxis.tick_top()
        ax.tick_params(length=0, pad=3)
        ax.tick_params(axis="x", labelsize=7.5, labelcolor=MUTED)
        ax.spines[:].set_visible(False)
        for level, at in marks:
            ax.text(
                count + 0.08 / inch, at, _factor_name(level), fontsize=7.5, va="center", color=MUTED, parse_math=True
            )
        ax.annotate("level", (0, 1), (-4, 3), xycoords="axes fraction", textcoords="offset points", ha="right",
                    va="bottom", fontsize=7.5, color=MUTED)  # fmt: skip
        if own:
            _draw_head(ax, lifting, title, side + bottom + top, width, scale)
    return ax


def _kind(lifting: Lifting, arc: Arc) -> str:
    """Whether an arc holds a layer, is a fusion, a skip over a level, or a step without a layer."""
    nodes = lifting.dag.nodes
    if any(is_parametric(step) for step in arc.steps) and lifting.dag.parameters(arc):
        return "layer"
    if nodes[arc.source].kind == "product":
        return "fusion"
    return "skip" if nodes[arc.target].level - nodes[arc.source].level > 1 else "no layer"


def _shortened(name: str) -> str:
    return name if len(name) <= 26 else f"…{name[-25:]}"


def _factor_name(level: int) -> str:
    return f"$L_{{{level}}}$" if level else ""


def _level_marks(levels: list[int], inch: float) -> list[tuple[int, float]]:
    """Levels that get a number, with the middle of their rows; as many as fit."""
    middles = []
    for level, members in groupby(range(len(levels)), key=levels.__getitem__):
        positions = list(members)
        middles.append((level, (positions[0] + positions[-1] + 1) / 2))
    room = 0.17
    for every in (1, 2, 5, 10, 20, 50, 100, 200, 500):
        chosen = [(level, at) for level, at in middles if level % every == 0]
        if all((b - a) * inch >= room * (1 + 0.4 * (len(str(n)) > 2)) for (_, a), (n, b) in pairwise(chosen)):
            return chosen
    return middles[:1]


def _draw_level_lines(ax: Axes, levels: list[int], inch: float) -> None:
    """Lines between levels, and the shade above the diagonal, which is empty by definition."""
    count = len(levels)
    starts = [i for i in range(1, count) if levels[i] != levels[i - 1]]
    if len(starts) * 0.05 <= count * inch:
        for start in starts:
            ax.plot((0, count), (start, start), color=GRID, linewidth=0.5, zorder=0)
            ax.plot((start, start), (0, count), color=GRID, linewidth=0.5, zorder=0)
    ax.plot((0, count, count, 0, 0), (0, 0, count, count, 0), color=GRID, linewidth=0.8, zorder=0, clip_on=False)


def _draw_diagonal(ax: Axes, count: int, gap: float) -> None:
    cells = [Rectangle((i + gap, i + gap), 1 - 2 * gap, 1 - 2 * gap) for i in range(count)]
    ax.add_collection(PatchCollection(cells, facecolor=IDENTITY, linewidth=0, zorder=1), autolim=False)


def _draw_arcs(ax: Axes, lifting: Lifting, place: dict[int, int], gap: float, inch: float) -> LogNorm | None:
    """A cell an arc, parallel ones side by side; labels where a cell is `inch` wide. Returns the scale of weights."""
    dag = lifting.dag
    kinds = [_kind(lifting, arc) for arc in dag.arcs]
    sizes = [
        sum(dag.state[name].numel() for name in dag.parameters(arc)) if kind == "layer" else 0
        for arc, kind in zip(dag.arcs, kinds, strict=True)
    ]
    weighed = [size for size in sizes if size]
    scale = LogNorm(min(weighed) * 0.9, max(*weighed, 2 * min(weighed))) if weighed else None
    together = Counter((arc.source, arc.target) for arc in dag.arcs)
    drawn: Counter[tuple[int, int]] = Counter()
    cells, colors = [], []
    if inch:
        for at in place.values():
            ax.text(at + 0.5, at + 0.5, "$I$", ha="center", va="center", fontsize=8.5, color=DARK, alpha=0.75,
                    parse_math=True)  # fmt: skip
    for arc, kind, size, label in zip(dag.arcs, kinds, sizes, lifting.labels, strict=True):
        pair = (arc.source, arc.target)
        wide = (1 - 2 * gap) / together[pair]
        x = place[arc.source] + gap + drawn[pair] * wide
        y = place[arc.target] + gap
        drawn[pair] += 1
        cells.append(Rectangle((x, y), wide - (gap if together[pair] > 1 else 0), 1 - 2 * gap))
        color = SEQUENTIAL(scale(size)) if size and scale is not None else COLORS.get(kind, FUNCTION)
        colors.append(color)
        if inch:
            _write(ax, label, (x + wide / 2 - gap / 2 * (together[pair] > 1), y + 0.5 - gap), wide * inch, color)
    ax.add_collection(PatchCollection(cells, facecolor=colors, linewidth=0, zorder=2), autolim=False)
    return scale


def _write(ax: Axes, label: str, at: tuple[float, float], room: float, color: object) -> None:
    """A label in a cell, one function a line, three at most."""
    lines = ["$I$"] if label == "I" else [_cut(part) for part in label.split("∘")]
    if len(lines) > 3:
        lines = [*lines[:2], "…"]
    longest = max(len(line.strip("$")) for line in lines)
    font = min(8.5, room * 72 / (0.7 * longest))
    if font < 4.5:
        return
    light = (isinstance(color, tuple) and sum(color[:3]) < 1.5) or color in (SKIP, FUSION)
    ax.text(*at, "\n".join(lines), ha="center", va="center", fontsize=font, linespacing=1.05,
            color=LIGHT if light else DARK, zorder=3, parse_math=label == "I")  # fmt: skip


def _cut(name: str) -> str:
    """A layer's name by its last part that is no number, an operation's by its beginning, at most ten characters."""
    if len(name) > 10:
        last = name.split(".")
        name = ".".join(last[-2:] if last[-1].isdigit() else last[-1:])
    return name if len(name) <= 10 else f"{name[:9]}…"


def _draw_head(ax: Axes, lifting: Lifting, title: str, height: float, width: float, scale: LogNorm | None) -> None:
    """The title with the size of the network, and what the colours say."""
    dag = lifting.dag
    paths = count_paths(dag)
    number = counted(paths, "path") if paths < 10**7 else f"{paths:.1e} paths"
    size = f"{counted(lifting.levels, 'level')} · {counted(len(dag.arcs), 'arc')} · {number}"
    y = 1 - 0.22 / height
    if title:
        ax.figure.text(0.15 / width, y, title, fontsize=9.5, fontweight="bold", va="center", color=INK)
        y -= 0.2 / height
    ax.figure.text(0.15 / width, y, size, fontsize=8.5 if title else 9.5, va="center", color=INK,
                   fontweight="normal" if title else "bold")  # fmt: skip
    y -= 0.24 / height
    kinds = {_kind(lifting, arc) for arc in dag.arcs}
    keys = [("identity", IDENTITY), *((name, color) for name, color in COLORS.items() if name in kinds)]
    key = ax.figure.add_axes((0, y - 0.1 / height, 1, 0.2 / height))
    key.set_xlim(0, width)
    key.set_ylim(0, 0.2)
    key.axis("off")
    x = 0.15
    for text, color in keys:
        key.add_patch(Rectangle((x, 0.045), 0.11, 0.11, color=color, linewidth=0))
        key.text(x + 0.17, 0.1, text, fontsize=7.5, va="center", color=MUTED)
        x += 0.35 + 0.062 * len(text)
    if scale is not None and scale.vmin is not None and scale.vmax is not None:
        key.imshow(SEQUENTIAL(np.linspace(0, 1, 64))[None], extent=(x, x + 0.6, 0.05, 0.15), aspect="auto")
        low, high = short_number(round(scale.vmin / 0.9)), short_number(scale.vmax)
        text = f"{low} to {high} weights" if low != high else f"{high} weight{'s' * (scale.vmax != 1)}"
        key.text(x + 0.67, 0.1, text, fontsize=7.5, va="center", color=MUTED)
        key.set_xlim(0, width)
        key.set_ylim(0, 0.2)
