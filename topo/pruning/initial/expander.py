"""Random expanders, X-Nets (Prabhu et al., ECCV 2018, arXiv 1711.08757)."""

from __future__ import annotations

from torch import Tensor

from ..registry import PRUNERS
from ..task import Task
from .regular import draw_regular, regular_masks

__all__ = ["expander"]


@PRUNERS.register("expander", family="initial", stage="initial", paper="Prabhu et al. 2018", needs_data=False)
def expander(task: Task, *, unit: str = "kernel", allocation: str = "uniform") -> dict[str, Tensor]:
    """Random regular bipartite graphs between the channels of each layer, whole kernels kept or removed.

    Every output reads the same number of inputs and every input is read by the same number of outputs, to within one.
    The paper fixes the former alone and leaves the degrees of inputs to chance; balanced on both sides, random
    graphs of degree three and more are expanders all the better.

    Parameters
    ----------
    unit
        What an edge is: ``"kernel"``, as in the paper's X-Conv, or ``"weight"``, so that a convolution is a graph
        between its output channels and all elements of its unfolded input.
    allocation
        How many weights each layer keeps: ``"uniform"``, ``"er"`` or ``"erk"``.
    """

    def draw(outputs: int, inputs: int, edges: int) -> Tensor:
        return draw_regular(outputs, inputs, edges, task.generator)

    return regular_masks(task, draw, unit=unit, allocation=allocation)
