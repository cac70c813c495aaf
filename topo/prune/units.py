"""Structured algorithms: whole units are scored and the worst go, until what is left fits the budget."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from ..dag import trace
from ..dag.groups import Units, units
from ..errors import InputError, unknown_name
from ..masks import prunable_parameters
from .base import Task
from .samples import positive_count
from .schedules import exponential

__all__ = ["BUDGETS", "SCOPES", "UnitScored", "by_unit_score", "find_units", "select_units", "unit_masks"]

BUDGETS = ("weights", "parameters", "macs")
SCOPES = ("global", "group")

UnitScore = Callable[..., Tensor]


class UnitScored:
    """A score of units as a pruning algorithm, which takes its settings and five more.

    scope
        ``"global"`` ranks all units together; ``"group"`` prunes every group of coupled layers at the same rate.
    budget
        What `sparsity` is the removed share of: ``"weights"`` those that pruning may remove, ``"parameters"`` all,
        ``"macs"`` the multiply-accumulates of one sample.
    rounds
        Number of rounds; after round k of n the share left is (share)^(k/n), and what is left is scored again.
    floor
        The least number of units that every group keeps.
    input_shape
        Shape of one input, without the batch dimension; taken from the data where there are some.
    """

    def __init__(self, score: UnitScore, scope: str, budget: str, rounds: int) -> None:
        functools.update_wrapper(self, score)
        self.unit_score = score
        keyword = functools.partial(inspect.Parameter, kind=inspect.Parameter.KEYWORD_ONLY)
        own = {"scope": scope, "budget": budget, "rounds": rounds, "floor": 1, "input_shape": None}
        signature = inspect.signature(score)
        leading = [p for p in signature.parameters.values() if p.name != "found"]
        self.__signature__ = signature.replace(
            parameters=[*leading, *(keyword(name, default=value) for name, value in own.items())]
        )
        self._defaults = own

    def __call__(self, task: Task, **settings: Any) -> dict[str, Tensor]:
        own = {name: settings.pop(name, default) for name, default in self._defaults.items()}
        found = find_units(task, own["input_shape"])
        alive = torch.ones(found.count, dtype=torch.bool)
        for share in exponential(task.kept / task.total, positive_count("rounds", own["rounds"])):
            scores = self.unit_score(task, found, **settings)
            alive = select_units(task, found, scores, share, alive, own["scope"], own["budget"], own["floor"])
            masks = unit_masks(task, found, alive)
            parameters = dict(task.model.named_parameters())
            with torch.no_grad():
                for name, mask in masks.items():
                    parameters[name].masked_fill_(~mask.to(task.device), 0.0)
        return masks


def by_unit_score(
    *, scope: str = "global", budget: str = "weights", rounds: int = 1
) -> Callable[[UnitScore], UnitScored]:
    """Decorator that turns ``score(task, found, *, ...settings) -> Tensor (found.count,)`` into an algorithm.

    `found` are the `topo.dag.groups.Units`; the larger its score, the more a unit deserves to stay.
    """
    return lambda score: UnitScored(score, scope, budget, rounds)


def find_units(task: Task, input_shape: Sequence[int] | None = None) -> Units:
    """The units of the task's model; `InputError` when it has none, or no input shape is known."""
    if input_shape is None and task.samples is None:
        raise InputError(f"pruner {task.name!r} needs the shape of an input; give input_shape=(channels, ...) or data.")
    shapes = [tuple(input_shape)] if input_shape is not None else task.samples.input_shapes()
    dtype = next(iter(task.weights.values())).dtype
    example = tuple(torch.zeros(1, *shape, dtype=dtype, device=task.device) for shape in shapes)
    found = units(trace(task.model, example))
    if not found.count:
        raise InputError("the model has no unit that could be removed: all its layers write to an output.")
    return found


def unit_masks(task: Task, found: Units, alive: Tensor) -> dict[str, Tensor]:
    """Masks of all prunable weights, whatever the patterns: a unit goes with all that reads it."""
    return found.masks(alive, prunable_parameters(task.model))


def select_units(
    task: Task,
    found: Units,
    scores: Tensor,
    share: float,
    alive: Tensor,
    scope: str = "global",
    budget: str = "weights",
    floor: int = 1,
) -> Tensor:
    """The units that stay, bool (count,): the fewest with the smallest scores go so that at most `share` is left.

    Units written by layers that the patterns exclude stay, and of every group the `floor` best.

    Raises
    ------
    InputError
        When the budget cannot be met, a setting is unknown or a score is not a number.
    """
    if scope not in SCOPES:
        raise unknown_name("scope", scope, SCOPES)
    if budget not in BUDGETS:
        raise unknown_name("budget", budget, BUDGETS)
    scores = scores.detach().double().cpu()
    if scores.shape != (found.count,) or not scores.isfinite().all():
        raise InputError("the scores of the units are not all finite; look for NaN in the weights or the data.")
    groups = found.groups()
    ascending = torch.where(alive, scores, -torch.inf).argsort(stable=True)
    by_group = ascending[groups[ascending].argsort(stable=True)]
    sizes = groups.bincount()
    rank = torch.empty(found.count, dtype=torch.int64)
    rank[by_group] = torch.arange(found.count) - (sizes.cumsum(0) - sizes).repeat_interleave(sizes)
    protected = (sizes[groups] - rank <= positive_count("floor", floor)) | _excluded(task, found)
    if scope == "group":
        ascending = ((rank + 1) / sizes[groups]).argsort(stable=True)
    order = torch.cat([ascending[~alive[ascending]], ascending[alive[ascending] & ~protected[ascending]]])

    def left(removed: int) -> Tensor:
        staying = torch.ones(found.count, dtype=torch.bool)
        staying[order[:removed]] = False
        return staying

    allowed = share * found.costs(torch.ones(found.count, dtype=torch.bool))[budget]
    smallest = found.costs(left(len(order)))[budget]
    if smallest > allowed:
        raise InputError(
            f"pruner {task.name!r} cannot go down to {allowed:.0f} {budget}: with {floor} unit left in every group "
            f"there are {smallest}; lower the sparsity{'' if floor == 1 else ' or the floor'}."
        )
    low, high = int((~alive).sum()), len(order)
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if found.costs(left(middle))[budget] <= allowed else (middle + 1, high)
    return left(low)


def _excluded(task: Task, found: Units) -> Tensor:
    """Units written by layers whose weights the patterns leave out."""
    excluded = torch.zeros(found.count, dtype=torch.bool)
    for name, layers in found.layers.items():
        if name in found.axes and name not in task.weights:
            index = found.axes[name][layers[0].writes]
            excluded[index[index >= 0]] = True
    return excluded
