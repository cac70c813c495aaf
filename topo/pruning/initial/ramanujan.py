"""Random Ramanujan graphs.

Hoang et al., Revisiting pruning at initialization through the lens of Ramanujan graph, ICLR 2023.
"""

from __future__ import annotations

from torch import Tensor

from ...validation import whole_number
from ..registry import PRUNERS
from ..task import Task
from .regular import bound_gap, draw_regular, regular_masks

__all__ = ["ramanujan"]


@PRUNERS.register("ramanujan", family="initial", stage="initial", paper="Hoang et al. 2023", needs_data=False)
def ramanujan(task: Task, *, draws: int = 20, unit: str = "weight", allocation: str = "uniform") -> dict[str, Tensor]:
    """Random regular bipartite graphs that meet the Ramanujan bound, s2 <= sqrt(dL - 1) + sqrt(dR - 1).

    s2 is the second singular value of a layer's 0/1 matrix, dL and dR are the mean degrees of its sides: no regular
    graph connects its nodes much better. Each layer is drawn, as an expander is, until it meets the bound. Random
    regular graphs nearly meet it, so that few draws do. The layers that do not in all their draws, such as those
    with one edge a node, which no draw makes connected, keep the draw that came nearest.

    Parameters
    ----------
    draws
        The most draws of a layer, from 1 up.
    unit
        What an edge is: ``"weight"``, as in the paper, which unfolds convolutions, so that a convolution is a graph
        between its output channels and all elements of its unfolded input; or ``"kernel"``, whole kernels between
        channels.
    allocation
        How many weights each layer keeps: ``"uniform"``, ``"er"`` or ``"erk"``.
    """
    whole_number("draws", draws, minimum=1)

    def draw(outputs: int, inputs: int, edges: int) -> Tensor:
        best = draw_regular(outputs, inputs, edges, task.generator)
        best_gap = bound_gap(best)
        for _ in range(draws - 1):
            if best_gap >= 0:
                break
            graph = draw_regular(outputs, inputs, edges, task.generator)
            gap = bound_gap(graph)
            if gap > best_gap:
                best, best_gap = graph, gap
        return best

    return regular_masks(task, draw, unit=unit, allocation=allocation)
