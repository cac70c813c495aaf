"""What keeps structured pruning from a budget: which layers hold the rest, and which setting frees them."""

from __future__ import annotations

from collections.abc import Callable, Collection

import torch
from torch import Tensor

from ...dag.channel_coupling import CoupledChannels
from ...errors import InputError
from ..task import Task

__all__ = ["excluded", "too_small"]


def excluded(weights: Collection[str], channels: CoupledChannels) -> Tensor:
    """Units written by layers, or held by tables, whose weights are not among those to be pruned, bool (count,).

    Parameters
    ----------
    weights
        Names of the weights that may be pruned.
    channels
        The units of the model.

    Returns
    -------
    Tensor
        bool, (count,).
    """
    out = torch.zeros(channels.count, dtype=torch.bool)
    for name, axes in channels.axes.items():
        if name in weights:
            continue
        written = {layer.writes for layer in channels.layers.get(name, ())}
        for axis in written | ({1} if name in channels.tables else set()):
            out[axes[axis][axes[axis] >= 0]] = True
    return out


def too_small(
    task: Task,
    channels: CoupledChannels,
    smallest: Tensor,
    cost: Callable[[Tensor], int],
    allowed: float,
    scores: Tensor,
    budget: str,
    floor: int,
) -> InputError:
    """The error of a budget that is out of reach, with the layers that hold the rest and what would free them.

    Parameters
    ----------
    task
        Its weights, which the patterns choose, and its name.
    channels
        The units of its model.
    smallest
        The units that stay whatever is asked, bool (count,).
    cost
        What is left of the budget with the units that stay.
    allowed
        What may be left.
    scores
        One for each unit; an infinite one keeps its unit.
    budget
        What is counted.
    floor
        The fewest units that a group keeps.

    Returns
    -------
    InputError
        To be raised by the caller.
    """
    left = cost(smallest)
    reachable = 1 - left / cost(torch.ones_like(smallest))
    ask = [f"lower the sparsity to at most {int(1000 * reachable) / 1000:g}"] if reachable >= 0.001 else []
    every = f"with every unit gone that may go {left} remain{_holders(task, channels, smallest, budget)}"
    advice = [*ask, *_settings(task, channels, scores, floor)] or ["use a pruner that removes single weights"]
    return InputError(f"pruner {task.name!r} cannot go down to {allowed:.0f} {budget}: {every}; {' or '.join(advice)}.")


def _holders(task: Task, channels: CoupledChannels, smallest: Tensor, budget: str) -> str:
    """The layers that hold most of the rest, and why no more of them can go."""
    costs = channels.element_costs(budget)
    counted = task.counted if budget == "weights" and task.counted else costs
    rest = {name: each * channels.kept(name, smallest) for name, each in costs.items() if name in counted}
    most = sorted(rest, key=lambda name: -rest[name])[:3]
    groups = channels.groups()
    alone = groups.bincount()[groups] == 1
    reasons = list(channels.held[:1])
    if any(_units_of(channels, name, alone) for name in most):
        reasons.append("channels that a norm or a sum holds together go only all at once")
    if any(name not in channels.axes for name in most):
        reasons.append("what an input or an output of the network is made of stays")
    named = ", ".join(f"{name!r} ({rest[name]:.0f})" for name in most)
    return f", most of them in {named}{f', for {reasons[0]}' if reasons else ''}"


def _units_of(channels: CoupledChannels, name: str, units: Tensor) -> bool:
    return any(bool(units[axis[axis >= 0]].any()) for axis in channels.axes.get(name, ()))


def _settings(task: Task, channels: CoupledChannels, scores: Tensor, floor: int) -> list[str]:
    """The settings that keep units which could go."""
    kept = excluded(task.weights, channels)
    settings = [f"lower the floor of {floor}"] if floor > 1 else []
    if kept.any():
        held = [name for name in channels.layers if name not in task.weights and name in channels.axes]
        held += [name for name in sorted(channels.tables) if name not in task.weights]
        held = list(dict.fromkeys(held))  # a table may be tied to a layer
        settings.append(
            f"leave fewer layers out than {', '.join(map(repr, held[:3]))}{' and more' if held[3:] else ''}"
        )
    if (scores == torch.inf).any():
        settings.append("use a pruner that scores the units which this one leaves alone")
    return settings
