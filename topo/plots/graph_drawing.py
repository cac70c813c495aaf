"""The parts of a graph's drawing, of any size in inches: squares or dots, ribbons, arcs, names and key."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from math import ceil
from textwrap import wrap
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import EllipseCollection, LineCollection, PatchCollection
from matplotlib.colors import LogNorm, to_rgba
from matplotlib.patches import Rectangle

from ..encoding.graph import MultipartiteGraph
from ..encoding.parts import Block
from ..errors import InputError, counted_of
from .graph_layout import PartLayout, PlacedPart, chosen_parts, edges_between_groups, lay_out_part
from .labels import short_number, text_width
from .theme import INK, MUTED, PAPER, SEQUENTIAL

__all__ = ["DEAD", "EDGE", "SKIP", "Drawing"]

# One data unit is one inch, so that letters and squares keep their size in a drawing of any width.
TALL = 3.2
SHORTEST = 0.8
# Most columns, and the distance between them where the width is free.
PITCHES = ((5, 2.0), (8, 1.45), (14, 1.05), (32, 0.62), (float("inf"), 0.42))
EDGE, SKIP, DEAD = "#3d76a8", "#7b4fa3", "#e8a33d"
# Points of the head, of names and of the key.
HEAD, NAME, SMALL_NAME, SMALLEST, KEY = 9.5, 7.5, 6.5, 6.0, 7.5


class Drawing:
    """A graph on its way to the paper.

    Parameters
    ----------
    graph
        What is drawn.
    layers
        Patterns of the parts that are shown; all when None.
    title
        For its head.
    max_groups, max_single_nodes, max_single_edges
        As for `topo.plots.draw_graph`.
    """

    def __init__(
        self,
        graph: MultipartiteGraph,
        *,
        layers: str | Sequence[str] | None = None,
        title: str = "",
        max_groups: int = 16,
        max_single_nodes: int = 400,
        max_single_edges: int = 4000,
    ) -> None:
        if not isinstance(graph, MultipartiteGraph):
            raise InputError(f"draw_graph draws a MultipartiteGraph or BipartiteGraph; got {type(graph).__name__}.")
        if not graph.parts:
            raise InputError("the graph has no parts, so there is nothing to draw.")
        self.graph, degree = chosen_parts(graph, graph.degrees(), layers)
        sizes = (self.graph.n_nodes, graph.n_nodes, "node"), (self.graph.n_edges, graph.n_edges, "edge")
        self.head = [*([title] if title else []), " · ".join(counted_of(*size) for size in sizes)]
        parts = self.graph.parts
        self.single = (
            self.graph.n_nodes <= max_single_nodes
            and self.graph.n_edges <= max_single_edges
            and max(part.size for part in parts) <= max_single_nodes / 2
        )
        stacked = Counter(part.level for part in parts)
        self.layouts = [
            lay_out_part(p, degree[p.nodes], single=self.single, most_groups=max(max_groups // stacked[p.level], 3))
            for p in parts
        ]
        self._column = {level: i for i, level in enumerate(sorted(stacked))}
        self.long = [block for block in self.graph.blocks if self._span(block) > 1 and block.matrix.nnz]
        skips = [not block.name for block in self.long]
        self.marks = [
            *(["no edge"] if (degree == 0).any() else []),
            *(["skip connection"] if any(skips) else []),
            *(["layer that reads an earlier tensor"] if not all(skips) else []),
        ]
        """What the key explains beside the shades."""
        self.width = self.height = 0.0

    @property
    def shades(self) -> np.ndarray:
        """Degrees that are shown as shades, without zeros."""
        shown = np.concatenate([image.ravel() for layout in self.layouts for image in layout.images])
        return shown[shown > 0]

    def fit(self, width: float | None = None, height: float | None = None, *, with_key: bool = True) -> None:
        """Lay the drawing out in inches.

        Parameters
        ----------
        width
            Of the drawing; what its columns need when None.
        height
            Of the drawing; what fits when None.
        with_key
            Whether room is left for a key.
        """
        self.upright = False
        margin = self._set_columns(width)
        if self.pitch < max(1.0, self._longest * SMALLEST / NAME + 0.05):  # names do not fit beside each other
            self.upright = True
            margin = self._set_columns(width)
        self.width = max((len(self._column) - 1) * self.pitch + 2 * margin, 4.6) if width is None else float(width)
        self.foot = 0.1 + (self._longest if self.upright else 0.45)
        spans = [self._span(block) for block in self.long]
        self.arcs = min(0.3 + 0.16 * max(spans), 1.3) if spans else 0.0
        self._heads = self._wrapped()
        self.with_key, self.with_names = with_key, True
        self._make_room(height)
        self.placed = self._place()
        if height is None:  # squares that narrow columns keep small leave no empty space above and below
            self.tall = max(2 * max(placed.top, -placed.bottom) for placed in self.placed)
            self.arcs = min(self.arcs, max(0.4 * self.tall, 0.4))
        self.roof = max(placed.top for placed in self.placed) + 0.12
        self.height = self.roof + self.arcs + self._top + self.tall / 2 + self.foot if height is None else height

    def _set_columns(self, width: float | None) -> float:
        """Set the distance of the columns, and return the margin that the names of the outer ones need."""
        names = self._names()
        self._longest = max(self._name_width(lines) for lines in names.values())
        outer = max(self._name_width(names[column]) for column in (0, len(self._column) - 1))
        upright = 0.35 if width is None else min(0.35, 0.07 * width)
        margin = upright if self.upright else max(0.45, outer / 2 + 0.08)
        natural = next(pitch for most, pitch in PITCHES if len(self._column) <= most)
        steps = max(len(self._column) - 1, 1)
        self.pitch = natural if width is None else min(natural, max(width - 2 * margin, 0.1) / steps)
        return margin

    def _make_room(self, height: float | None) -> None:
        """Leave out what a given height has no room for: the key, the size of the graph, the names, the head."""
        self.tall = TALL if self.pitch > 0.3 else max(1.4, TALL * self.pitch / 0.3 * 0.8)
        for sacrifice in ("nothing", "key", "size", "names", "head"):
            if sacrifice == "key":
                self.with_key = False
            elif sacrifice == "size":
                self._heads, self.arcs = self._heads[:1], min(self.arcs, 0.4)
            elif sacrifice == "names":
                self.with_names, self.foot = False, 0.1
            elif sacrifice == "head":
                self._heads = []
            lines = len(self._key_places(self.marks, self.width)) if self.with_key else 0
            self._top = 0.12 + 0.17 * len(self._heads) + 0.2 * lines + 0.12
            if height is None:
                return
            self.tall = height - self.foot - self.arcs - self._top - 0.12
            if self.tall >= SHORTEST:
                return
        self.tall = max(self.tall, 0.2)

    def draw(self, ax: Axes, norm: LogNorm, *, key: bool = True) -> None:
        """Draw on Axes of the drawing's size.

        Parameters
        ----------
        ax
            All of it is used.
        norm
            The scale of shades.
        key
            Whether to explain shades and marks.
        """
        middle = (len(self._column) - 1) * self.pitch / 2
        left = middle - self.width / 2
        bottom = -self.tall / 2 - self.foot
        top = bottom + self.height
        ax.set_xlim(left, left + self.width)
        ax.set_ylim(bottom, top)
        ax.set_aspect("equal")
        ax.axis("off")
        self._draw_edges(ax)
        self._draw_arcs(ax)
        self._draw_parts(ax, norm)
        self._draw_names(ax)
        for line, (text, size) in enumerate(self._heads):
            look: dict[str, Any] = {"fontweight": "bold", "color": INK} if size == HEAD else {"color": MUTED}
            ax.text(left + 0.1, top - 0.1 - 0.17 * line, text, fontsize=size, va="top", **look)
        if key and self.with_key:
            self.draw_key(ax, left + 0.1, top - 0.22 - 0.17 * len(self._heads), norm, self.marks, self.width)

    def draw_key(self, ax: Axes, x: float, y: float, norm: LogNorm, marks: Iterable[str], width: float) -> None:
        """Say what shades and marks mean.

        Parameters
        ----------
        ax
            In inches.
        x, y
            Where the key begins.
        norm
            The scale of shades.
        marks
            What is to be explained beside it.
        width
            Inches that it may take.
        """
        text: dict[str, Any] = {"fontsize": KEY, "va": "center", "color": MUTED}
        low, high_end = norm.vmin or 0.0, norm.vmax or 0.0
        for line, items in enumerate(self._key_places(list(dict.fromkeys(marks)), width)):
            for at, what in items:
                left, high = x + at, y - 0.2 * line
                if what == "shades":
                    words = f"{self._shade_words} {short_number(low)}"
                    ax.text(left, high, words, **text)
                    left += 0.14 + text_width(words, KEY)  # on a screen letters are up to .1 inches wider than in print
                    ramp = SEQUENTIAL(np.linspace(0, 1, 64))[None]
                    ax.imshow(ramp, extent=(left, left + 0.6, high - 0.05, high + 0.05), aspect="auto", zorder=3)
                    ax.set_aspect("equal")
                    ax.text(left + 0.66, high, short_number(high_end), **text)
                    continue
                if what == "no edge":
                    ax.add_patch(Rectangle((left, high - 0.05), 0.1, 0.1, color=DEAD, linewidth=0))
                else:
                    color = SKIP if what == "skip connection" else EDGE
                    ax.plot((left, left + 0.14), (high, high), color=color, linewidth=1.4)
                ax.text(left + 0.2, high, what, **text)

    def key_height(self, marks: Sequence[str], width: float) -> float:
        """Inches that a key takes.

        Parameters
        ----------
        marks
            What it explains beside the shades.
        width
            Inches that it may take.

        Returns
        -------
        float
            Its height.
        """
        return 0.1 + 0.2 * len(self._key_places(marks, width))

    @property
    def _shade_words(self) -> str:
        return "edges at a node:" if self.single else "edges at an element, mean:"

    def _key_places(self, marks: Sequence[str], width: float) -> list[list[tuple[float, str]]]:
        """Lines of the key: where each item begins, and what it is."""
        lengths = [("shades", text_width(f"{self._shade_words} 0.00k", KEY) + text_width("0.00k", KEY) + 0.93)]
        lengths += [(mark, 0.37 + text_width(mark, KEY)) for mark in marks]
        lines: list[list[tuple[float, str]]] = [[]]
        x = 0.0
        for what, length in lengths:
            if lines[-1] and x + length > width - 0.15:
                lines.append([])
                x = 0.0
            lines[-1].append((x, what))
            x += length
        return lines

    def _wrapped(self) -> list[tuple[str, float]]:
        """The head in as many lines as its width needs, with the size of their letters: in panels, smaller."""
        whole = " · ".join(self.head)
        room = self.width - 0.15
        if text_width(whole, HEAD, bold=True) <= room:
            return [(whole, HEAD)]
        lines = []
        for text in self.head:
            fits = text_width(text, HEAD, bold=True) <= room
            size = HEAD if fits or text is self.head[0] else KEY
            most = max(int(len(text) * room / text_width(text, size, bold=size == HEAD)), 6)
            lines += [(line, size) for line in wrap(text, most)]
        return lines

    @property
    def head_lines(self) -> int:
        """Lines of the head; more leave the last ones empty, so that drawings side by side line up."""
        return len(self._heads)

    @head_lines.setter
    def head_lines(self, lines: int) -> None:
        more = lines - len(self._heads)
        self._heads += [("", HEAD)] * more
        self._top += 0.17 * more
        self.height += 0.17 * more

    def _span(self, block: Block) -> int:
        parts = self.graph.parts
        return self._column[parts[block.target].level] - self._column[parts[block.source].level]

    def _place(self) -> list[PlacedPart]:
        placed = {}
        by_level: dict[int, list[PartLayout]] = {}
        for layout in self.layouts:
            by_level.setdefault(layout.part.level, []).append(layout)
        for level, stack in by_level.items():
            # Gaps count as shares of a square: one between stacked parts, a little one between channels of dots.
            steps = []
            for k, layout in enumerate(stack):
                steps.append(np.full(layout.count, 1.14))
                if self.single:
                    steps[-1][1:] = np.where(np.diff(layout.channel) > 0, 1.7 if layout.part.shape[1:] else 1.14, 1.14)
                steps[-1][0] = 0.0 if k == 0 else 2.2
            along = np.cumsum(np.concatenate(steps))
            cap = min(0.15, self.pitch * 0.5) if self.single else min(0.42, self.pitch * 0.5)
            side = min(cap, self.tall / (along[-1] + 1))
            y = (along[-1] / 2 - along) * side
            start = 0
            for layout in stack:
                x = self._column[level] * self.pitch
                placed[layout.part.offset, layout.part.name] = PlacedPart(
                    layout, x, y[start : start + layout.count], side
                )
                start += layout.count
        return [placed[layout.part.offset, layout.part.name] for layout in self.layouts]

    def _draw_edges(self, ax: Axes) -> None:
        ribbons = []
        crowds: defaultdict[tuple[float, float], float] = defaultdict(float)
        for block in self.graph.blocks:
            if self._span(block) > 1 or not block.matrix.nnz:
                continue
            source, target = self.placed[block.source], self.placed[block.target]
            counts = edges_between_groups(block, source.layout, target.layout)
            dense = counts / np.outer(source.layout.sizes, target.layout.sizes)
            s, t = np.nonzero(counts)
            ribbons.append((source, target, s, t, dense[s, t] / dense.max()))
            crowds[source.x, target.x] += float((dense[s, t] / dense.max()).sum())
        curves, widths, alphas = [], [], []
        for source, target, s, t, share in ribbons:
            ends = (source.x + source.side / 2, target.x - target.side / 2)
            curves.append(_curves(ends, source.y[s], target.y[t], straight=self.single))
            # Many opaque ribbons between two columns would cover each other.
            crowd = min(1.0, (30 / crowds[source.x, target.x]) ** 0.5)
            widths.append(0.6 + 0.2 * share if self.single else 0.25 + 1.9 * crowd * share**1.5)
            faint = 0.15 + 0.4 * crowd + 0 * share
            alphas.append(faint if self.single else (0.06 + 0.74 * share**2) * (0.3 + 0.7 * crowd))
        if not curves:
            return
        lines, width, alpha = np.concatenate(curves), np.concatenate(widths), np.concatenate(alphas)
        order = np.argsort(alpha, kind="stable")
        colors = np.tile(to_rgba(EDGE), (len(lines), 1))
        colors[:, 3] = alpha
        narrow = min(1.0, self.pitch / 0.4)
        drawn = LineCollection(list(lines[order]), linewidths=width[order] * narrow, colors=colors[order], zorder=1)
        drawn.set_rasterized(len(lines) > 2500)
        drawn.set_gid("edges")
        ax.add_collection(drawn, autolim=False)

    def _draw_arcs(self, ax: Axes) -> None:
        if not self.long:
            return
        t = np.linspace(0, np.pi, 40)
        most = max(block.matrix.nnz for block in self.long)
        furthest = max(self.placed[block.target].x - self.placed[block.source].x for block in self.long)
        tops = {x: max(p.top for p in self.placed if p.x == x) for x in {p.x for p in self.placed}}
        alpha = max(0.25, 0.9 * (12 / max(len(self.long), 12)) ** 0.5)
        for gid, color in (("skips", SKIP), ("layers", EDGE)):
            lines, widths = [], []
            for block in self.long:
                if bool(block.name) != (gid == "layers"):
                    continue
                source, target = self.placed[block.source], self.placed[block.target]
                reach = (target.x - source.x) / furthest
                x = source.x + (target.x - source.x) * (1 - np.cos(t)) / 2
                y = self.roof + self.arcs * (0.35 + 0.65 * reach) * np.sin(t) ** 0.8
                x, y = np.r_[source.x, x, target.x], np.r_[tops[source.x] + 0.03, y, tops[target.x] + 0.03]
                lines.append(np.stack([x, y], axis=1))
                widths.append(0.7 + 1.1 * (block.matrix.nnz / most) ** 0.5)
            if lines:
                drawn = LineCollection(lines, linewidths=widths, colors=color, alpha=alpha, zorder=1.5)
                drawn.set_gid(gid)
                ax.add_collection(drawn, autolim=False)

    def _draw_parts(self, ax: Axes, norm: LogNorm) -> None:
        colors = SEQUENTIAL.with_extremes(bad=DEAD)
        if self.single:
            for p in self.placed:
                values = np.ma.masked_less(np.array([image[0, 0] for image in p.layout.images]), 0.5)
                diameters = np.full(p.layout.count, p.side * 0.92)
                dots = EllipseCollection(
                    diameters, diameters, np.zeros(p.layout.count), units="xy",
                    offsets=np.column_stack([np.full(p.layout.count, p.x), p.y]), offset_transform=ax.transData,
                    facecolors=colors(norm(values)), edgecolors=PAPER, linewidths=0.4, zorder=3,
                )  # fmt: skip
                ax.add_collection(dots, autolim=False)
            return
        frames = []
        for p in self.placed:
            half = p.side / 2
            for y, image in zip(p.y, p.layout.images, strict=True):
                shade = colors(norm(np.ma.masked_less_equal(image, 0)))
                box = (p.x - half, p.x + half, y - half, y + half)
                ax.imshow(shade, extent=box, interpolation="nearest", aspect="auto", zorder=3)
                frames.append(Rectangle((box[0], box[2]), p.side, p.side))
        ax.set_aspect("equal")
        width = 0.5 * min(1.0, self.pitch / 0.4)
        drawn = PatchCollection(frames, facecolor="none", edgecolor=PAPER, linewidth=width, zorder=3.5)
        ax.add_collection(drawn, autolim=False)

    def _names(self) -> dict[int, list[str]]:
        """Lines of text under each column, by its number."""
        at: dict[int, list[PartLayout]] = {}
        for layout in self.layouts:
            at.setdefault(self._column[layout.part.level], []).append(layout)
        lines: dict[int, list[str]] = {}
        for column, stack in at.items():
            shapes = list(dict.fromkeys("×".join(map(str, layout.part.shape)) for layout in stack))
            names = [layout.part.name for layout in stack]
            name = names[0] if len(names) == 1 else f"{names[0]} +{len(names) - 1}"
            name = name if len(name) <= 20 else "…" + name[-19:]
            shape = shapes[0] if len(shapes) == 1 else f"{shapes[0]} …"
            lines[column] = [f"{name}  {shape}"] if self.upright else [name, shape]
        return lines

    def _name_width(self, lines: Sequence[str]) -> float:
        return max(text_width(line, NAME, bold=not self.upright) for line in lines)

    def _draw_names(self, ax: Axes) -> None:
        if not self.with_names:
            return
        names = self._names()
        size = NAME if self.pitch > 0.5 else SMALL_NAME
        if not self.upright:  # letters get no smaller than those of upright names
            size = max(size * min(1.0, self.pitch / (self._longest + 0.05)), SMALLEST)
        every = ceil(size * 1.25 / 72 / self.pitch) if self.upright else 1
        y = -self.tall / 2 - 0.1
        for i, (column, lines) in enumerate(sorted(names.items())):
            if i % every:
                continue
            x = column * self.pitch
            if self.upright:
                ax.text(x, y, lines[0], rotation=90, ha="center", va="top", fontsize=size, color=INK)
            else:
                ax.text(x, y, lines[0], ha="center", va="top", fontsize=size, color=INK, fontweight="bold")
                ax.text(x, y - 0.15, lines[1], ha="center", va="top", fontsize=size, color=MUTED)


def _curves(ends: tuple[float, float], start: np.ndarray, stop: np.ndarray, *, straight: bool) -> np.ndarray:
    """Lines (n, points, 2) from heights `start` to heights `stop`, S-shaped unless straight."""
    t = np.array([0.0, 1.0]) if straight else np.linspace(0, 1, 13)
    rise = t * t * (3 - 2 * t)
    x = np.broadcast_to(ends[0] + (ends[1] - ends[0]) * t, (len(start), len(t)))
    y = start[:, None] + (stop - start)[:, None] * rise
    return np.stack([x, y], axis=2)
