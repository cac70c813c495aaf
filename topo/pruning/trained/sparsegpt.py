"""SparseGPT: one-shot pruning with compensation, column by column (Frantar & Alistarh, ICML 2023, arXiv 2301.00774)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from ...errors import InputError, counted
from ...validation import whole_number
from ..allocation import ALLOCATIONS, keep_largest
from ..allocation import allocation as find_allocation
from ..input_statistics import rows_of_weights
from ..registry import PRUNERS
from ..task import Task
from ..weight_rows import Rows, as_matrix
from .layerwise import cholesky, layer_budgets, prune_layers

__all__ = ["in_blocks", "inverse_factor", "prune_columns", "sparsegpt"]

Choice = tuple[int, Callable[[Tensor], Tensor]]
"""Where a block of columns ends, and its mask from its scores (groups, rows, columns of the block)."""


@PRUNERS.register("sparsegpt", family="trained", stage="trained", paper="Frantar & Alistarh 2023", needs_data=True)
def sparsegpt(
    task: Task,
    *,
    pattern: str | None = None,
    allocation: str = "uniform",
    block: int = 128,
    damping: float = 0.01,
    samples: int = 128,
    sequential: bool = True,
) -> dict[str, Tensor]:
    """Error of removing a weight while the columns after it compensate, w^2 / U_jj^2 with H^-1 = U^T U.

    H = X^T X of the layer's inputs. Columns are settled from left to right: the error of pruning one is made up for
    by the columns to its right. Of every block of columns the weights with the smallest errors go, all rows together.
    The adjusted weights go with the masks.

    Parameters
    ----------
    pattern
        None, or a pattern such as ``"2:4"``: of every 4 consecutive inputs of an output 2 are kept, of a convolution of
        input channels at one place of the kernel. Inputs beyond the last whole 4 keep their share. It takes the place
        of `allocation`, and the sparsity must be that of the pattern.
    allocation
        How many weights each layer keeps: ``"uniform"``, as in the paper, ``"er"`` or ``"erk"``.
    block
        Number of columns for which the weights to remove are chosen at a time, from 1 up.
    damping
        Share of the mean of H's diagonal that is added to it, from 0 up.
    samples
        About how many samples are looked at, from 1 up, as many of each class; given batches, one of them is used.
    sequential
        True: the inputs of a layer are those that come out of the layers before it once they are pruned, as in the
        paper; False: those of the dense network.
    """
    whole_number("block", block, minimum=1)
    batch = task.samples.batch(whole_number("samples", samples, minimum=1))
    if pattern is None:
        counts = layer_budgets(task, allocation)
    elif pattern in ALLOCATIONS:
        raise InputError(f'pattern must be "n:m", such as "2:4", not {pattern!r}.')
    else:
        allocate = find_allocation(pattern, task.kept, task.total)
        found = rows_of_weights(task, batch)
        oriented = {name: as_matrix(w, found[name]) if name in found else w for name, w in task.weights.items()}
        counts = {name: int(mask.sum()) for name, mask in allocate(oriented, task.kept).items()}

    def solve(rows: Rows, weight: Tensor, hessian: Tensor, kept: int, allowed: Tensor) -> tuple[Tensor, Tensor]:
        name = rows.name
        order, choices = in_blocks(allowed, kept, block)
        if pattern is not None:
            order, choices = in_pattern(name, allowed, kept, block, pattern, rows.kernel)
        upper = inverse_factor(name, hessian[:, order][:, :, order])
        mask, adjusted = prune_columns(weight[..., order], upper, choices, allowed[..., order])
        back = order.argsort()
        return mask[..., back], adjusted[..., back]

    return prune_layers(task, solve, counts, damping=damping, samples=batch, sequential=sequential)


def prune_columns(
    weight: Tensor, upper: Tensor, choices: Sequence[Choice], allowed: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Mask of the weights that stay, and all weights after compensation.

    Parameters
    ----------
    weight
        Shape (groups, rows, columns).
    upper
        The factor U of H^-1 = U^T U, shape (groups, columns, columns). Row j of it, divided by U_jj, is row j of the
        inverse of H without the columns before j, which are settled, divided by its diagonal, which is U_jj^2.
    choices
        Blocks of columns from left to right: where each ends, and what finds its mask from the scores of its weights.
    allowed
        Which weights may stay, bool, (groups, rows, columns); by default all.

    Returns
    -------
    tuple
        The mask, bool, and the weights, both (groups, rows, columns).
    """
    weight, mask = weight.clone(), torch.ones_like(weight, dtype=torch.bool)
    scale = upper.diagonal(dim1=-2, dim2=-1)[:, None]
    start = 0
    for stop, choose in choices:
        scores = (weight[..., start:stop] / scale[..., start:stop]).square()
        if allowed is None:
            mask[..., start:stop] = choose(scores)
        else:
            of_block = allowed[..., start:stop]
            mask[..., start:stop] = choose(scores.masked_fill(~of_block, -1.0)) & of_block
        # A column at a time is read and written, so the columns of the block are laid one after the other.
        block, kept = weight[..., start:stop].mT.contiguous(), mask[..., start:stop].mT.contiguous()
        errors = torch.zeros_like(block)
        for i, j in enumerate(range(start, stop)):
            errors[:, i] = (block[:, i] / scale[..., j]).masked_fill(kept[:, i], 0.0)
            block[:, i:] -= upper[:, j, j:stop, None] * errors[:, None, i]
        weight[..., start:stop] = block.mT
        # In the columns to the right, which nothing reads before, the whole block is made up for at once.
        weight[..., stop:] -= errors.mT @ upper[:, start:stop, stop:]
        start = stop
    return mask, weight


def inverse_factor(name: str, hessian: Tensor) -> Tensor:
    """The upper triangular U of H^-1 = U^T U, which is the inverse of the V of H = V V^T.

    Parameters
    ----------
    name
        Name of the weight, for messages.
    hessian
        (groups, columns, columns).

    Returns
    -------
    Tensor
        (groups, columns, columns).
    """
    factor = cholesky(name, hessian.flip(-2, -1)).flip(-2, -1)
    unit = torch.eye(hessian.shape[-1], dtype=hessian.dtype, device=hessian.device)
    return torch.linalg.solve_triangular(factor, unit.expand_as(hessian), upper=True)


def in_blocks(allowed: Tensor, kept: int, block: int, first: int = 0) -> tuple[Tensor, list[Choice]]:
    """The order of the columns, which stays, and blocks from column `first` on that keep `kept` weights in all.

    Parameters
    ----------
    allowed
        Which weights may stay, bool, (groups, rows, columns); every block keeps the same share of these.
    kept
        How many weights the blocks keep.
    block
        Columns of a block; the last may have fewer.
    first
        Column at which the first block starts.

    Returns
    -------
    tuple
        Numbers of the columns, and for each block its end and how its mask is chosen.
    """
    columns = allowed.shape[-1]
    so_far = allowed[..., first:].sum(dim=(0, 1)).cumsum(0).tolist()
    choices: list[Choice] = []
    before = 0
    for start in range(first, columns, block):
        stop = min(start + block, columns)
        after = kept * so_far[stop - first - 1] // max(so_far[-1], 1)
        choices.append((stop, partial(_largest, count=after - before)))
        before = after
    return torch.arange(columns, device=allowed.device), choices


def in_pattern(
    name: str, allowed: Tensor, kept: int, block: int, pattern: str, kernel: int
) -> tuple[Tensor, list[Choice]]:
    """The order of the columns in which those that a pattern compares are neighbours, and the choices by pattern.

    The columns beyond the last full group come last.
    """
    n, m = map(int, pattern.split(":"))
    places = torch.arange(allowed.shape[-1], device=allowed.device).view(-1, kernel)
    full = len(places) - len(places) % m
    first = full * kernel
    rest = kept - allowed[..., :first].numel() // m * n
    if not 0 <= rest <= allowed[..., first:].numel():
        raise InputError(f"pattern {pattern!r} does not fit {counted(kept, 'weight')} of {name}; exclude it.")
    order = torch.cat([places[:full].T.flatten(), places[full:].flatten()])
    in_groups = allowed[..., order[:first]].unflatten(-1, (-1, m)) if first else allowed[..., :0, None]
    if not (in_groups.sum(-1) >= n).all():
        raise InputError(
            f"pattern {pattern!r} does not fit {name}, of which the masks within the model keep fewer than {n} of some "
            f"{counted(m, 'neighbour')}; take the masks off (remove of torch.nn.utils.prune) or exclude it."
        )
    choices: list[Choice] = [(stop, partial(_largest_of_rows, count=n)) for stop in range(m, first + 1, m)]
    return order, choices + in_blocks(allowed, rest, block, first)[1]


def _largest(scores: Tensor, count: int) -> Tensor:
    return keep_largest({"": scores}, count)[""]


def _largest_of_rows(scores: Tensor, count: int) -> Tensor:
    return torch.zeros_like(scores, dtype=torch.bool).scatter_(-1, scores.topk(count).indices, True)
