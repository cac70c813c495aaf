"""Layer-wise optimal brain surgeon (Hassibi & Stork, NIPS 1992; Dong et al., NeurIPS 2017, arXiv 1705.07565)."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from ...validation import whole_number
from ..allocation import keep_largest
from ..registry import PRUNERS
from ..schedules import exponential
from ..task import Task
from ..weight_rows import Rows
from .layerwise import cholesky, layer_budgets, prune_layers

__all__ = ["inverse_diagonal", "obs", "optimum", "surgeon"]

CHUNK = 2**24
"""The most numbers in the matrices of rows that are solved at a time."""


@PRUNERS.register(
    "obs", family="trained", stage="trained", paper="Hassibi & Stork 1993, Dong et al. 2017", needs_data=True
)
def obs(
    task: Task,
    *,
    rounds: int = 1,
    allocation: str = "uniform",
    damping: float = 0.01,
    samples: int = 128,
    sequential: bool = True,
) -> dict[str, Tensor]:
    """Error of removing a weight with its row compensating, w^2 / (2 [H^-1]_qq), within each layer.

    The error is that of the layer's outputs X W^T, so that H = X^T X of its inputs, the same for every row of W. What
    is kept of a row is then the least-squares optimum for the dense row's outputs, which is what Hassibi's updates
    come to however many weights go. The adjusted weights go with the masks.

    Parameters
    ----------
    rounds
        Number of rounds, from 1 up. With one round, as in Dong et al., all errors are those of the dense rows. With
        more, the density falls exponentially and the errors are computed anew for the weights that remain; with so many
        that each removes one weight, this is Hassibi's algorithm. A round takes the inverse of a matrix for every row.
    allocation
        How many weights each layer keeps: ``"uniform"``, ``"er"`` or ``"erk"``.
    damping
        Share of the mean of H's diagonal that is added to it, from 0 up.
    samples
        About how many samples are looked at, from 1 up, as many of each class; given batches, one of them is used.
    sequential
        True: the inputs of a layer are those that come out of the layers before it once they are pruned; False: those
        of the dense network.
    """
    whole_number("rounds", rounds, minimum=1)

    def solve(rows: Rows, weight: Tensor, hessian: Tensor, kept: int, allowed: Tensor) -> tuple[Tensor, Tensor]:
        return surgeon(rows.name, weight, hessian, kept, rounds, allowed)

    counts = layer_budgets(task, allocation)
    batch = task.samples.batch(whole_number("samples", samples, minimum=1))
    return prune_layers(task, solve, counts, damping=damping, samples=batch, sequential=sequential)


def surgeon(
    name: str, weight: Tensor, hessian: Tensor, kept: int, rounds: int, allowed: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Mask of the `kept` weights (groups, rows, columns), and their values; H is (groups, columns, columns).

    Parameters
    ----------
    name
        Name of the weight, for messages.
    weight
        (groups, rows, columns).
    hessian
        (groups, columns, columns).
    kept
        How many weights stay.
    rounds
        In how many rounds they are removed, each of which scores anew what is left.
    allowed
        Which weights may stay, bool, (groups, rows, columns); by default all.

    Returns
    -------
    tuple
        Mask, bool, and weights, both (groups, rows, columns).
    """
    mask, adjusted = torch.ones_like(weight, dtype=torch.bool) if allowed is None else allowed, weight
    for density in exponential(kept / weight.numel(), rounds) if kept else [0.0]:
        scores = adjusted.square() / (2 * inverse_diagonal(name, hessian, mask))
        count = min(round(density * weight.numel()), int(mask.sum()))
        mask = keep_largest({"": scores.masked_fill(~mask, -torch.inf)}, count)[""]
        adjusted = optimum(name, weight, hessian, mask)
    return mask, adjusted


def inverse_diagonal(name: str, hessian: Tensor, mask: Tensor) -> Tensor:
    """Diagonal of the inverse of H restricted to what is kept of each row (groups, rows, columns); 1 elsewhere.

    Parameters
    ----------
    name
        Name of the weight, for messages.
    hessian
        (groups, columns, columns).
    mask
        What is kept, bool, (groups, rows, columns).

    Returns
    -------
    Tensor
        (groups, rows, columns).
    """
    if mask.all():
        inverse = torch.cholesky_inverse(cholesky(name, hessian))
        return inverse.diagonal(dim1=-2, dim2=-1)[:, None].expand(mask.shape)
    diagonal = torch.ones(mask.shape, dtype=hessian.dtype, device=mask.device)
    for group, row, columns, real, system in _systems(hessian, mask):
        inverse = torch.cholesky_inverse(cholesky(name, system)).diagonal(dim1=-2, dim2=-1)
        place = (group[:, None].expand_as(columns)[real], row[:, None].expand_as(columns)[real], columns[real])
        diagonal[place] = inverse[real]
    return diagonal


def optimum(name: str, weight: Tensor, hessian: Tensor, mask: Tensor) -> Tensor:
    """The kept weights v that minimise (v - w)^T H (v - w) in each row, the others being zero: H_KK v_K = (H w)_K.

    Parameters
    ----------
    name
        Name of the weight, for messages.
    weight
        w, (groups, rows, columns).
    hessian
        H, (groups, columns, columns).
    mask
        What is kept, bool, (groups, rows, columns).

    Returns
    -------
    Tensor
        v, (groups, rows, columns).
    """
    solution, target = torch.zeros_like(weight), weight @ hessian
    for group, row, columns, real, system in _systems(hessian, mask):
        right = target[group[:, None], row[:, None], columns].masked_fill(~real, 0.0)
        solved = torch.cholesky_solve(right[..., None], cholesky(name, system))[..., 0]
        place = (group[:, None].expand_as(columns)[real], row[:, None].expand_as(columns)[real], columns[real])
        solution[place] = solved[real]
    return solution


def _systems(hessian: Tensor, mask: Tensor) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor, Tensor]]:
    """H restricted to what is kept of each row, some rows at a time.

    Yields group and row (count,), the kept columns (count, most kept) and which of them are real, for rows that keep
    fewer are filled up with the identity, and the matrices (count, most kept, most kept).
    """
    flat = mask.flatten(0, 1)
    kept = flat.sum(1)
    order = kept.argsort(stable=True)  # rows of one size together, so that little is filled up
    order = order[kept[order] > 0]
    sizes = kept[order].tolist()
    start = 0
    while start < len(order):
        stop = start + 1
        while stop < len(order) and (stop + 1 - start) * sizes[stop] ** 2 <= CHUNK:
            stop += 1
        index, most = order[start:stop], sizes[stop - 1]
        columns = flat[index].byte().argsort(dim=1, descending=True, stable=True)[:, :most]
        real = torch.arange(most, device=mask.device) < kept[index, None]
        group = index // mask.shape[1]
        system = hessian[group[:, None, None], columns[:, :, None], columns[:, None, :]]
        system = system.masked_fill(~(real[:, :, None] & real[:, None, :]), 0.0)
        system += torch.diag_embed((~real).to(system.dtype))
        yield group, index % mask.shape[1], columns, real, system
        start = stop
