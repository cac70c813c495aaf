"""What the algorithms share that prune one layer after the other and adjust what stays of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from ...datasets.inputs import Batch
from ...errors import InputError
from ...validation import flag, one_of, real_number
from ..allocation import SHARES, layer_counts
from ..input_statistics import visit_layers
from ..task import Task
from ..weight_rows import Rows

__all__ = ["cholesky", "damped", "layer_budgets", "prune_layers"]

Solve = Callable[[Rows, Tensor, Tensor, int], tuple[Tensor, Tensor]]


def prune_layers(
    task: Task, solve: Solve, counts: Mapping[str, int], *, damping: float, samples: Batch, sequential: bool
) -> dict[str, Tensor]:
    """Masks by ``solve(rows, W, H, kept) -> (mask, new W)`` for every layer; the new weights go with them.

    W are the layer's `rows` as matrices (groups, rows, columns), H = X^T X + damping (groups, columns, columns) of its
    inputs, both in float64; `counts` says how many weights each layer keeps. The settings are those of the algorithms.

    Parameters
    ----------
    task
        The model, changed in place, and its weights.
    solve
        The algorithm, for one layer.
    counts
        Name -> how many weights to keep.
    damping
        Share of the mean diagonal of H that is added to it.
    samples
        Those that H is made of.
    sequential
        Whether a layer sees inputs that earlier pruned layers have changed.

    Returns
    -------
    dict
        Name -> bool mask.

    Raises
    ------
    InputError
        When a setting is out of range, or a weight is computed from a parameter that cannot be adjusted in its place.
    """
    damping, sequential = real_number("damping", damping, minimum=0), flag("sequential", sequential)
    masks = {name: torch.zeros_like(weight, dtype=torch.bool) for name, weight in task.weights.items()}

    def visit(name: str, inputs: Mapping[Rows, Tensor]) -> None:
        weight, done = task.weights[name], 0
        for rows, gram in inputs.items():
            if rows.computed is not None:
                raise InputError(
                    f"{name} is not multiplied as it is but computed from parameters, as by weight normalisation or by "
                    f"a mask of torch's own pruning, and pruner {task.name!r} adjusts weights; make it a plain "
                    "parameter first (remove_parametrizations of torch.nn.utils.parametrize, remove of "
                    "torch.nn.utils.prune), or exclude it."
                )
            matrix = rows.matrices(weight).double()
            before, done = done, done + matrix.numel()
            kept = counts[name] * done // weight.numel() - counts[name] * before // weight.numel()
            # Weights of inputs that are always zero go first and make up for nothing.
            dead = (gram.diagonal(dim1=-2, dim2=-1) == 0)[:, None]
            dead = dead & ~dead.all(-1, keepdim=True)
            mask, adjusted = solve(rows, matrix.masked_fill(dead, 0.0), damped(name, gram, damping), kept)
            adjusted = torch.where(dead, matrix, adjusted)
            rows.write(masks[name], mask)
            rows.write(weight, adjusted.masked_fill(~mask, 0.0))

    visit_layers(task, samples, visit, sequential=sequential)
    task.keep_state = True
    return masks


def layer_budgets(task: Task, allocation: str) -> dict[str, int]:
    """How many weights each layer keeps, which must be known before any layer is scored.

    Parameters
    ----------
    task
        The weights, and how many to keep in all.
    allocation
        A key of `SHARES`.

    Returns
    -------
    dict
        Name -> how many weights to keep.
    """
    one_of("allocation", allocation, SHARES)
    shapes = {name: weight.shape for name, weight in task.weights.items()}
    return dict(zip(shapes, layer_counts(shapes, task.kept, SHARES[allocation]), strict=True))


def damped(name: str, gram: Tensor, share: float) -> Tensor:
    """The Gram matrices with a share of their mean diagonal added to it; of inputs that are all zero, the identity.

    Parameters
    ----------
    name
        Name of the weight, for the message.
    gram
        (groups, columns, columns).
    share
        What is added, relative to the mean of the diagonal.

    Returns
    -------
    Tensor
        (groups, columns, columns).

    Raises
    ------
    InputError
        When the inputs are not finite.
    """
    if not gram.isfinite().all():
        raise InputError(f"the inputs of {name} are not all finite; look for NaN in the weights or the data.")
    mean = gram.diagonal(dim1=-2, dim2=-1).mean(-1)
    extra = torch.where(mean > 0, share * mean, 1.0)
    return gram + torch.diag_embed(extra[:, None].expand(gram.shape[:2]))


def cholesky(name: str, matrix: Tensor) -> Tensor:
    """Lower factors of positive definite matrices.

    Parameters
    ----------
    name
        Name of the weight, for the message.
    matrix
        (..., columns, columns).

    Returns
    -------
    Tensor
        (..., columns, columns).

    Raises
    ------
    InputError
        When a matrix is not positive definite.
    """
    factor, failed = torch.linalg.cholesky_ex(matrix)
    if failed.any():
        raise InputError(
            f"the inputs of {name} do not span its columns, and H has no inverse; raise damping or give more samples."
        )
    return factor
