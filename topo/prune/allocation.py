"""How many weights each tensor keeps, and which: global, uniform, ER and ERK, always exact counts.

An allocation takes the scores, the scores of pruned weights being -inf, and the number of weights to keep in all.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from ..errors import InputError

__all__ = ["ALLOCATIONS", "er_share", "erk_share", "keep_best", "keep_largest", "layer_counts", "uniform_share"]


def keep_largest(scores: Mapping[str, Tensor], kept: int) -> dict[str, Tensor]:
    """Masks of the `kept` largest scores of all tensors together; of equal scores the first ones are kept.

    Examples
    --------
    >>> masks = keep_largest({"a": torch.tensor([3.0, 1.0]), "b": torch.tensor([[2.0, 2.0]])}, 2)
    >>> masks["a"].tolist(), masks["b"].tolist()
    ([True, False], [[True, False]])
    """
    flat = torch.cat([score.flatten() for score in scores.values()])
    mask = torch.zeros(flat.shape, dtype=torch.bool, device=flat.device)
    if kept > 0:
        threshold = flat.kthvalue(flat.numel() - kept + 1).values
        mask = flat > threshold
        ties = (flat == threshold).nonzero().flatten()
        mask[ties[: kept - int(mask.sum())]] = True
    parts = mask.split([score.numel() for score in scores.values()])
    return {name: part.view(score.shape) for (name, score), part in zip(scores.items(), parts, strict=True)}


def keep_best(scores: Mapping[str, Tensor], counts: Sequence[int]) -> dict[str, Tensor]:
    """Masks of the largest scores of each tensor, `counts` of them."""
    return {
        name: keep_largest({name: score}, count)[name]
        for (name, score), count in zip(scores.items(), counts, strict=True)
    }


def uniform_share(shape: Sequence[int]) -> float:
    """The same density in every tensor."""
    return 1.0


def er_share(shape: Sequence[int]) -> float:
    """Erdos-Renyi: density ~ (n_in + n_out) / (n_in * n_out), a weight's first two dimensions (Mocanu et al. 2018)."""
    return sum(shape[:2]) / math.prod(shape[:2])


def erk_share(shape: Sequence[int]) -> float:
    """Erdos-Renyi-kernel: density ~ sum(shape) / prod(shape), kernel sizes included (Evci et al. 2020)."""
    return sum(shape) / math.prod(shape)


def layer_counts(shapes: Mapping[str, Sequence[int]], kept: int, share: Callable[[Sequence[int]], float]) -> list[int]:
    """How many weights each tensor keeps when its density is proportional to `share(shape)`.

    Solves sum_l min(max(epsilon * share_l * size_l, 1), size_l) = kept for epsilon: overfull tensors become dense
    and each keeps at least one weight. The sum is exact; the fractions are rounded by the largest remainder, so that
    each count is within one of its formula.

    Raises
    ------
    InputError
        When there are fewer weights to keep than tensors.

    Examples
    --------
    >>> layer_counts({"a": (10, 10), "b": (100, 100)}, 220, er_share)
    [20, 200]
    >>> layer_counts({"a": (2, 2), "b": (100, 100)}, 220, er_share)
    [4, 216]
    """
    if kept < len(shapes):
        raise InputError(
            f"{kept} weights cannot be spread over {len(shapes)} layers with at least one in each; lower the sparsity."
        )
    sizes = np.array([math.prod(shape) for shape in shapes.values()], dtype=float)
    rates = sizes * [share(shape) for shape in shapes.values()]
    # The sum is piecewise linear in epsilon and bends where a tensor leaves one weight or becomes full.
    bends = np.sort(np.concatenate([1.0 / rates, sizes / rates]))
    totals = np.clip(bends[:, None] * rates, 1.0, sizes).sum(axis=1)
    epsilon = np.interp(kept, totals, bends)
    ideal = np.clip(epsilon * rates, 1.0, sizes)
    # Solving leaves errors of the last digit, which must not move a whole number below itself.
    counts = np.floor(ideal + 1e-9)
    largest_first = np.argsort(-np.round(ideal - counts, 9), kind="stable")
    room = largest_first[counts[largest_first] < sizes[largest_first]]
    counts[room[: kept - int(counts.sum())]] += 1
    return counts.astype(int).tolist()


def _in_layers(share: Callable[[Sequence[int]], float]) -> Callable[[Mapping[str, Tensor], int], dict[str, Tensor]]:
    def allocate(scores: Mapping[str, Tensor], kept: int) -> dict[str, Tensor]:
        return keep_best(scores, layer_counts({name: score.shape for name, score in scores.items()}, kept, share))

    return allocate


ALLOCATIONS: dict[str, Callable[[Mapping[str, Tensor], int], dict[str, Tensor]]] = {
    "global": keep_largest,
    "uniform": _in_layers(uniform_share),
    "er": _in_layers(er_share),
    "erk": _in_layers(erk_share),
}
