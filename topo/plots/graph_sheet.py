"""Where the parts of a graph's drawing lie, in inches: columns of squares or dots, names, head and key."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from textwrap import wrap

import numpy as np

from ..encoding.graph import MultipartiteGraph
from ..encoding.parts import Block
from ..errors import InputError, counted_of
from .graph_layout import PartLayout, PlacedPart, chosen_parts, lay_out_part
from .labels import text_width

__all__ = ["HEAD", "KEY", "NAME", "SMALLEST", "SMALL_NAME", "Sheet"]

# One data unit is one inch, so that letters and squares keep their size in a drawing of any width.
TALL = 3.2
SHORTEST = 0.8
# Most columns, and the distance between them where the width is free.
PITCHES = ((5, 2.0), (8, 1.45), (14, 1.05), (32, 0.62), (float("inf"), 0.42))
# Points of the head, of names and of the key.
HEAD, NAME, SMALL_NAME, SMALLEST, KEY = 9.5, 7.5, 6.5, 6.0, 7.5


class Sheet:
    """The paper that a graph is drawn on: what is shown of the graph, and where.

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
