"""New masks of a model that holds masks already: what these prune stays pruned."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

__all__ = ["kept_within", "ranked_within"]


def kept_within(
    masks: Mapping[str, Tensor], within: Mapping[str, Tensor], refill: bool, generator: torch.Generator
) -> dict[str, Tensor]:
    """Masks that keep nothing but what other masks keep.

    Parameters
    ----------
    masks
        Name -> bool mask.
    within
        Name -> bool mask of what may be kept, for some of the names.
    refill
        Whether as many weights are kept as before: what a tensor loses, others of its weights that may be kept make up
        for, drawn at random, and where there are too few, those of other tensors.
    generator
        Source of the random choice, on the CPU.

    Returns
    -------
    dict
        Name -> bool mask on the CPU.

    Examples
    --------
    >>> masks = {"w": torch.tensor([True, True, False, False])}
    >>> allowed = {"w": torch.tensor([True, False, True, False])}
    >>> kept_within(masks, allowed, False, torch.Generator())["w"].tolist()
    [True, False, False, False]
    >>> kept_within(masks, allowed, True, torch.Generator())["w"].tolist()
    [True, False, True, False]
    """
    masks = {name: mask.cpu() for name, mask in masks.items()}
    if not within:
        return masks
    kept = {name: mask & within.get(name, mask) for name, mask in masks.items()}
    if not refill:
        return kept
    lacking = 0
    for name in within:
        if name in kept:
            missing = int(masks[name].sum() - kept[name].sum())
            free = (within[name] & ~kept[name]).flatten().nonzero().flatten()
            chosen = free[torch.randperm(len(free), generator=generator)[:missing]]
            kept[name].view(-1)[chosen] = True
            lacking += missing - len(chosen)
    if lacking:
        names = list(kept)
        sizes = [kept[name].numel() for name in names]
        free = torch.cat([(within.get(n, torch.ones_like(kept[n])) & ~kept[n]).flatten() for n in names])
        places = free.nonzero().flatten()
        places = places[torch.randperm(len(places), generator=generator)[:lacking]]
        added = torch.zeros(len(free), dtype=torch.bool)
        added[places] = True
        kept = {n: kept[n] | part.view_as(kept[n]) for n, part in zip(names, added.split(sizes), strict=True)}
    return kept


def ranked_within(scores: Mapping[str, Tensor], within: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Scores by which nothing that masks prune comes before what they keep.

    Parameters
    ----------
    scores
        Name -> scores, the larger the better kept.
    within
        Name -> bool mask of what may be kept, for some of the names.

    Returns
    -------
    dict
        Name -> scores, minus infinity where a mask prunes.

    Examples
    --------
    >>> ranked_within({"w": torch.tensor([-1.0, 0.0])}, {"w": torch.tensor([True, False])})["w"].tolist()
    [-1.0, -inf]
    """
    return {
        name: score.masked_fill(~within[name].to(score.device), -torch.inf) if name in within else score
        for name, score in scores.items()
    }
