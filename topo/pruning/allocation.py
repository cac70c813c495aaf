"""How many weights each tensor keeps, and which: global, by layer, by output row or N of every M, always exact counts.

An allocation takes the scores, the scores of pruned weights being -inf, and the number of weights to keep in all.
Of equal scores the first ones are kept. The first axis of a weight counts as its outputs, the second as its inputs;
`topo.prune` brings weights that are used otherwise, such as transposed ones, into this form first where data or an
example of the input let it see how they are used.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from ..errors import InputError, counted, unknown_name

__all__ = [
    "ALLOCATIONS",
    "SHARES",
    "Allocation",
    "allocation",
    "er_share",
    "erk_share",
    "keep_best",
    "keep_in_rows",
    "keep_largest",
    "largest_remainder",
    "layer_counts",
    "uniform_share",
]

Allocation = Callable[[Mapping[str, Tensor], int], dict[str, Tensor]]
"""From scores by name and how many weights to keep, to masks by name."""


def allocation(name: str, kept: int, total: int) -> Allocation:
    """The allocation of that name: one of `ALLOCATIONS`, or a pattern such as ``"2:4"``.

    A pattern N:M keeps N of every M consecutive inputs of an output; of a convolution, of consecutive input channels
    at one place of the kernel, which is how sparse tensor cores read it. Inputs left over at the end of a row, fewer
    than M, keep their proportional share. Over rounds, all but the last keep an equal share of every M.

    Parameters
    ----------
    name
        A key of `ALLOCATIONS`, or a pattern N:M.
    kept
        How many weights are to be kept in the end.
    total
        How many there are.

    Returns
    -------
    callable
        From scores by name and a number to keep, to masks by name.

    Raises
    ------
    InputError
        When the name is unknown, or `kept` of `total` weights do not fit the pattern.

    Examples
    --------
    >>> masks = allocation("2:4", 4, 8)({"w": torch.tensor([[5.0, 3.0, 4.0, 1.0, 1.0, 1.0, 0.0, 2.0]])}, 4)
    >>> masks["w"].int().tolist()
    [[1, 0, 1, 0, 1, 0, 0, 1]]
    """
    if name in ALLOCATIONS:
        return ALLOCATIONS[name]
    pattern = re.fullmatch(r"(\d+):(\d+)", str(name))
    if pattern is None:
        raise unknown_name("allocation", name, [*ALLOCATIONS, "2:4"])
    n, m = int(pattern[1]), int(pattern[2])
    if not 0 < n <= m:
        raise InputError(f"allocation {name!r} must keep between 1 and M of every M weights, such as '2:4'.")
    if abs(kept - total * n / m) > 0.5 + 1e-6:
        raise InputError(
            f"allocation {name!r} keeps {n} of every {counted(m, 'weight')}, and {kept} of {total} were to be kept; "
            f"give sparsity={1 - n / m!r} of the included weights."
        )
    return lambda scores, count: _keep_of_every(scores, count, n, m)


def keep_largest(scores: Mapping[str, Tensor], kept: int) -> dict[str, Tensor]:
    """Masks of the `kept` largest scores of all tensors together; of equal scores the first ones are kept.

    Parameters
    ----------
    scores
        Name -> scores, of any shapes.
    kept
        How many to keep, of all tensors together.

    Returns
    -------
    dict
        Name -> bool mask in the shape of its scores.

    Examples
    --------
    >>> masks = keep_largest({"a": torch.tensor([3.0, 1.0]), "b": torch.tensor([[2.0, 2.0]])}, 2)
    >>> masks["a"].tolist(), masks["b"].tolist()
    ([True, False], [[True, False]])
    """
    if kept == 0:
        return {name: torch.zeros_like(score, dtype=torch.bool) for name, score in scores.items()}
    threshold = _kth_largest(scores, kept)
    masks = {name: (score.to(threshold.dtype) >= threshold).contiguous() for name, score in scores.items()}
    surplus = torch.stack([mask.sum() for mask in masks.values()]).sum() - kept
    # Where a look at a number waits for a device, ties are sought without one.
    free = surplus.device.type == "cpu"
    for name, score in reversed(list(scores.items())):
        if free and not surplus:
            break
        tied = (score.to(threshold.dtype) == threshold).flatten()
        from_here = tied.flip(0).cumsum(0).flip(0)
        masks[name].view(-1).masked_fill_(tied & (from_here <= surplus), False)
        surplus = (surplus - tied.sum()).clamp(min=0)
    return masks


def _kth_largest(scores: Mapping[str, Tensor], k: int) -> Tensor:
    flat = torch.cat([score.detach().flatten() for score in scores.values()])
    place = flat.numel() - k
    if flat.device.type != "cpu" or flat.dtype == torch.bfloat16:
        return flat.kthvalue(place + 1).values
    # Selecting in place needs no memory but the copy above; torch's kthvalue takes three times as much.
    values = flat.numpy()
    values.partition(place)
    return flat[place]


def keep_best(scores: Mapping[str, Tensor], counts: Sequence[int]) -> dict[str, Tensor]:
    """Masks of the largest scores of each tensor, `counts` of them.

    Parameters
    ----------
    scores
        Name -> scores, of any shapes.
    counts
        How many each tensor keeps, in the order of `scores`.

    Returns
    -------
    dict
        Name -> bool mask in the shape of its scores.
    """
    return {
        name: keep_largest({name: score}, count)[name]
        for (name, score), count in zip(scores.items(), counts, strict=True)
    }


def keep_in_rows(score: Tensor, kept: int) -> Tensor:
    """Mask of the largest scores of each row of a matrix (rows, columns): the same number of each, to within one.

    The rows that keep one more are those whose next score is the largest.

    Parameters
    ----------
    score
        (rows, columns).
    kept
        How many to keep in all.

    Returns
    -------
    Tensor
        bool, (rows, columns).

    Examples
    --------
    >>> keep_in_rows(torch.tensor([[9.0, 8.0, 7.0], [1.0, 3.0, 2.0]]), 3).int().tolist()
    [[1, 1, 0], [0, 1, 0]]
    """
    rows, columns = score.shape
    each, more = divmod(kept, rows) if rows else (0, 0)
    mask = torch.zeros_like(score, dtype=torch.bool)
    if columns and kept:
        order = score.argsort(dim=1, descending=True, stable=True)
        mask.scatter_(1, order[:, :each], True)
        following = order[:, each : each + 1]
        chosen = keep_largest({"next": score.gather(1, following)}, more)["next"]
        mask.scatter_(1, following, chosen)
    return mask


def uniform_share(shape: Sequence[int]) -> float:
    """The same density in every tensor.

    Parameters
    ----------
    shape
        A weight's shape, which does not matter.

    Returns
    -------
    float
        1.
    """
    return 1.0


def er_share(shape: Sequence[int]) -> float:
    """Erdos-Renyi: density ~ (n_in + n_out) / (n_in * n_out), a weight's first two dimensions (Mocanu et al. 2018).

    Parameters
    ----------
    shape
        A weight's shape.

    Returns
    -------
    float
        The density up to a factor common to all weights.
    """
    return sum(shape[:2]) / math.prod(shape[:2])


def erk_share(shape: Sequence[int]) -> float:
    """Erdos-Renyi-kernel: density ~ sum(shape) / prod(shape), kernel sizes included (Evci et al. 2020).

    Parameters
    ----------
    shape
        A weight's shape.

    Returns
    -------
    float
        The density up to a factor common to all weights.
    """
    return sum(shape) / math.prod(shape)


def layer_counts(
    shapes: Mapping[str, Sequence[int]],
    kept: int,
    share: Callable[[Sequence[int]], float] | Sequence[float],
    room: Mapping[str, int] | None = None,
) -> list[int]:
    """How many weights each tensor keeps when its density is proportional to its share, such as `share(shape)`.

    Solves sum_l min(max(epsilon * share_l * size_l, 1), size_l) = kept for epsilon: overfull tensors become dense
    and each keeps at least one weight, if it has room for one. The sum is exact; the fractions are rounded by the
    largest remainder, so that each count is within one of its formula.

    Parameters
    ----------
    shapes
        Name -> shape of each weight.
    kept
        How many weights are kept in all.
    share
        From a shape to a density, up to a common factor: `uniform_share`, `er_share` or `erk_share`; or the densities
        themselves, one a tensor, up to a common factor.
    room
        Name -> the most that a tensor may keep; its size unless given.

    Returns
    -------
    list
        One number for each tensor, in the order of `shapes`.

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
    >>> layer_counts({"a": (10, 10), "b": (10, 10), "c": (10, 10)}, 30, uniform_share, {"a": 0, "b": 100, "c": 100})
    [0, 15, 15]
    """
    sizes = np.array([math.prod(shape) for shape in shapes.values()], dtype=float)
    most = sizes if room is None else np.array([room[name] for name in shapes], dtype=float)
    least = np.minimum(most, 1.0)
    if kept < least.sum():
        raise InputError(
            f"{counted(kept, 'weight')} cannot be spread over {counted(int(least.sum()), 'layer')} with at least one "
            "in each; lower the sparsity."
        )
    rates = sizes * ([share(shape) for shape in shapes.values()] if callable(share) else np.asarray(share))
    # The sum is piecewise linear in epsilon and bends where a tensor leaves one weight or becomes full.
    bends = np.sort(np.concatenate([least / rates, most / rates]))
    totals = np.clip(bends[:, None] * rates, least, most).sum(axis=1)
    epsilon = np.interp(kept, totals, bends)
    ideal = np.clip(epsilon * rates, least, most)
    return largest_remainder(ideal, most, kept).tolist()


def largest_remainder(ideal: np.ndarray, room: np.ndarray, total: int) -> np.ndarray:
    """Whole numbers that sum to `total`: those below the ideal ones, and one more for the largest remainders.

    Parameters
    ----------
    ideal
        Numbers from 0 up whose sum is `total`.
    room
        Whole numbers that the results must not exceed.
    total
        A whole number.

    Returns
    -------
    array
        int64, in the shape of `ideal`.

    Examples
    --------
    >>> largest_remainder(np.array([1.5, 2.7, 0.8]), np.array([9, 9, 9]), 5).tolist()
    [1, 3, 1]
    """
    # Solving leaves errors of the last digit, which must not move a whole number below itself.
    counts = np.floor(ideal + 1e-9)
    largest_first = np.argsort(-np.round(ideal - counts, 9), kind="stable")
    open_ones = largest_first[counts[largest_first] < room[largest_first]]
    counts[open_ones[: total - int(counts.sum())]] += 1
    return counts.astype(int)


def _in_layers(share: Callable[[Sequence[int]], float]) -> Allocation:
    def allocate(scores: Mapping[str, Tensor], kept: int) -> dict[str, Tensor]:
        shapes = {name: score.shape for name, score in scores.items()}
        return keep_best(scores, layer_counts(shapes, kept, share, _room(scores)))

    return allocate


def _room(scores: Mapping[str, Tensor]) -> dict[str, int]:
    """How many weights of each tensor are not pruned yet, of which one look tells."""
    counts = torch.stack([(score > -torch.inf).sum() for score in scores.values()]).tolist()
    return dict(zip(scores, counts, strict=True))


def _in_rows(scores: Mapping[str, Tensor], kept: int) -> dict[str, Tensor]:
    shapes = {name: score.shape for name, score in scores.items()}
    counts = layer_counts(shapes, kept, uniform_share, _room(scores))
    return {
        name: keep_in_rows(_rows(score).flatten(1), count).view(score.shape)
        for (name, score), count in zip(scores.items(), counts, strict=True)
    }


def _rows(score: Tensor) -> Tensor:
    """The scores with outputs on the first axis and inputs on the second; a vector is one row."""
    return score if score.ndim > 1 else score.view(1, -1)


def _keep_of_every(scores: Mapping[str, Tensor], kept: int, n: int, m: int) -> dict[str, Tensor]:
    parts: list[Tensor] = []
    for score in scores.values():
        inputs = _rows(score).movedim(1, -1)
        end = inputs.shape[-1] - inputs.shape[-1] % m
        parts += [inputs[..., :end].reshape(-1, m), inputs[..., end:].flatten(0, -2)]
    sizes = np.array([part.numel() for part in parts], dtype=float)
    density = kept / sizes.sum()
    # Before the last of several rounds more are kept than the pattern does.
    last = kept <= sizes.sum() * n / m + 0.5 + 1e-6
    counts = largest_remainder(sizes * n / m, sizes, kept) if last else np.ceil(sizes * density - 1e-9).astype(int)
    kept_parts = [keep_in_rows(part, int(count)) for part, count in zip(parts, counts, strict=True)]
    masks = {}
    for (name, score), groups, rest in zip(scores.items(), kept_parts[::2], kept_parts[1::2], strict=True):
        shape = _rows(score).movedim(1, -1).shape
        joined = torch.cat([groups.view(rest.shape[0], -1), rest], dim=1).view(shape)
        masks[name] = joined.movedim(-1, 1).reshape(score.shape)
    return masks


SHARES = {"uniform": uniform_share, "er": er_share, "erk": erk_share}

ALLOCATIONS: dict[str, Allocation] = {
    "global": keep_largest,
    **{name: _in_layers(share) for name, share in SHARES.items()},
    "row": _in_rows,
}
