"""SynFlow: iterative synaptic flow (Tanaka et al., NeurIPS 2020, arXiv 2006.05467)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ..linearized_model import PositiveMode, make_positive
from ..registry import PRUNERS
from ..samples import input_shapes
from ..task import Task
from ..weight_scoring import by_score

__all__ = ["synflow"]


@PRUNERS.register("synflow", family="initial", stage="initial", paper="Tanaka et al. 2020", needs_data=False)
@by_score(allocation="global", rounds=100)
def synflow(task: Task, *, input_shape: Sequence[int] | None = None) -> dict[str, Tensor]:
    """Flow through a weight, |theta * dR/dtheta|, R the summed response of the positive network to ones.

    R = 1^T (product of |theta_l|) 1 is the sum over all paths from input to output of the product of the absolute
    weights, so biases are zero, normalisations keep their scale alone, activations pass their (positive) input on,
    and gates and attention, which the paper does not treat, add what they multiply; see
    `topo.pruning.linearized_model`. Public implementations keep |bias|, which no path from the input carries; this
    follows the paper. Everything is done in float64.

    Parameters
    ----------
    input_shape
        Shape of one input, without the batch dimension; taken from the data where there are some.
    """
    make_positive(task.model)
    shapes = input_shapes(task, input_shape)
    ones = tuple(torch.ones(1, *shape, dtype=torch.float64, requires_grad=True) for shape in shapes)
    with PositiveMode():
        flow = _total(task.forward(ones))
    gradients = task.gradients(flow)
    return {name: (weight.detach() * gradients[name]).abs() for name, weight in task.weights.items()}


def _total(outputs: Any) -> Tensor:
    """Sum of all the tensors a model returns."""
    if isinstance(outputs, Tensor):
        return outputs.sum()
    if isinstance(outputs, dict):
        outputs = outputs.values()
    return sum(_total(output) for output in outputs if output is not None)
