"""What the algorithms of dynamic sparse training share: when to change the topology, exact counts, clean momentum."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, InitVar, dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from ...errors import InputError, counted
from ...training import TrainingState
from ...validation import one_of, share, whole_number
from ..allocation import SHARES, largest_remainder
from ..initial.random import random_masks
from ..sparse_training import SparseTrainingCallback
from ..task import Task

__all__ = ["TopologyUpdater", "gradient", "largest", "spread"]

ANNEALING = ("cosine", "constant")


@dataclass(eq=False)
class TopologyUpdater(SparseTrainingCallback):
    """Drops kept weights and grows as many pruned ones, every so many steps of training.

    An update takes the place of the optimizer's step, as in RigL: it sees the gradients of the batch, those of
    pruned weights too, and then discards them. Grown weights start at zero, and what the optimizer remembers of grown
    and of dropped weights is set to zero. A weight that is dropped and grown in one update keeps its value and its
    memory: it has never left the network. The count of kept weights is the target's after every update.

    A subclass is a dataclass too: its fields are its own settings and the defaults that differ here. It overrides
    `drop` and `grow`, whose scores decide within a layer, `quota` for how many weights a layer loses, and `shares` for
    how many each layer gains.

    Parameters
    ----------
    task
        What the call of `topo.prune` gives an algorithm to work on.
    initial
        How the random masks at the start spread the kept weights over the layers: ``"erk"``, ``"er"`` or
        ``"uniform"``.
    interval
        Optimizer steps between two updates, from 1 up; when None, the length of an epoch, or what the paper gives
        where that is shorter.
    drop_fraction
        Share of a layer's kept weights that the first update drops, from 0 to 1.
    annealing
        ``"cosine"``: the share falls along half a cosine to zero at the last update; ``"constant"``: it stays.
    stop
        Share of the steps of training, from 0 to 1, after which the topology stays as it is.
    """

    task: InitVar[Task]
    _: KW_ONLY
    initial: str = "erk"
    interval: int | None = None
    drop_fraction: float = 0.3
    annealing: str = "cosine"
    stop: float = 0.75

    longest_interval: ClassVar[int | None] = None
    """The interval unless one is given, where an epoch is not shorter; None: an epoch."""

    def __post_init__(self, task: Task) -> None:
        super().__init__(task)
        one_of("initial", self.initial, SHARES)
        one_of("annealing", self.annealing, ANNEALING)
        if self.interval is not None:
            self.interval = whole_number("interval", self.interval, minimum=1)
        self.drop_fraction = share("drop_fraction", self.drop_fraction)
        self.stop = share("stop", self.stop)
        self.masks = random_masks(task, SHARES[self.initial])

    # ---- when

    def on_start(self, state: TrainingState) -> None:
        usual = min(self.longest_interval or state.steps_per_epoch, state.steps_per_epoch)
        self.every = self.interval or usual

    def on_gradients(self, state: TrainingState) -> None:
        if state.step and state.step % self.every == 0 and state.step < self.last_step(state):
            self.update(state)

    def last_step(self, state: TrainingState) -> float:
        """The topology changes before this step only.

        Parameters
        ----------
        state
            The training run.

        Returns
        -------
        float
            A number of steps.
        """
        return self.stop * state.total_steps

    def is_last(self, state: TrainingState) -> bool:
        """Whether no update follows the one of this step.

        Parameters
        ----------
        state
            The training run.

        Returns
        -------
        bool
            Whether this is the last update.
        """
        return state.step + self.every >= self.last_step(state)

    def fraction(self, state: TrainingState) -> float:
        """Share of the kept weights to drop now.

        Parameters
        ----------
        state
            The training run.

        Returns
        -------
        float
            From 0 to 1.
        """
        if self.annealing == "constant":
            return self.drop_fraction
        return self.drop_fraction / 2 * (1 + math.cos(math.pi * state.step / self.last_step(state)))

    # ---- what

    def drop(self, name: str, weight: Tensor, mask: Tensor) -> Tensor:
        """Scores of a layer's kept weights, of which the smallest are dropped; magnitudes unless overridden.

        Parameters
        ----------
        name
            Name of the weight.
        weight
            The parameter.
        mask
            Its mask, bool.

        Returns
        -------
        Tensor
            In the weight's shape.
        """
        return weight.detach().abs()

    def grow(self, name: str, weight: Tensor, mask: Tensor) -> Tensor:
        """Scores of a layer's pruned weights (`mask` holds the survivors), the largest of which are grown.

        Random unless overridden.

        Parameters
        ----------
        name
            Name of the weight.
        weight
            The parameter.
        mask
            What survives the drop, bool.

        Returns
        -------
        Tensor
            In the weight's shape.
        """
        return self.uniform(weight)

    def quota(self, name: str, mask: Tensor, fraction: float) -> int:
        """How many weights a layer drops.

        Parameters
        ----------
        name
            Name of the weight.
        mask
            Its mask, bool.
        fraction
            Share to drop.

        Returns
        -------
        int
            At most as many as are kept.
        """
        return int(fraction * int(mask.sum()))

    def shares(self, before: Mapping[str, Tensor], surviving: Mapping[str, Tensor]) -> list[float] | None:
        """In what proportion the layers grow the weights that all have dropped; None: each grows what it dropped.

        `before` and `surviving` are the masks before and after the drop.

        Parameters
        ----------
        before, surviving
            Masks by name, before and after the drop.

        Returns
        -------
        list or None
            One number for each layer.
        """

    def gains(
        self, state: TrainingState, before: Mapping[str, Tensor], surviving: Mapping[str, Tensor]
    ) -> dict[str, int]:
        """How many weights each layer grows; in all as many as were dropped.

        Parameters
        ----------
        state
            The training run.
        before, surviving
            Masks by name, before and after the drop.

        Returns
        -------
        dict
            Name -> how many.
        """
        counts = [int(before[name].sum()) - int(surviving[name].sum()) for name in self.names]
        shares = self.shares(before, surviving)
        if shares is not None:
            counts = spread(sum(counts), shares, [int((~surviving[name]).sum()) for name in self.names])
        return dict(zip(self.names, counts, strict=True))

    # ---- how

    def update(self, state: TrainingState) -> None:
        """Drop, grow and put the new masks in force; then leave the optimizer nothing to do in this step.

        Parameters
        ----------
        state
            The training run.
        """
        weights = self.weights(state)
        held = self.held(state)
        before = {name: held[name].to(weights[name].device) for name in self.names}
        surviving = self.dropped(weights, before, self.fraction(state))
        after = self.grown(weights, surviving, self.gains(state, before, surviving))
        self.install(state, before, after)
        state.optimizer.zero_grad(set_to_none=True)

    def dropped(
        self, weights: Mapping[str, nn.Parameter], masks: Mapping[str, Tensor], fraction: float
    ) -> dict[str, Tensor]:
        """The masks without the weights that are dropped.

        Parameters
        ----------
        weights
            Parameters by name.
        masks
            Masks by name.
        fraction
            Share to drop.

        Returns
        -------
        dict
            Masks by name.
        """
        surviving = {}
        for name, mask in masks.items():
            keep = int(mask.sum()) - self.quota(name, mask, fraction)
            surviving[name] = largest(self.drop(name, weights[name], mask), mask, keep)
        return surviving

    def grown(
        self, weights: Mapping[str, nn.Parameter], surviving: Mapping[str, Tensor], counts: Mapping[str, int]
    ) -> dict[str, Tensor]:
        """The masks with `counts` pruned weights of each layer grown.

        Parameters
        ----------
        weights
            Parameters by name.
        surviving
            Masks by name, after the drop.
        counts
            How many weights each layer grows.

        Returns
        -------
        dict
            Masks by name.
        """
        after = {}
        for name, mask in surviving.items():
            if counts[name]:
                mask = mask | largest(self.grow(name, weights[name], mask), ~mask, counts[name])
            after[name] = mask
        return after

    def install(self, state: TrainingState, before: Mapping[str, Tensor], after: Mapping[str, Tensor]) -> None:
        """Put masks in force; the optimizer forgets the weights that came or went.

        Parameters
        ----------
        state
            The training run.
        before, after
            Masks by name, before and after the update.
        """
        self.change(state, after)
        for name, weight in self.weights(state).items():
            moved = before[name] ^ after[name]
            for value in state.optimizer.state.get(weight, {}).values():
                if isinstance(value, Tensor) and value.shape == weight.shape:
                    value.masked_fill_(moved.to(value.device), 0.0)

    def uniform(self, weight: Tensor) -> Tensor:
        """Random numbers in [0, 1) of a weight's shape and on its device.

        Parameters
        ----------
        weight
            A parameter.

        Returns
        -------
        Tensor
            In its shape.
        """
        return torch.rand(weight.shape, generator=self.generator).to(weight.device)


def largest(scores: Tensor, among: Tensor, count: int) -> Tensor:
    """Mask of the `count` largest scores among some weights, to the weight, even where scores are not numbers.

    Parameters
    ----------
    scores
        Of any shape; what is not a number counts as 0.
    among
        bool, in the same shape: the weights to choose from.
    count
        How many; no more than `among` has.

    Returns
    -------
    Tensor
        bool, in the same shape.

    Examples
    --------
    >>> largest(torch.tensor([5.0, 3.0, 4.0]), torch.tensor([False, True, True]), 1).tolist()
    [False, False, True]
    """
    scores = scores.detach().nan_to_num(nan=0.0).masked_fill(~among, -torch.inf).flatten()
    chosen = torch.zeros(scores.shape, dtype=torch.bool, device=scores.device)
    chosen[scores.topk(count, sorted=False).indices] = True
    return chosen.view(among.shape)


def gradient(weight: Tensor) -> Tensor:
    """The gradient by a weight, zero where the loss does not depend on it.

    Parameters
    ----------
    weight
        A parameter after a backward pass.

    Returns
    -------
    Tensor
        In its shape.
    """
    return weight.new_zeros(weight.shape) if weight.grad is None else weight.grad


def spread(amount: int, shares: Sequence[float], room: Sequence[int]) -> list[int]:
    """Whole numbers in proportion to `shares`, none above its `room`, that sum to `amount`.

    What does not fit in full layers goes to the others, and where those with a share are all full, to the rest.
    Fractions are rounded by the largest remainder.

    Parameters
    ----------
    amount
        How many in all.
    shares
        One for each layer; negative and undefined ones count as 0.
    room
        The most that each layer can take.

    Returns
    -------
    list
        One number for each layer.

    Raises
    ------
    InputError
        When there is no room for so many.

    Examples
    --------
    >>> spread(10, [1.0, 1.0, 2.0], [9, 1, 9])
    [3, 1, 6]
    """
    space = np.asarray(room, dtype=float)
    if amount > space.sum():
        raise InputError(
            f"{counted(amount, 'weight', 'does', 'do')} not fit in layers with room for {int(space.sum())}."
        )
    weight = np.nan_to_num(np.maximum(np.asarray(shares, dtype=float), 0.0), posinf=0.0)
    # A share too small for a float's digits is none.
    open_ = (weight > 1e-12 * weight.max()) & (space > 0)
    counts = np.zeros(len(space))
    if amount >= space[open_].sum():
        counts[open_] = space[open_]
        others = ~open_ & (space > 0)
        rest = amount - int(counts.sum())
        if rest:
            counts[others] = spread(rest, space[others], space[others])
        return counts.astype(int).tolist()
    rates, space = weight[open_] / weight[open_].sum(), space[open_]
    # The sum of min(factor * rate, space) is piecewise linear in the factor and bends where a layer becomes full.
    bends = np.concatenate([[0.0], np.sort(space / rates)])
    totals = np.minimum(bends[:, None] * rates, space).sum(axis=1)
    ideal = np.minimum(np.interp(amount, totals, bends) * rates, space)
    counts[open_] = largest_remainder(ideal, space, amount)
    return counts.astype(int).tolist()
