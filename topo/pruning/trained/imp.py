"""Iterative magnitude pruning with rewinding: lottery tickets (Frankle & Carbin, ICLR 2019, arXiv 1803.03635)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ...errors import InputError
from ...masks import Masks
from ...training import Callback, TrainingState
from ...validation import real_number
from ..allocation import allocation as find_allocation
from ..registry import PRUNERS
from ..task import Task

__all__ = ["imp", "round_counts"]


@PRUNERS.register(
    "imp",
    family="trained",
    stage="initial",
    paper="Frankle & Carbin 2019, Frankle et al. 2020",
    needs_data=True,
    trains=True,
)
def imp(task: Task, *, rate: float = 0.2, rewind: float = 0, allocation: str = "global") -> dict[str, Tensor]:
    """Absolute value of the trained weights, a fifth of them a round, each from the same early weights.

    A round trains the network by the recipe, prunes the smallest of the remaining weights, and rewinds those kept,
    and all other parameters and buffers, to what they were at the rewinding point (Frankle et al., ICML 2020,
    arXiv 1912.05671). The masks come with the weights of that point, so that training goes on from there: this is the
    ticket. Every training takes the whole recipe, its schedule from the start; the paper takes what is left of it
    after the rewinding point.

    Parameters
    ----------
    rate
        Share of the remaining weights that a round prunes, above 0 and below 1; the last round prunes fewer, to end at
        the exact count.
    rewind
        The rewinding point: 0 for the initial weights, a number below 1 for a share of the training, one from 1 on for
        a number of epochs.
    allocation
        ``"global"`` ranks all weights together, as in the paper for deep networks; ``"uniform"`` gives each layer the
        same density, as for small ones; others see `topo.pruning.allocation`.
    """
    rate = real_number("rate", rate, above=0, below=1)
    rewind = real_number("rewind", rewind, minimum=0)
    if task.recipe is not None and rewind > task.recipe.epochs:
        raise InputError(f"rewind ({rewind:g} epochs) lies after the end of the training ({task.recipe.epochs}).")
    allocate = find_allocation(allocation, task.kept, task.total)
    allocate(task.weights, task.kept)  # refuses a count out of reach before any training
    point = _Point(rewind)
    point.keep(task.model)
    masks = {name: torch.ones_like(weight, dtype=torch.bool) for name, weight in task.weights.items()}
    for number, count in enumerate(round_counts(task.total, task.kept, rate)):
        task.train(Masks(masks), callbacks=[] if number else [point])
        magnitudes = {name: m.masked_fill(~masks[name], -torch.inf) for name, m in task.magnitudes.items()}
        masks = allocate(magnitudes, count)
        task.model.load_state_dict(point.values)
    task.keep_state = True
    return masks


def round_counts(total: int, kept: int, rate: float) -> list[int]:
    """How many weights remain after each round.

    Parameters
    ----------
    total
        How many weights there are.
    kept
        How many remain after the last round.
    rate
        Share of the remaining weights that each round removes, between 0 and 1.

    Returns
    -------
    list
        One number for each round, the last of them `kept`.

    Examples
    --------
    >>> round_counts(1000, 500, 0.2)
    [800, 640, 512, 500]
    """
    rounds = max(1, math.ceil(math.log(kept / total) / math.log(1 - rate) - 1e-9))
    return [round(total * (1 - rate) ** k) for k in range(1, rounds)] + [kept]


class _Point(Callback):
    """Keeps what the model holds at the rewinding point."""

    def __init__(self, rewind: float) -> None:
        self.rewind = rewind

    def keep(self, model: torch.nn.Module) -> None:
        self.values = {name: value.detach().clone() for name, value in model.state_dict().items()}

    def on_step_end(self, state: TrainingState) -> None:
        span = state.total_steps if self.rewind < 1 else state.steps_per_epoch
        if self.rewind and state.step == max(1, round(self.rewind * span)):
            self.keep(state.model)
