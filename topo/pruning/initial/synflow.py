"""SynFlow: iterative synaptic flow (Tanaka et al., NeurIPS 2020, arXiv 2006.05467)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from ...training.predictions import logits_of
from ..linearized_model import LinearizedOperations, linearize_parameters
from ..registry import PRUNERS
from ..task import Task
from ..weight_scoring import by_score

__all__ = ["synflow"]


@PRUNERS.register("synflow", family="initial", stage="initial", paper="Tanaka et al. 2020", needs_data=False)
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
    inputs = pytree.tree_map_only(Tensor, _ones, task.example)
    tokens = [value for value in pytree.tree_leaves(inputs) if isinstance(value, Tensor) and not value.requires_grad]
    with LinearizedOperations(*tokens):
        output = task.forward(inputs)
        logits = logits_of(output)
        flow = _total(output) if logits is None else logits.sum()
    gradients = task.gradients(flow)
    return {name: (weight.detach() * gradients[name]).abs() for name, weight in task.weights.items()}


def _ones(value: Tensor) -> Tensor:
    """One sample of ones; of whole numbers, such as those of tokens, the first sample's own."""
    first = value[:1]
    return torch.ones_like(first).requires_grad_(True) if value.is_floating_point() else first


def _total(outputs: Any) -> Tensor:
    """Sum of all the tensors a model returns."""
    tensors = [leaf for leaf in pytree.tree_leaves(outputs) if isinstance(leaf, Tensor)]
    return sum((tensor.sum() for tensor in tensors), start=torch.zeros(()))
