"""PHEW: paths with higher edge-weights (Patil & Dovrolis, ICML 2021, arXiv 2010.11354)."""

from __future__ import annotations

import torch
from torch import Tensor

from ...dag import trace
from ...errors import InputError
from ..allocation import keep_largest
from ..registry import PRUNERS
from ..task import Task
from .walks import WalkGraph

__all__ = ["phew"]


@PRUNERS.register(
    "phew", family="initial", stage="initial", paper="Patil & Dovrolis 2021", needs_data=False, needs_example=True
)
def phew(task: Task) -> dict[str, Tensor]:
    """Weights on biased random walks between inputs and outputs, a step along w with probability ~ |w|.

    Walks start in turn at an input and at an output, going round the input channels and the outputs; all weights they
    take are kept, until there are enough. In the last walk the first ones are. Through a convolution a step goes
    from channel to channel along one element of a kernel; at a fork, in front of a residual block or behind an
    addition or a concatenation, each branch is as likely; `topo.pruning.initial.walks` says the rest. The steps
    depend on the weights alone and not on what is kept already, so that walks are made many at a time.

    When walks hardly find a weight that is not kept yet (fewer than one walk in a hundred does: at low sparsities, or
    where no path leads), the largest absolute weights among the others are kept too.
    """
    sizes = [weight.numel() for weight in task.weights.values()]
    ends = torch.tensor([0, *sizes]).cumsum(0).tolist()
    graph = WalkGraph(trace(task.model, task.example), dict(zip(task.weights, ends, strict=False)))
    kept = torch.zeros(task.total, dtype=torch.bool)
    # As many at a time whatever is to be kept, so that what is kept of less lies within what is kept of more.
    pairs = min(max(task.total // 16, 2**11), 2**15)
    least = min(2 * pairs // 100, task.total // 1000)
    needed, started = task.kept, 0
    while needed > 0:
        starts = torch.arange(started, started + pairs)
        started += pairs
        runs = [graph.walk(starts, forward, task.generator) for forward in (True, False)]
        turns = torch.cat([2 * walks + backward for backward, (walks, _) in enumerate(runs)])
        weights = torch.cat([weights for _, weights in runs])
        new = _first_seen(weights[turns.argsort(stable=True)], kept)[:needed]
        kept[new] = True
        needed -= len(new)
        if len(new) <= least:
            break
    if needed == task.kept:
        raise InputError("no walk leads from an input to an output of the model along weights that may be pruned.")
    masks = {
        name: part.view(weight.shape)
        for (name, weight), part in zip(task.weights.items(), kept.split(sizes), strict=True)
    }
    if needed == 0:
        return masks
    others = {
        name: weight.detach().cpu().abs().masked_fill(masks[name], -torch.inf) for name, weight in task.weights.items()
    }
    return {name: masks[name] | more for name, more in keep_largest(others, needed).items()}


def _first_seen(weights: Tensor, kept: Tensor) -> Tensor:
    """The weights that are not kept yet, each where it comes first."""
    new = weights[~kept[weights]]
    numbers, inverse = new.unique(return_inverse=True)
    first = torch.full_like(numbers, len(new)).scatter_reduce_(0, inverse, torch.arange(len(new)), "amin")
    return new[first.sort().values]
