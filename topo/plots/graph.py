"""A drawing of a multipartite graph: parts as columns of channel blocks, edges as ribbons, skips as arcs."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from math import ceil

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import EllipseCollection, LineCollection, PatchCollection
from matplotlib.colors import LogNorm, to_rgba
from matplotlib.patches import Rectangle

from ..encoding.drawers import DRAWERS
from ..encoding.graph import MultipartiteGraph
from ..errors import InputError
from .graph_layout import PartLayout, degrees, edges_between_groups, lay_out_part
from .labels import short_number
from .theme import INK, MUTED, PAPER, SEQUENTIAL, figure, style

__all__ = ["draw_graph"]

# One data unit is one inch on new Axes, so blocks stay square whatever Axes they are drawn on.
TALL = 3.2
# Most columns, and the distance between them.
PITCHES = ((5, 2.0), (8, 1.45), (14, 1.05), (32, 0.62), (float("inf"), 0.42))
EDGE, SKIP, DEAD = "#3d76a8", "#d55e00", "#e8a33d"


@dataclass
class _Placed:
    layout: PartLayout
    x: float
    y: np.ndarray
    side: float

    @property
    def top(self) -> float:
        return float(self.y[0] + self.side / 2)


@DRAWERS.register("matplotlib")
def draw_graph(
    graph: MultipartiteGraph,
    ax: Axes | None = None,
    *,
    max_groups: int = 16,
    max_single_nodes: int = 400,
    max_single_edges: int = 4000,
    title: str = "",
) -> Axes:
    """Draw a multipartite or bipartite graph from input (left) to output (right).

    Small graphs show every element as a dot and every edge as a line. In large ones a square is a channel, or
    several channels of similar rank, shaded by the degree of its elements like an image; a ribbon joins two squares,
    wider and darker the denser their edges are within the layer. Channels are sorted by degree, those of input and
    output keep their order. Edges that pass over a column are arcs above.

    Parameters
    ----------
    graph
        Any `MultipartiteGraph`.
    ax
        Axes to draw on; new ones of a fitting size when left out.
    max_groups
        Most squares in one column; parts that share a column share them, three each at least.
    max_single_nodes, max_single_edges
        Above either, elements are drawn in groups.
    title
        Written at the top left, before the size of the graph.

    Returns
    -------
    Axes
        `ax`, or new ones.

    Raises
    ------
    InputError
        `graph` is no such graph, or has no parts.

    Examples
    --------
    >>> from scipy import sparse
    >>> from topo.encoding.graph import BipartiteGraph
    >>> graph = BipartiteGraph(sparse.csr_array(np.eye(4, 3, dtype=np.float32)), "fc")
    >>> len(draw_graph(graph).collections) > 0
    True
    """
    if not isinstance(graph, MultipartiteGraph):
        raise InputError(f"draw_graph draws a MultipartiteGraph or BipartiteGraph; got {type(graph).__name__}.")
    if not graph.parts:
        raise InputError("the graph has no parts, so there is nothing to draw.")
    degree = degrees(graph)
    largest = max(p.size for p in graph.parts)
    single = graph.n_nodes <= max_single_nodes and graph.n_edges <= max_single_edges and largest <= max_single_nodes / 2
    stacked = Counter(p.level for p in graph.parts)
    layouts = [
        lay_out_part(p, degree[p.nodes], single=single, most_groups=max(max_groups // stacked[p.level], 3))
        for p in graph.parts
    ]
    levels = sorted(stacked)
    column = {level: i for i, level in enumerate(levels)}
    pitch = next(p for most, p in PITCHES if len(levels) <= most)
    placed = _place(layouts, column, pitch, single)
    skips = [b for b in graph.blocks if column[graph.parts[b.target].level] - column[graph.parts[b.source].level] > 1]
    spans = [column[graph.parts[b.target].level] - column[graph.parts[b.source].level] for b in skips]
    roof = max(p.top for p in placed) + 0.12
    arcs = min(0.3 + 0.16 * max(spans), 1.3) if skips else 0.0
    upright = pitch < 1.0
    names = _names(placed, upright)
    foot = 0.1 + (0.062 * max((len(line) for n in names.values() for line in n), default=0) if upright else 0.55)
    width = max((len(levels) - 1) * pitch + 0.9, 4.6)
    middle = (len(levels) - 1) * pitch / 2
    left, right = middle - width / 2, middle + width / 2
    bottom, top = -TALL / 2 - foot, roof + arcs + 0.55
    with style():
        if ax is None:
            ax = figure(width, top - bottom).add_axes((0, 0, 1, 1))
        ax.set_xlim(left, right)
        ax.set_ylim(bottom, top)
        ax.set_aspect("equal")
        ax.axis("off")
        scale = _scale(ax, width, top - bottom)
        _draw_edges(ax, graph, placed, skips, single, scale)
        _draw_skips(ax, placed, skips, roof, arcs, scale)
        norm = _degree_scale(layouts)
        _draw_parts(ax, placed, single, norm)
        _draw_names(ax, names, pitch, upright, scale)
        head = f"{graph.n_nodes:,} nodes · {graph.n_edges:,} edges"
        ax.text(left + 0.1, top - 0.1, f"{title} · {head}" if title else head, fontsize=9.5 * scale, va="top",
                fontweight="bold", color=INK)  # fmt: skip
        _draw_key(ax, left + 0.1, top - 0.42, norm, bool((degree == 0).any()), bool(skips), scale)
    return ax


def _scale(ax: Axes, width: float, height: float) -> float:
    """Inches on paper per data unit, at most one: text shrinks with the drawing."""
    box = ax.get_window_extent()
    return min(1.0, box.width / ax.figure.dpi / width, box.height / ax.figure.dpi / height)


def _place(layouts: list[PartLayout], column: dict[int, int], pitch: float, single: bool) -> list[_Placed]:
    placed = {}
    by_level: dict[int, list[PartLayout]] = {}
    for layout in layouts:
        by_level.setdefault(layout.part.level, []).append(layout)
    for level, stack in by_level.items():
        # Gaps count as shares of a square: one between stacked parts, a little one between channels of dots.
        steps = []
        for k, layout in enumerate(stack):
            steps.append(np.full(layout.count, 1.14))
            if single:
                steps[-1][1:] = np.where(np.diff(layout.channel) > 0, 1.7 if layout.part.shape[1:] else 1.14, 1.14)
            steps[-1][0] = 0.0 if k == 0 else 2.2
        along = np.cumsum(np.concatenate(steps))
        cap = 0.15 if single else min(0.42, pitch * 0.5)
        side = min(cap, TALL / (along[-1] + 1))
        y = (along[-1] / 2 - along) * side
        start = 0
        for layout in stack:
            placed[layout.part.offset, layout.part.name] = _Placed(
                layout, column[level] * pitch, y[start : start + layout.count], side
            )
            start += layout.count
    return [placed[layout.part.offset, layout.part.name] for layout in layouts]


def _draw_edges(ax, graph, placed, skips, single, scale) -> None:
    ribbons = []
    crowds: defaultdict[tuple[float, float], float] = defaultdict(float)
    for block in graph.blocks:
        if any(block is s for s in skips) or not block.matrix.nnz:
            continue
        source, target = placed[block.source], placed[block.target]
        counts = edges_between_groups(block, source.layout, target.layout)
        dense = counts / np.outer(source.layout.sizes, target.layout.sizes)
        s, t = np.nonzero(counts)
        ribbons.append((source, target, s, t, dense[s, t] / dense.max()))
        crowds[source.x, target.x] += float((dense[s, t] / dense.max()).sum())
    curves, widths, alphas = [], [], []
    for source, target, s, t, share in ribbons:
        ends = (source.x + source.side / 2, target.x - target.side / 2)
        curves.append(_curves(ends, source.y[s], target.y[t], straight=single))
        # Many opaque ribbons between two columns would cover each other.
        crowd = min(1.0, (30 / crowds[source.x, target.x]) ** 0.5)
        widths.append(0.6 + 0.2 * share if single else 0.25 + 1.9 * crowd * share**1.5)
        alphas.append(0.15 + 0.4 * crowd + 0 * share if single else (0.06 + 0.74 * share**2) * (0.3 + 0.7 * crowd))
    if not curves:
        return
    lines, width, alpha = np.concatenate(curves), np.concatenate(widths), np.concatenate(alphas)
    order = np.argsort(alpha, kind="stable")
    colors = np.tile(to_rgba(EDGE), (len(lines), 1))
    colors[:, 3] = alpha
    drawn = LineCollection(list(lines[order]), linewidths=width[order] * scale, colors=colors[order], zorder=1)
    drawn.set_rasterized(len(lines) > 2500)
    drawn.set_gid("edges")
    ax.add_collection(drawn, autolim=False)


def _curves(ends: tuple[float, float], start: np.ndarray, stop: np.ndarray, *, straight: bool) -> np.ndarray:
    """Lines (n, points, 2) from heights `start` to heights `stop`, S-shaped unless straight."""
    t = np.array([0.0, 1.0]) if straight else np.linspace(0, 1, 13)
    rise = t * t * (3 - 2 * t)
    x = np.broadcast_to(ends[0] + (ends[1] - ends[0]) * t, (len(start), len(t)))
    y = start[:, None] + (stop - start)[:, None] * rise
    return np.stack([x, y], axis=2)


def _draw_skips(ax, placed, skips, roof, height, scale) -> None:
    if not skips:
        return
    t = np.linspace(0, np.pi, 40)
    lines, widths = [], []
    most = max(b.matrix.nnz for b in skips) or 1
    furthest = max(placed[b.target].x - placed[b.source].x for b in skips)
    tops = {x: max(p.top for p in placed if p.x == x) for x in {p.x for p in placed}}
    for block in skips:
        source, target = placed[block.source], placed[block.target]
        reach = (target.x - source.x) / furthest
        x = source.x + (target.x - source.x) * (1 - np.cos(t)) / 2
        y = roof + height * (0.35 + 0.65 * reach) * np.sin(t) ** 0.8
        x, y = np.r_[source.x, x, target.x], np.r_[tops[source.x] + 0.03, y, tops[target.x] + 0.03]
        lines.append(np.stack([x, y], axis=1))
        widths.append(0.7 + 1.1 * (block.matrix.nnz / most) ** 0.5)
    alpha = max(0.25, 0.9 * (12 / max(len(lines), 12)) ** 0.5)
    drawn = LineCollection(lines, linewidths=np.array(widths) * scale, colors=SKIP, alpha=alpha, zorder=1.5)
    drawn.set_gid("skips")
    ax.add_collection(drawn, autolim=False)


def _degree_scale(layouts: list[PartLayout]) -> LogNorm:
    """From the second percentile of what is shown to its maximum: a few small values must not flatten the scale."""
    shown = np.concatenate([image.ravel() for layout in layouts for image in layout.images])
    shown = shown[shown > 0]
    if not len(shown):
        return LogNorm(1, 2)
    low, high = np.quantile(shown, 0.02), shown.max()
    return LogNorm(low, max(high, 1.5 * low))


def _draw_parts(ax, placed, single, norm) -> None:
    colors = SEQUENTIAL.with_extremes(bad=DEAD)
    if single:
        for p in placed:
            values = np.ma.masked_less(np.array([i[0, 0] for i in p.layout.images]), 0.5)
            diameters = np.full(p.layout.count, p.side * 0.92)
            dots = EllipseCollection(
                diameters, diameters, np.zeros(p.layout.count), units="xy",
                offsets=np.column_stack([np.full(p.layout.count, p.x), p.y]), offset_transform=ax.transData,
                facecolors=colors(norm(values)), edgecolors=PAPER, linewidths=0.4, zorder=3,
            )  # fmt: skip
            ax.add_collection(dots, autolim=False)
        return
    frames = []
    for p in placed:
        half = p.side / 2
        for y, image in zip(p.y, p.layout.images, strict=True):
            shade = colors(norm(np.ma.masked_less_equal(image, 0)))
            box = (p.x - half, p.x + half, y - half, y + half)
            ax.imshow(shade, extent=box, interpolation="nearest", aspect="auto", zorder=3)
            frames.append(Rectangle((box[0], box[2]), p.side, p.side))
    ax.set_aspect("equal")
    ax.add_collection(
        PatchCollection(frames, facecolor="none", edgecolor=PAPER, linewidth=0.5, zorder=3.5), autolim=False
    )


def _names(placed: list[_Placed], upright: bool) -> dict[float, list[str]]:
    """Lines of text under each column, by its x."""
    lines: dict[float, list[str]] = {}
    at: dict[float, list[_Placed]] = {}
    for p in placed:
        at.setdefault(p.x, []).append(p)
    for x, stack in at.items():
        shapes = list(dict.fromkeys("×".join(map(str, p.layout.part.shape)) for p in stack))
        names = [p.layout.part.name for p in stack]
        name = names[0] if len(names) == 1 else f"{names[0]} +{len(names) - 1}"
        name = name if len(name) <= 20 else "…" + name[-19:]
        shape = shapes[0] if len(shapes) == 1 else f"{shapes[0]} …"
        lines[x] = [f"{name}  {shape}"] if upright else [name, shape]
    return lines


def _draw_names(ax, names, pitch, upright, scale) -> None:
    size = 7.5 if pitch > 0.5 else 6.5
    longest = max(len(line) for lines in names.values() for line in lines)
    room = pitch if upright else pitch / (longest * 0.062)
    every = ceil(size * 1.25 / 72 / pitch) if upright else 1
    size *= scale * (1 if upright else min(1.0, room))
    for i, (x, lines) in enumerate(sorted(names.items())):
        if i % every:
            continue
        y = -TALL / 2 - 0.1
        if upright:
            ax.text(x, y, lines[0], rotation=90, ha="center", va="top", fontsize=size, color=INK)
        else:
            ax.text(x, y, lines[0], ha="center", va="top", fontsize=size, color=INK, fontweight="bold")
            ax.text(x, y - 0.15, lines[1], ha="center", va="top", fontsize=size, color=MUTED)


def _draw_key(ax, x, y, norm, dead, skips, scale) -> None:
    """A line of explanation: the degree scale and, where they occur, lone elements and skips."""
    text = {"fontsize": 7.5 * scale, "va": "center", "color": MUTED}
    least = f"degree {short_number(norm.vmin)}"
    ax.text(x, y, least, **text)
    x += 0.08 + 0.06 * len(least)
    ramp = SEQUENTIAL(np.linspace(0, 1, 64))[None]
    ax.imshow(ramp, extent=(x, x + 0.7, y - 0.05, y + 0.05), aspect="auto", zorder=3)
    ax.set_aspect("equal")
    most = short_number(norm.vmax)
    ax.text(x + 0.76, y, most, **text)
    x += 1.0 + 0.065 * len(most)
    if dead:
        ax.add_patch(Rectangle((x, y - 0.05), 0.1, 0.1, color=DEAD, linewidth=0))
        ax.text(x + 0.16, y, "no edge", **text)
        x += 0.78
    if skips:
        ax.plot((x, x + 0.2), (y, y), color=SKIP, linewidth=1.4 * scale)
        ax.text(x + 0.26, y, "skip connection", **text)
