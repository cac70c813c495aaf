"""Algorithms that only score weights: the largest scores are kept, at once or over rounds."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from ..errors import InputError
from ..parameter_names import named_parameters
from ..validation import whole_number
from .allocation import SHARES, Allocation
from .allocation import allocation as find_allocation
from .input_statistics import find_rows
from .masks_within import ranked_within
from .results import all_zero, checked_tensors
from .schedules import exponential
from .task import Task
from .weight_rows import as_matrix, written_back

__all__ = ["WeightScoring", "by_score", "check_scores", "in_double"]

WeightScore = Callable[..., Mapping[str, Tensor]]


class WeightScoring:
    """A score function as a pruning algorithm, which takes its settings and two more.

    Parameters
    ----------
    allocation
        Where the kept weights may lie: ``"global"`` ranks all weights together; ``"uniform"``, ``"er"`` and
        ``"erk"`` fix how many each tensor keeps; ``"row"`` keeps the same number of every output row, and ``"2:4"``
        two of every four inputs, see `topo.pruning.allocation`.
    rounds
        Number of rounds, from 1 up; after round k of n the density is density^(k/n), and the weights that remain are
        scored again.
    """

    def __init__(self, score: WeightScore, allocation: str, rounds: int) -> None:
        functools.update_wrapper(self, score)
        self.score = score
        self.allocation, self.rounds = allocation, rounds
        keyword = functools.partial(inspect.Parameter, kind=inspect.Parameter.KEYWORD_ONLY)
        own = [
            keyword("allocation", default=allocation, annotation="str"),
            keyword("rounds", default=rounds, annotation="int"),
        ]
        signature = inspect.signature(score)
        self.__signature__ = signature.replace(parameters=[*signature.parameters.values(), *own])

    def __repr__(self) -> str:
        return f"WeightScoring({getattr(self.score, '__name__', self.score)})"

    def __call__(
        self, task: Task, *, allocation: str | None = None, rounds: int | None = None, **settings: Any
    ) -> dict[str, Tensor]:
        """Masks of the largest scores."""
        allocation = self.allocation if allocation is None else allocation
        allocate = find_allocation(allocation, task.kept, task.total)
        rounds = self.rounds if rounds is None else whole_number("rounds", rounds, minimum=1)
        masks = {name: torch.ones_like(weight, dtype=torch.bool) for name, weight in task.weights.items()}
        for density in exponential(task.kept / task.total, rounds):
            scores = check_scores(self.score(task, **settings), task)
            if allocation != "global" and allocation not in SHARES:
                find_rows(task)
            with torch.no_grad():
                scores = {name: score.masked_fill(~masks[name], -torch.inf) for name, score in scores.items()}
                scores = ranked_within(scores, task.within)
                masks = _in_rows(task, allocate, scores, round(density * task.total))
            task.clear(masks)
        return masks


def _in_rows(task: Task, allocate: Allocation, scores: Mapping[str, Tensor], kept: int) -> dict[str, Tensor]:
    """Masks of scores whose weights have their outputs along the first axis, or where the task says."""
    matrices = {
        name: as_matrix(score, task.rows[name]) if name in task.rows else score for name, score in scores.items()
    }
    return {
        name: written_back(mask, task.rows[name], task.weights[name]) if name in task.rows else mask
        for name, mask in allocate(matrices, kept).items()
    }


def by_score(*, allocation: str = "global", rounds: int = 1) -> Callable[[WeightScore], WeightScoring]:
    """Decorator that turns a function ``score(task, *, ...settings) -> {name: scores}`` into an algorithm.

    The scores have the shapes of ``task.weights``; the larger, the more a weight deserves to stay.

    Parameters
    ----------
    allocation, rounds
        Defaults of the settings of `WeightScoring`.

    Returns
    -------
    callable
        A decorator that returns a `WeightScoring`.
    """
    return lambda score: WeightScoring(score, allocation, rounds)


def in_double(task: Task) -> None:
    """Turn the copy of the model that a task works on to float64.

    Parameters
    ----------
    task
        Its model is changed in place; its weights stay the same objects.
    """
    task.model.double()


def check_scores(scores: Any, task: Task) -> dict[str, Tensor]:
    """The scores of all weights of a task, in their order.

    Parameters
    ----------
    scores
        What the pruner returned.
    task
        Its weights, and the pruner's name, for messages.

    Returns
    -------
    dict
        Name -> scores in the weight's shape.

    Raises
    ------
    InputError
        When some are missing, have another shape or are not finite, or when all are zero.
    """
    checked = checked_tensors(scores, "score", task.name, task.weights)
    # One look at all of them: each waits for the device.
    facts = torch.stack([fact for s in checked.values() for fact in (s.isfinite().all(), s.any())])
    finite, nonzero = facts.view(-1, 2).T.tolist()
    bad = [name for name, is_finite in zip(checked, finite, strict=True) if not is_finite]
    if bad:
        raise InputError(
            f"the scores that pruner {task.name!r} gives {', '.join(bad[:5])} are not all finite; look for NaN in the "
            "weights or the data, or for a network whose outputs overflow."
        )
    if not any(nonzero):
        raise all_zero(task.name, "every weight", named_parameters(task.model))
    return checked
