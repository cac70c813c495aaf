"""SynFlow: iterative synaptic flow (Tanaka et al., NeurIPS 2020, arXiv 2006.05467)."""

from __future__ import annotations

import torch
from torch import Tensor

from ...training.predictions import tensors_of
from ..linearized_model import LinearizedOperations, linearize_parameters, ones_for, whole_numbers
from ..registry import PRUNERS
from ..task import Task
from ..weight_scoring import by_score

__all__ = ["synflow"]


@PRUNERS.register(
    "synflow", family="initial", stage="initial", paper="Tanaka et al. 2020", needs_data=False, needs_example=True
)
@by_score(allocation="global", rounds=100)
def synflow(task: Task) -> dict[str, Tensor]:
    """Flow through a weight, |theta * dR/dtheta|, R the summed response of the positive network to ones.

    R = 1^T (product of |theta_l|) 1 is the sum over all paths from input to output of the product of the absolute
    weights, so biases are zero, normalisations keep their scale alone, activations pass their (positive) input on,
    and gates and attention, which the paper does not treat, add what they multiply; see
    `topo.pruning.linearized_model`. Tokens are one-hot vectors, of which a table of embeddings is the first layer: the
    input of ones is every token at every position, and the table gives the sums of its columns, whatever the data.
    Public implementations keep |bias|, which no path from the input carries; this follows the paper. Everything is
    done in float64. Of what a model returns beside logits, the logits alone count.
    """
    linearize_parameters(task.model, task.weights)
    inputs = ones_for(task.example)
    with LinearizedOperations(*whole_numbers(inputs)):
        flow = torch.stack([tensor.sum() for tensor in tensors_of(task.forward(inputs))]).sum()
    gradients = task.gradients(flow)
    return {name: (weight.detach() * gradients[name]).abs() for name, weight in task.weights.items()}
