"""Wanda: pruning by weights and activations (Sun et al., ICLR 2024, arXiv 2306.11695)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from ...validation import flag, whole_number
from ..allocation import ALLOCATIONS
from ..input_statistics import squares, visit_layers
from ..registry import PRUNERS
from ..task import Task
from ..weight_rows import Rows, as_matrix, written_back
from ..weight_scoring import by_score

__all__ = ["wanda"]


@PRUNERS.register("wanda", family="trained", stage="trained", paper="Sun et al. 2024", needs_data=True)
@by_score(allocation="row")
def wanda(task: Task, *, samples: int = 128, sequential: bool = True) -> dict[str, Tensor]:
    """Magnitude times the norm of its input, |W_ij| * ||X_j||_2, compared within each output row.

    X holds the inputs of the layer over all samples and positions; those of a convolution are unfolded, so that j is
    a channel and a place in the kernel. A row are the weights of one output, along whichever axis of the weight it
    lies; of weights that are computed from a parameter, as by weight normalisation, W are the computed ones.

    Parameters
    ----------
    samples
        About how many samples are looked at, from 1 up, as many of each class; given batches, the first one is used.
    sequential
        True: the inputs of a layer are those that come out of the layers before it once they are pruned, as in the
        paper; False: those of the dense network.
    """
    density = task.kept / task.total
    scores, dense = {}, {}

    def visit(name: str, inputs: Mapping[Rows, Tensor]) -> None:
        weight = task.weights[name]
        scores[name] = torch.zeros_like(weight, dtype=torch.float64, requires_grad=False)
        for rows, squared in inputs.items():
            used = rows.view(weight) if rows.computed is None else rows.computed
            norms = squared.sqrt().view(rows.shape[0], 1, *rows.shape[2:])
            rows.write(scores[name], used.abs() * norms)
        task.rows[name] = list(inputs)
        if sequential:
            dense[name] = weight.detach().clone()
            matrix = as_matrix(scores[name], task.rows[name])
            kept = ALLOCATIONS["row"]({name: matrix}, round(density * weight.numel()))[name]
            weight.masked_fill_(~written_back(kept, task.rows[name], weight), 0.0)

    flag("sequential", sequential)
    batch = task.samples.batch(whole_number("samples", samples, minimum=1))
    visit_layers(task, batch, visit, statistic=squares, sequential=sequential)
    with torch.no_grad():
        for name, weight in dense.items():
            task.weights[name].copy_(weight)
    return {name: scores[name] for name in task.weights}
