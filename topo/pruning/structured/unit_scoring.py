"""Structured algorithms: whole units are scored and the worst go, until those that remain fit the budget.

The last one to go may be large, so that the best of those that went which still fit come back."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from ...dag import trace
from ...dag.channel_coupling import CoupledChannels, coupled_channels
from ...dag.costs import BUDGETS
from ...dag.prunable import prunable_weights
from ...errors import InputError
from ...masks import Masks
from ...parameter_names import named_parameters
from ...training import Callback
from ...validation import one_of, whole_number
from ..results import all_zero
from ..schedules import exponential
from ..task import Task
from .refilling import allowance, refill, unit_kinds, warn_of_shortfall
from .unreachable import excluded, too_small

__all__ = [
    "SCOPES",
    "UnitScored",
    "along",
    "by_unit_score",
    "find_channels",
    "select_units",
    "train_units",
    "unit_masks",
    "unit_parameters",
]

SCOPES = ("global", "group")

UnitScore = Callable[..., Tensor]


class UnitScored:
    """A score of units as a pruning algorithm, which takes its settings and four more.

    Parameters
    ----------
    scope
        ``"global"`` ranks all units together; ``"group"`` prunes every group of coupled layers at the same rate.
    budget
        What `sparsity` is the removed share of: ``"weights"``, those that the patterns include or, with
        ``sparsity_of="all"``, those of all layers; ``"parameters"`` of the whole network, biases and norms too; or
        ``"macs"``, its multiply-accumulates for one sample. Layers left out by the patterns shrink with the units that
        they read.
    rounds
        Number of rounds, from 1 up; after round k of n the remaining share is (share)^(k/n), and the units that remain
        are scored again. An algorithm that trains the network for its score has one round and no such setting.
    floor
        The least number of units that every group keeps, from 1 up.
    """

    def __init__(self, score: UnitScore, scope: str, budget: str, rounds: int | None) -> None:
        functools.update_wrapper(self, score)
        self.unit_score = score
        own = {"scope": scope, "budget": budget, "rounds": rounds, "floor": 1}
        if rounds is None:
            del own["rounds"]
        self._defaults = own
        self.__signature__ = _signature(score, own)
        weight_scores: Any = functools.partial(self._weight_scores)
        functools.update_wrapper(weight_scores, score)
        weight_scores.__signature__ = _signature(score, {})
        self.score = weight_scores
        self._asks_alive = "alive" in inspect.signature(score).parameters

    def __repr__(self) -> str:
        return f"UnitScored({getattr(self.unit_score, '__name__', self.unit_score)})"

    def __call__(self, task: Task, **settings: Any) -> dict[str, Tensor]:
        own = {name: settings.pop(name, default) for name, default in self._defaults.items()}
        _check_settings(own["scope"], own["budget"], own["floor"])
        channels = find_channels(task)
        alive = torch.ones(channels.count, dtype=torch.bool)
        gone = torch.zeros(0, dtype=torch.int64)
        for share in exponential(1 - task.sparsity, whole_number("rounds", own.get("rounds", 1), minimum=1)):
            scores, before = self._scores(task, channels, alive, settings), alive
            alive = select_units(task, channels, scores, share, alive, own["scope"], own["budget"], own["floor"])
            task.clear(unit_masks(task, channels, alive))
            went = (before & ~alive).nonzero().flatten()
            gone = torch.cat([went[scores[went].argsort(descending=True, stable=True)], gone])
        cost = _cost_of(task, channels, own["budget"])
        full = cost(torch.ones_like(alive))
        allowed = allowance(1 - task.sparsity, full)
        if not task.keep_state:  # the weights of earlier rounds' units are zero in what was trained
            alive = refill(alive, gone, unit_kinds(channels), lambda staying: cost(staying) <= allowed)
        warn_of_shortfall(task.name, cost(alive), allowed, full, own["budget"])
        return unit_masks(task, channels, alive)

    def _scores(self, task: Task, channels: CoupledChannels, alive: Tensor, settings: dict[str, Any]) -> Tensor:
        scores = self.unit_score(task, channels, **settings, **({"alive": alive} if self._asks_alive else {}))
        return _checked(scores, channels, task.name)

    def _weight_scores(self, task: Task, **settings: Any) -> dict[str, Tensor]:
        """For `topo.pruning.score`: every weight has the score of the unit that it writes, infinity where it writes
        none that could go."""
        channels = find_channels(task)
        scores = self._scores(task, channels, torch.ones(channels.count, dtype=torch.bool), settings)
        return {
            name: along(channels, name, scores, "out", torch.inf).expand(weight.shape)
            for name, weight in named_parameters(task.model).items()
            if name in channels.layers
        }


def _signature(score: UnitScore, own: dict[str, Any]) -> inspect.Signature:
    """Of the task and the settings of a score, and `own` ones."""
    keyword = functools.partial(inspect.Parameter, kind=inspect.Parameter.KEYWORD_ONLY)
    signature = inspect.signature(score)
    task, *others = signature.parameters.values()
    settings = [parameter for parameter in others if parameter.kind is parameter.KEYWORD_ONLY]
    added = [keyword(name, default=value, annotation=type(value).__name__) for name, value in own.items()]
    return signature.replace(parameters=[task, *settings, *added])


def by_unit_score(
    *, scope: str = "global", budget: str = "weights", rounds: int | None = 1
) -> Callable[[UnitScore], UnitScored]:
    """Decorator that turns ``score(task, channels, *, ...settings) -> Tensor (channels.count,)`` into an algorithm.

    `channels` are the network's `topo.dag.CoupledChannels`. The larger its score, the more a unit deserves to stay; one
    of infinity stays. A score that must know which units earlier rounds have left takes them as a third argument
    ``alive``, bool (channels.count,).

    Parameters
    ----------
    scope, budget, rounds
        Defaults of the settings of `UnitScored`; ``rounds=None`` where the score trains the network.

    Returns
    -------
    callable
        A decorator that returns a `UnitScored`.
    """
    return lambda score: UnitScored(score, scope, budget, rounds)


def find_channels(task: Task, *, may_be_none: bool = False) -> CoupledChannels:
    """The units of the task's model.

    Parameters
    ----------
    task
        The model and an example of its inputs.
    may_be_none
        Whether a model without units is all right.

    Returns
    -------
    CoupledChannels
        The units that can be removed.

    Raises
    ------
    InputError
        When the model has none, or its input is unknown.
    """
    channels = coupled_channels(trace(task.model, task.example))
    if not channels.count and not may_be_none:
        others = "all its layers write to an output or to what meets an input or an output of the network"
        why = channels.held[0] if channels.held else others
        raise InputError(f"the model has no unit that could be removed: {why}.")
    return channels


def unit_masks(task: Task, channels: CoupledChannels, alive: Tensor) -> dict[str, Tensor]:
    """Masks of all prunable weights, whatever the patterns: a unit goes with all that reads it.

    Parameters
    ----------
    task
        The model.
    channels
        Its units.
    alive
        Units that stay, bool, (count,).

    Returns
    -------
    dict
        Parameter name -> bool mask in the parameter's shape.
    """
    return channels.masks(alive, weight_names(task, channels))


def weight_names(task: Task, channels: CoupledChannels) -> list[str]:
    """The weights that masks and budgets of structured pruning count.

    Parameters
    ----------
    task
        The model, and the weights that the patterns choose.
    channels
        Its units.

    Returns
    -------
    list
        Names of all weights that are pruned by default, whatever the patterns, and of those that these choose beside.
    """
    return list(dict.fromkeys([*prunable_weights(channels.dag).names, *task.weights]))


def select_units(
    task: Task,
    channels: CoupledChannels,
    scores: Tensor,
    share: float,
    alive: Tensor,
    scope: str = "global",
    budget: str = "weights",
    floor: int = 1,
) -> Tensor:
    """The units that stay, bool (count,): the fewest with the smallest scores go so that at most `share` remains.

    Of these, the last to go come back first as far as they fit. Units written by layers that the patterns exclude stay,
    and of every group the `floor` best.

    Parameters
    ----------
    task
        Its weights, which the patterns choose, and its name, for messages.
    channels
        The units of its model.
    scores
        One for each unit, (count,); an infinite one keeps its unit.
    share
        Of the budget that may remain, from 0 to 1.
    alive
        Units that earlier rounds have left, bool, (count,).
    scope
        ``"global"``, all units ranked together, or ``"group"``, every group on its own.
    budget
        What is counted: one of ``topo.dag.costs.BUDGETS``.
    floor
        The fewest units that a group keeps.

    Returns
    -------
    Tensor
        bool, (count,).

    Raises
    ------
    InputError
        When the budget cannot be met, a setting is unknown or a score is not a number.
    """
    _check_settings(scope, budget, floor)
    scores = _checked(scores, channels, task.name)
    groups = channels.groups()
    ascending = torch.where(alive, scores, -torch.inf).argsort(stable=True)
    by_group = ascending[groups[ascending].argsort(stable=True)]
    sizes = groups.bincount()
    rank = torch.empty(channels.count, dtype=torch.int64)
    rank[by_group] = torch.arange(channels.count) - (sizes.cumsum(0) - sizes).repeat_interleave(sizes)
    protected = (sizes[groups] - rank <= floor) | (scores == torch.inf) | excluded(task.weights, channels)
    if scope == "group":
        ascending = ((rank + 1) / sizes[groups]).argsort(stable=True)
    order = torch.cat([ascending[~alive[ascending]], ascending[alive[ascending] & ~protected[ascending]]])

    def remaining(removed: int) -> Tensor:
        staying = torch.ones(channels.count, dtype=torch.bool)
        staying[order[:removed]] = False
        return staying

    cost = _cost_of(task, channels, budget)
    allowed = allowance(share, cost(torch.ones(channels.count, dtype=torch.bool)))
    smallest = remaining(len(order))
    if cost(smallest) > allowed:
        raise too_small(task, channels, smallest, cost, allowed, scores, budget, floor)
    before = int((~alive).sum())
    low, high = before, len(order)
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if cost(remaining(middle)) <= allowed else (middle + 1, high)
    gone = order[before:low].flip(0)
    return refill(remaining(low), gone, unit_kinds(channels), lambda staying: cost(staying) <= allowed)


def _cost_of(task: Task, channels: CoupledChannels, budget: str) -> Callable[[Tensor], int]:
    """What is left of a budget with the units that stay."""
    names = task.counted or weight_names(task, channels)
    if budget == "weights":
        return lambda staying: sum(channels.kept(name, staying) for name in names)
    return lambda staying: channels.costs(staying)[budget]


def along(channels: CoupledChannels, name: str, values: Tensor, side: str = "both", fixed: float = 0.0) -> Tensor:
    """Values of units at the elements of a parameter that belong to them, to be broadcast against it.

    Parameters
    ----------
    channels
        The units of the model.
    name
        Name of the parameter.
    values
        One for each unit, (count,), on any device; gradients pass.
    side
        As in `CoupledChannels.sums`; where axes of both sides have units, their values add up.
    fixed
        For indices that belong to no unit.

    Returns
    -------
    Tensor
        As many axes as the parameter, of its size or 1.
    """
    padded = torch.cat([values, values.new_full((1,), fixed)])
    total = None
    shape = channels.dag.state[name].shape
    for axis, index in enumerate(channels.axes.get(name, ())):
        if (index >= 0).any() and (side == "both" or (side == "in") == channels.is_read_along(name, axis)):
            part = padded[index.to(values.device)].view([-1 if d == axis else 1 for d in range(len(shape))])
            total = part if total is None else total + part
    return padded[-1:].view([1] * len(shape)) if total is None else total


def unit_parameters(task: Task, channels: CoupledChannels) -> dict[str, nn.Parameter]:
    """The parameters of the copy that hold elements of units, by name; all may be differentiated.

    Parameters
    ----------
    task
        The copy of the model.
    channels
        Its units.

    Returns
    -------
    dict
        Name -> parameter.
    """
    parameters = {name: p for name, p in named_parameters(task.model).items() if name in channels.axes}
    for p in parameters.values():
        p.requires_grad_(True)
    return parameters


def train_units(task: Task, channels: CoupledChannels, alive: Tensor, callback: Callback) -> None:
    """Train the copy with a callback, the units that earlier rounds removed held at zero, and keep its weights.

    Parameters
    ----------
    task
        The copy of the model, changed in place.
    channels
        Its units.
    alive
        Units that stay, bool, (count,).
    callback
        What acts on the training, such as a penalty.
    """
    task.train(None if alive.all() else Masks(unit_masks(task, channels, alive)), callbacks=[callback])
    task.keep_state = True


def _check_settings(scope: str, budget: str, floor: int) -> None:
    one_of("scope", scope, SCOPES)
    one_of("budget", budget, BUDGETS)
    whole_number("floor", floor, minimum=1)


def _checked(scores: Any, channels: CoupledChannels, name: str) -> Tensor:
    """The scores of all units as float64 on the CPU; `InputError` when they are something else."""
    if not isinstance(scores, Tensor) or scores.shape != (channels.count,):
        described = f"a tensor of shape {tuple(scores.shape)}" if isinstance(scores, Tensor) else type(scores).__name__
        raise InputError(
            f"pruner {name!r} must score units by a tensor of shape ({channels.count},), one number each, not by "
            f"{described}."
        )
    scores = scores.detach().double().cpu()
    if scores.isnan().any() or (scores == -torch.inf).any():
        raise InputError(
            f"the scores that pruner {name!r} gives units are not all numbers; look for NaN in the weights or the data."
        )
    if not scores.any():
        raise all_zero(name, "every unit", channels.dag.state)
    return scores
