"""Random bipartite graphs in which all nodes of a side have the same degree, to within one, and their spectrum."""

from __future__ import annotations

from collections.abc import Callable

import torch
from scipy import sparse
from torch import Tensor

from ...features.spectra import top_singular_values
from ...validation import one_of
from ..allocation import SHARES, layer_counts
from ..input_statistics import find_rows
from ..task import Task
from ..weight_rows import as_matrix, written_back

__all__ = ["bound_gap", "draw_regular", "regular_masks"]

UNITS = ("kernel", "weight")

Draw = Callable[[int, int, int], Tensor]


def regular_masks(task: Task, draw: Draw, *, unit: str, allocation: str) -> dict[str, Tensor]:
    """Masks whose tensors are bipartite graphs ``draw(outputs, inputs, edges)``, bool of shape (outputs, inputs).

    The first axis of a weight runs over the outputs, the second over the inputs, or the other way round, which does not
    matter where an edge is a kernel, between channels. Where it is a single weight, the inputs being all pairs of an
    input channel and a place in the kernel, outputs are told by data or an example, if there are any. What is too
    much of a kernel for the exact count is taken from one kernel, at random places.

    Parameters
    ----------
    task
        The weights, how many to keep, and the source of random numbers.
    draw
        From numbers of outputs, inputs and edges to a bipartite graph.
    unit
        What an edge is: ``"kernel"`` or ``"weight"``.
    allocation
        How edges are spread over layers: a key of `SHARES`.

    Returns
    -------
    dict
        Name -> bool mask.
    """
    one_of("unit", unit, UNITS)
    one_of("allocation", allocation, SHARES)
    shapes = {name: weight.shape for name, weight in task.weights.items()}
    if unit == "weight":
        find_rows(task)
    masks = {}
    counts = layer_counts(shapes, task.kept, SHARES[allocation], task.room)
    for (name, shape), count in zip(shapes.items(), counts, strict=True):
        rows = task.rows.get(name) if unit == "weight" else None
        if rows is not None:
            shape = as_matrix(task.weights[name], rows).shape
        outputs = shape[0] if len(shape) > 1 else 1
        size = shape[2:].numel() if unit == "kernel" else 1
        edges = -(-count // size)
        graph = draw(outputs, shape.numel() // outputs // size, edges)
        mask = graph[..., None].repeat(1, 1, size)
        if edges * size > count:
            cut = int(graph.flatten().nonzero()[torch.randint(edges, (), generator=task.generator)])
            places = torch.randperm(size, generator=task.generator)[: edges * size - count]
            mask.view(-1, size)[cut, places] = False
        masks[name] = mask.view(shape) if rows is None else written_back(mask, rows, task.weights[name])
    return masks


def draw_regular(rows: int, columns: int, edges: int, generator: torch.Generator) -> Tensor:
    """A random bipartite graph without multiple edges, bool (rows, columns), all degrees of a side within one.

    Stubs are matched at random (the configuration model); an edge that is there twice swaps its end with another
    edge where that makes two new ones, until none is. Of a graph that is more than half full, what is missing is
    drawn.

    Parameters
    ----------
    rows, columns
        Nodes of the two sides.
    edges
        How many edges; at most rows times columns.
    generator
        Source of random numbers.

    Returns
    -------
    Tensor
        bool, (rows, columns).

    Examples
    --------
    >>> graph = draw_regular(6, 9, 18, torch.Generator().manual_seed(0))
    >>> graph.sum(0).tolist(), graph.sum(1).tolist()
    ([2, 2, 2, 2, 2, 2, 2, 2, 2], [3, 3, 3, 3, 3, 3])
    """
    if 2 * edges > rows * columns:
        return ~draw_regular(rows, columns, rows * columns - edges, generator)

    def shuffled(count: int) -> Tensor:
        return torch.randperm(count, generator=generator)

    # Whoever comes first in a random order gets the one edge more that does not divide evenly.
    ends = [shuffled(size).repeat(-(-edges // size))[:edges] for size in (rows, columns)]
    row, column = ends[0], ends[1][shuffled(edges)]
    while True:
        keys = row * columns + column
        graph = torch.zeros(rows * columns, dtype=torch.int32).index_add_(0, keys, torch.ones_like(keys).int())
        if graph.max() < 2:
            return graph.view(rows, columns).bool()
        order = keys.argsort(stable=True)
        surplus = order[1:][keys[order][1:] == keys[order][:-1]]
        other = shuffled(edges)[: len(surplus)]
        surplus = surplus[shuffled(len(surplus))[: len(other)]]
        new = torch.stack([row[surplus] * columns + column[other], row[other] * columns + column[surplus]])
        fits = (graph[new] == 0).all(0) & (new[0] != new[1])
        surplus, other = _apart(surplus[fits], other[fits], edges)
        column[surplus], column[other] = column[other], column[surplus]


def _apart(first: Tensor, second: Tensor, edges: int) -> tuple[Tensor, Tensor]:
    """The pairs of which no edge is in an earlier pair too."""
    turn = torch.arange(len(first))
    earliest = torch.full((edges,), len(first))
    for end in (first, second):
        earliest.scatter_reduce_(0, end, turn, "amin")
    free = (earliest[first] == turn) & (earliest[second] == turn)
    return first[free], second[free]


def bound_gap(graph: Tensor) -> float:
    """(bound - s2) / bound, s2 the second singular value, bound = sqrt(dL - 1) + sqrt(dR - 1).

    Not negative for a Ramanujan graph. dL and dR are the mean degrees of the two sides, nodes without an edge left
    out. Infinite where a side has fewer than two nodes, minus infinity where the bound is zero.

    Parameters
    ----------
    graph
        bool, (rows, columns).

    Returns
    -------
    float
        At most 1.
    """
    graph = graph[graph.any(1)][:, graph.any(0)]
    if min(graph.shape) < 2:
        return float("inf")
    edges = int(graph.sum())
    bound = sum((edges / size - 1) ** 0.5 for size in graph.shape)
    if bound == 0:
        return float("-inf")
    return 1 - float(top_singular_values(sparse.csr_array(graph.double().numpy()), 2)[1]) / bound
