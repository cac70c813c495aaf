"""Layout of a graph drawing: the elements of each part in groups, and the number of edges between groups."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from itertools import pairwise
from math import prod

import numpy as np

from ..encoding.graph import MultipartiteGraph
from ..encoding.parts import Block, Part
from ..errors import InputError

__all__ = ["PartLayout", "PlacedPart", "chosen_parts", "edges_between_groups", "lay_out_part"]

EDGES_AT_ONCE = 1 << 22


@dataclass(frozen=True)
class PartLayout:
    """One part as a stack of groups.

    Attributes
    ----------
    group
        Group of every element, int64 (size,).
    sizes
        Elements in each group, int64 (groups,).
    images
        Mean degree over each group's elements by position, one array (rows, columns) per group.
    channel
        Channel of each group where a group is one element, else the group's own number; int64 (groups,).
    """

    part: Part
    group: np.ndarray
    sizes: np.ndarray
    images: list[np.ndarray]
    channel: np.ndarray

    @property
    def count(self) -> int:
        """Number of groups."""
        return len(self.sizes)


@dataclass
class PlacedPart:
    """A stack of groups at its place in a drawing, in inches: its column, and the middle of every square."""

    layout: PartLayout
    x: float
    y: np.ndarray
    side: float

    @property
    def top(self) -> float:
        return float(self.y[0] + self.side / 2)

    @property
    def bottom(self) -> float:
        return float(self.y[-1] - self.side / 2)


def chosen_parts(
    graph: MultipartiteGraph, degree: np.ndarray, patterns: str | Sequence[str] | None
) -> tuple[MultipartiteGraph, np.ndarray]:
    """The parts whose names match a pattern, with the edges between them.

    Parameters
    ----------
    graph
        A graph.
    degree
        Degrees of its nodes, (N,) or (N, kinds).
    patterns
        Names with wildcards; None for all parts.

    Returns
    -------
    graph
        The smaller one.
    array
        The degrees of its nodes in the whole graph.

    Raises
    ------
    InputError
        When a pattern matches no part.
    """
    if patterns is None:
        return graph, degree
    patterns = [patterns] if isinstance(patterns, str) else list(patterns)
    for pattern in patterns:
        if not any(fnmatchcase(part.name, pattern) for part in graph.parts):
            names = ", ".join(part.name for part in graph.parts[:8])
            raise InputError(f"no part of the graph is called {pattern!r}; there are {names}, ...")
    kept = [i for i, part in enumerate(graph.parts) if any(fnmatchcase(part.name, pattern) for pattern in patterns)]
    place = {old: new for new, old in enumerate(kept)}
    parts, offset = [], 0
    for i in kept:
        parts.append(replace(graph.parts[i], offset=offset))
        offset += graph.parts[i].size
    blocks = [
        Block(place[b.source], place[b.target], b.matrix, b.name)
        for b in graph.blocks
        if b.source in place and b.target in place
    ]
    return MultipartiteGraph(parts, blocks), np.concatenate([degree[graph.parts[i].nodes] for i in kept])


def lay_out_part(
    part: Part, degree: np.ndarray, *, single: bool, most_groups: int, most_pixels: int = 20
) -> PartLayout:
    """Put the elements of a part into groups, most connected channel first (input and output keep their order).

    Parameters
    ----------
    part
        A part of the graph.
    degree
        Degrees of the part's elements, (size,).
    single
        Every element is its own group; otherwise a channel is, or several neighbours in rank.
    most_groups
        Upper bound on the groups where not `single`.
    most_pixels
        Upper bound on the rows and columns of an image.

    Returns
    -------
    PartLayout
        Where each element goes, and the image of each group.
    """
    channels = part.shape[0] if part.shape else 1
    rest = part.shape[1:] or (1,)
    by_channel = degree.reshape(channels, -1)
    order = np.arange(channels)
    if part.role == "hidden":
        order = np.argsort(-by_channel.sum(1), kind="stable")
    rank = np.empty(channels, dtype=np.int64)
    rank[order] = np.arange(channels)
    inside = prod(rest)
    if single:
        group = (rank[:, None] * inside + np.arange(inside)).reshape(-1)
        values = np.empty(part.size)
        values[group] = degree
        images = [np.array([[v]]) for v in values]
        return PartLayout(part, group, np.ones(part.size, np.int64), images, np.arange(part.size) // inside)
    count = min(channels, most_groups)
    group_of_channel = rank * count // channels
    rows, columns = (rest[0], prod(rest[1:])) if len(rest) > 1 else (1, inside)
    sums = np.zeros((count, inside))
    np.add.at(sums, group_of_channel, by_channel)
    members = np.bincount(group_of_channel, minlength=count)
    images = [_shrink((s / m).reshape(rows, columns), most_pixels) for s, m in zip(sums, members, strict=True)]
    return PartLayout(part, np.repeat(group_of_channel, inside), members * inside, images, np.arange(count))


def _shrink(image: np.ndarray, most: int) -> np.ndarray:
    """Block means of an image, so that neither side exceeds `most`."""
    for axis in (0, 1):
        length = image.shape[axis]
        if length > most:
            starts = np.arange(most) * length // most
            sums = np.add.reduceat(image, starts, axis=axis)
            image = sums / np.diff([*starts, length]).reshape((-1, 1) if axis == 0 else (1, -1))
    return image


def edges_between_groups(block: Block, source: PartLayout, target: PartLayout) -> np.ndarray:
    """Number of edges of a block from every group of one part to every group of another, int64 (groups, groups).

    Parameters
    ----------
    block
        Edges from one part to another.
    source
        Layout of the part that they leave.
    target
        Layout of the part that they enter.

    Returns
    -------
    array
        int64, (groups, groups).
    """
    matrix = block.matrix
    counts = np.zeros(source.count * target.count, dtype=np.int64)
    starts = np.searchsorted(matrix.indptr, np.arange(0, max(matrix.nnz, 1), EDGES_AT_ONCE), side="right") - 1
    bounds = np.unique(np.append(starts, matrix.shape[0]))
    for first, last in pairwise(bounds):
        begin, end = matrix.indptr[first], matrix.indptr[last]
        rows = np.repeat(source.group[first:last], np.diff(matrix.indptr[first : last + 1]))
        counts += np.bincount(rows * target.count + target.group[matrix.indices[begin:end]], minlength=len(counts))
    return counts.reshape(source.count, target.count)
