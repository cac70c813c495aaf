"""What the algorithms share that prune one layer after the other and adjust what stays of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress

import torch
from torch import Tensor
from torch.nn.utils import parametrize

from ...datasets.inputs import Batch
from ...errors import InputError
from ...held_masks import PrunedWeights
from ...validation import flag, one_of, real_number
from ..allocation import SHARES, layer_counts
from ..input_statistics import visit_layers
from ..task import Task
from ..weight_rows import Rows

__all__ = ["cholesky", "damped", "layer_budgets", "prune_layers", "write_computed"]

Solve = Callable[[Rows, Tensor, Tensor, int, Tensor], tuple[Tensor, Tensor]]


def prune_layers(
    task: Task, solve: Solve, counts: Mapping[str, int], *, damping: float, samples: Batch, sequential: bool
) -> dict[str, Tensor]:
    """Masks by ``solve(rows, W, H, kept, allowed) -> (mask, new W)`` for every layer; the new weights go with them.

    W are the layer's `rows` as matrices (groups, rows, columns), H = X^T X + damping (groups, columns, columns) of its
    inputs, both in float64; `allowed`, bool, says which of W may stay, all unless the model has masks of its own;
    `counts` says how many weights each layer keeps. The settings are those of the algorithms. Where W is computed from
    a parameter, that is set such that the new W is computed from it.

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
        may_stay = task.within.get(name, torch.ones(weight.shape, dtype=torch.bool)).to(weight.device)
        room = max(1, int(may_stay.sum()))
        count = min(counts[name], int(may_stay.sum()))
        multiplied = weight.detach().clone()
        for rows in inputs:
            if rows.computed is not None:
                rows.write(multiplied, rows.computed)
        for rows, gram in inputs.items():
            matrix, allowed = rows.matrices(multiplied).double(), rows.matrices(may_stay)
            before, done = done, done + int(allowed.sum())
            kept = count * done // room - count * before // room
            # Weights of inputs that are always zero go first and make up for nothing.
            dead = (gram.diagonal(dim1=-2, dim2=-1) == 0)[:, None]
            dead = dead & ~dead.all(-1, keepdim=True)
            mask, adjusted = solve(rows, matrix.masked_fill(dead, 0.0), damped(name, gram, damping), kept, allowed)
            adjusted = torch.where(dead, matrix, adjusted).masked_fill(~mask, 0.0)
            rows.write(masks[name], mask)
            rows.write(multiplied, adjusted)
            if rows.computed is not None:
                rows.computed.copy_(adjusted.view(rows.shape))
        if any(rows.computed is not None for rows in inputs):
            write_computed(task, name, multiplied, masks[name])
        else:
            weight.detach().copy_(multiplied)

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
    return dict(zip(shapes, layer_counts(shapes, task.kept, SHARES[allocation], task.room), strict=True))


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
    if failed.any() and not matrix.isfinite().all():
        raise InputError(f"H of {name} is not all finite; look for NaN in the weights or the data.")
    if failed.any():
        raise InputError(
            f"H of {name} has no inverse, for the samples do not span its columns; raise damping or give more samples."
        )
    return factor


def write_computed(task: Task, name: str, value: Tensor, mask: Tensor) -> None:
    """Set the parameter behind a computed weight such that the model computes this value from it.

    That is possible where the weight is the parameter under a mask of `torch.nn.utils.prune`, and where a
    parametrisation has a right inverse (``torch.nn.utils.parametrize``).

    Parameters
    ----------
    task
        The model, changed in place.
    name
        Name of the weight.
    value
        What the inputs shall be multiplied by, in the parameter's shape.
    mask
        Which of it is kept, bool.

    Raises
    ------
    InputError
        When the parameter cannot be so set.
    """
    path, _, leaf = name.rpartition(".")
    module = task.model.get_submodule(path)
    computed: Tensor | None = None
    if parametrize.is_parametrized(module, leaf):
        with suppress(RuntimeError, NotImplementedError):
            setattr(module, leaf, value)
            PrunedWeights({name: mask}, task.model, strict=False).clear()
            computed = getattr(module, leaf).detach()
    elif name in task.within:
        task.weights[name].detach().copy_(value)
        computed = value * task.within[name].to(value.device)
    if computed is None or not torch.allclose(computed, value, rtol=1e-3, atol=1e-5 * float(value.abs().max())):
        raise InputError(
            f"{name} is not multiplied as it is but computed from parameters, and pruner {task.name!r} adjusts weights "
            "but finds none of which the adjusted one would be computed; make it a plain parameter first "
            "(remove_parametrizations of torch.nn.utils.parametrize, remove_weight_norm of torch.nn.utils), or exclude "
            "it."
        )
