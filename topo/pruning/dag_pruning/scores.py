"""The scores of candidates: the larger, the more it deserves to stay."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from ...dag.prunable import prunable_weights
from ...datasets.inputs import Batch
from ...errors import InputError, counted
from ...held_masks import PrunedWeights
from ..samples import chunks
from ..task import Task
from .candidates import Candidate
from .contributions import Contributions, energies, path_mass, slopes
from .prunable_network import LiveParts, PrunableNetwork

__all__ = ["SCORES", "Scoring"]


@dataclass(frozen=True, eq=False)
class Scoring:
    """All that a score may look at.

    Attributes
    ----------
    parts
        What is left of the network; its masks are applied to the weights of the task's model.
    candidates
        What may go.
    samples, batch_size, limit
        Settings of the pruner.
    after
        For every candidate what is left then; None for a unit.
    """

    task: Task
    network: PrunableNetwork
    parts: LiveParts
    candidates: Sequence[Candidate]
    samples: int
    batch_size: int
    limit: int
    after: Sequence[LiveParts | None] = ()

    def without(self, row: int) -> LiveParts:
        """What is left without the candidate of this number.

        Parameters
        ----------
        row
            Number of the candidate.

        Returns
        -------
        LiveParts
            What is left.
        """
        after, unit = self.after[row], self.candidates[row].unit
        return after or self.parts.without(units=[] if unit is None else [unit])

    @cached_property
    def masks(self) -> dict[str, Tensor]:
        return self.network.masks(self.parts, prunable_weights(self.network.channels.dag).names)

    @cached_property
    def contributions(self) -> Contributions:
        return Contributions(self.network)

    @cached_property
    def stops(self) -> sparse.csr_array:
        """Which contributions (columns) stop with each candidate (rows)."""
        contributions, network = self.contributions, self.network
        before = set(network.stopped_arcs(self.parts))
        rows: list[np.ndarray] = []
        columns: list[np.ndarray] = []
        row_of_unit = np.full(network.channels.count + 1, -1)
        for row, (candidate, after) in enumerate(zip(self.candidates, self.after, strict=True)):
            if after is None:
                row_of_unit[candidate.unit] = row
                continue
            for arc in set(network.stopped_arcs(after)) - before:
                stopped = (
                    [np.array([contributions.arcs[arc]])]
                    if arc in contributions.arcs
                    else [
                        contributions.reading[weight].start + np.flatnonzero(read)
                        for weight, read in network.columns[arc].items()
                    ]
                )
                columns += stopped
                rows += [np.full(len(part), row) for part in stopped]
        live = set(self.parts.counts.live)
        for (arc, _), (weight, numbers) in contributions.channels.items():
            axes = network.channels.axes.get(weight)
            if axes is not None and arc in live:
                row = row_of_unit[axes[network.channels.layers[weight][0].reads].numpy()]
                rows.append(row[row >= 0])
                columns.append(numbers.start + np.flatnonzero(row >= 0))
        places = [np.concatenate(chunk) if chunk else np.zeros(0, int) for chunk in (rows, columns)]
        shape = (len(self.candidates), contributions.count)
        return sparse.csr_array((np.ones(len(places[0])), tuple(places)), shape=shape)

    def batches(self, score: str) -> list[Batch]:
        """The samples in parts of at most `batch_size`.

        Parameters
        ----------
        score
            Name of the score that asks, for the message.

        Returns
        -------
        list
            Of pairs of inputs and targets.

        Raises
        ------
        InputError
            When the call gave no data.
        """
        if self.task.given_samples is None:
            free = ", ".join(repr(name) for name in SCORES if name not in NEED_DATA)
            raise InputError(
                f"the score {score!r} of pruner {self.task.name!r} needs data; give data=(inputs, targets), a dataset "
                f"or batches, or choose a score that needs none: {free}."
            )
        return list(chunks(self.task.samples.batch(self.samples), self.batch_size))


def taylor(scoring: Scoring) -> np.ndarray:
    """E |<dloss/dz, what stops to contribute>|: the change of the loss of a sample, to first order."""
    total, count = np.zeros(len(scoring.candidates)), 0
    for inputs, targets in scoring.batches("taylor"):
        products = slopes(scoring.task, scoring.network, scoring.contributions, inputs, targets)
        total += np.abs(scoring.stops @ products.T).sum(axis=1)
        count += len(targets)
    return total / count


def energy(scoring: Scoring) -> np.ndarray:
    """E |what stops to contribute|^2 / E |what it is a part of|^2, added up over the contributions."""
    of_parts, of_totals = np.zeros((2, scoring.contributions.count))
    for inputs, targets in scoring.batches("energy"):
        parts, totals = energies(scoring.task, scoring.network, scoring.contributions, inputs, len(targets))
        of_parts, of_totals = of_parts + parts, of_totals + totals
    return scoring.stops @ np.divide(of_parts, of_totals, out=np.zeros_like(of_parts), where=of_totals > 0)


def magnitude(scoring: Scoring) -> np.ndarray:
    """Sum of the absolute weights that go, of layers only."""
    network, channels = scoring.network, scoring.network.channels
    weights = {
        name: (network.dag.state[name].detach().double().abs().cpu() * mask)
        for name, mask in scoring.masks.items()
        if name in channels.layers
    }
    sums = {name: float(value.sum()) for name, value in weights.items()}
    of_units = channels.sums(weights).numpy()
    before = network.dead_parameters(scoring.parts.counts.live)
    scores = np.zeros(len(scoring.candidates))
    for row, (candidate, after) in enumerate(zip(scoring.candidates, scoring.after, strict=True)):
        if after is None:
            scores[row] = of_units[candidate.unit]
            continue
        dead = network.dead_parameters(after.counts.live)
        scores[row] = sum(sums.get(name, 0.0) for name in dead - before)
        for name, columns in network.cut_columns(after).items():
            if name in weights and name not in dead:
                read = weights[name].movedim(channels.layers[name][0].reads, 0)
                scores[row] += float(read[torch.from_numpy(columns)].sum())
    return scores


def ablation(scoring: Scoring) -> np.ndarray:
    """The change of the mean loss when the candidate goes, exactly: one evaluation of all samples for each."""
    task, network = scoring.task, scoring.network
    if len(scoring.candidates) > scoring.limit:
        raise InputError(
            f"the score 'ablation' would evaluate the network once for each of "
            f"{counted(len(scoring.candidates), 'candidate')}; choose a coarser granularity, another "
            f"score, or raise limit (now {scoring.limit:,})."
        )
    batches = scoring.batches("ablation")
    count = sum(len(targets) for _, targets in batches)

    def loss(parts: LiveParts) -> float:
        changed = {
            name: mask
            for name, mask in network.masks(parts, prunable_weights(network.channels.dag).names).items()
            if name not in scoring.masks or not torch.equal(mask, scoring.masks[name])
        }
        pruned = PrunedWeights(changed, task.model, strict=False)
        kept = [(parameter, parameter.detach().clone()) for parameter in pruned]
        try:
            pruned.clear()
            return sum(float(task.loss(inputs, targets)) * len(targets) for inputs, targets in batches) / count
        finally:
            for parameter, value in kept:
                parameter.copy_(value)

    with torch.no_grad():
        before = loss(scoring.parts)
        return np.array([loss(scoring.without(row)) - before for row in range(len(scoring.candidates))])


def through(scoring: Scoring) -> np.ndarray:
    """The share of the mass of all paths that the candidate takes away; a path weighs the product of its |weights|."""
    mass = path_mass(scoring.network, scoring.contributions, scoring.masks)
    return (scoring.stops @ mass.T)[:, 0]


def random(scoring: Scoring) -> np.ndarray:
    """A number in [0, 1) for each candidate: a control."""
    return torch.rand(len(scoring.candidates), generator=scoring.task.generator, dtype=torch.float64).numpy()


SCORES: dict[str, Callable[[Scoring], np.ndarray]] = {
    "taylor": taylor,
    "energy": energy,
    "magnitude": magnitude,
    "ablation": ablation,
    "through": through,
    "random": random,
}
NEED_DATA = ("taylor", "energy", "ablation")
