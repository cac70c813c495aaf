"""Scores of weights that look at the size of the inputs, layer after layer."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from ...validation import flag, whole_number
from ..allocation import keep_in_rows
from ..input_statistics import squares, visit_layers
from ..task import Task
from ..weight_rows import Rows, as_matrix, written_back

__all__ = ["activation_scores", "kept_in_rows"]

Combine = Callable[[Tensor, Tensor], Tensor]
"""From absolute weights (groups, rows, inputs, *kernel) and norms of their inputs (groups, 1, ...) to scores."""


def activation_scores(
    task: Task,
    combine: Combine,
    *,
    samples: int,
    sequential: bool,
    counts: Mapping[str, int] | None = None,
) -> dict[str, Tensor]:
    """Scores of all weights from their sizes and the norms of what they multiply.

    A row are the weights of one output, along whichever axis of the weight it lies; the task is told where they are.
    Afterwards the weights are what they were.

    Parameters
    ----------
    task
        The model, its weights and its data.
    combine
        The score: from sizes (groups, rows, inputs, *kernel) of the weights that the network computes with, and norms
        ||X_j|| over all samples and positions (groups, 1, inputs, *kernel).
    samples
        About how many samples are looked at, from 1 up, as many of each class; given batches, one of them is used.
    sequential
        Whether the inputs of a layer are those that come out of the layers before it once they are pruned.
    counts
        Name -> how many weights a layer keeps, for the layers after it; by default the same share of each.

    Returns
    -------
    dict
        Name -> float64 scores in the weight's shape.
    """
    density = task.kept / task.total
    scores, dense = {}, {}

    def visit(name: str, inputs: Mapping[Rows, Tensor]) -> None:
        weight = task.weights[name]
        scores[name] = torch.zeros_like(weight, dtype=torch.float64, requires_grad=False)
        for rows, squared in inputs.items():
            used = rows.view(weight) if rows.computed is None else rows.computed
            norms = squared.sqrt().view(rows.shape[0], 1, *rows.shape[2:])
            rows.write(scores[name], combine(used.abs(), norms))
        task.rows[name] = list(inputs)
        if sequential:
            dense[name] = weight.detach().clone()
            count = round(density * weight.numel()) if counts is None else counts[name]
            weight.masked_fill_(~kept_in_rows(task, name, scores[name], count), 0.0)

    flag("sequential", sequential)
    batch = task.samples.batch(whole_number("samples", samples, minimum=1))
    visit_layers(task, batch, visit, statistic=squares, sequential=sequential)
    with torch.no_grad():
        for name, weight in dense.items():
            task.weights[name].copy_(weight)
    return {name: scores[name] for name in task.weights}


def kept_in_rows(task: Task, name: str, scores: Tensor, count: int) -> Tensor:
    """Mask of the largest scores of a weight, as many of each of its rows, to within one.

    Parameters
    ----------
    task
        Which knows the rows.
    name
        Of the weight.
    scores
        In its shape.
    count
        How many to keep in all.

    Returns
    -------
    Tensor
        bool, in the shape of the weight.
    """
    matrix = as_matrix(scores, task.rows[name])
    return written_back(keep_in_rows(matrix.flatten(1), count).view(matrix.shape), task.rows[name], scores)
