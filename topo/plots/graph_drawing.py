"""The parts of a graph's drawing, of any size in inches: squares or dots, ribbons, arcs, names and key."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from math import ceil
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import EllipseCollection, LineCollection, PatchCollection
from matplotlib.colors import LogNorm, to_rgba
from matplotlib.patches import Rectangle

from .graph_layout import edges_between_groups
from .graph_sheet import HEAD, KEY, NAME, SMALL_NAME, SMALLEST, Sheet
from .labels import short_number, text_width
from .theme import INK, MUTED, PAPER, SEQUENTIAL

__all__ = ["DEAD", "EDGE", "SKIP", "Drawing"]

EDGE, SKIP, DEAD = "#3d76a8", "#7b4fa3", "#e8a33d"


class Drawing(Sheet):
    """A graph on its way to the paper, made as the sheet that it is drawn on."""

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
