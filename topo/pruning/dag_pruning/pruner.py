"""The algorithm: score what may go, drop it in an order, keep a path, until what is left fits the budget."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from ...dag.costs import BUDGETS
from ...errors import InputError, unknown_name
from ...masks import prunable_parameters
from ...validation import whole_number
from ..registry import PRUNERS
from ..schedules import exponential
from ..structured.unit_scoring import excluded, find_channels
from ..task import Task
from .candidates import GRANULARITIES, Candidate, candidates, drop
from .prunable_network import LiveParts, PrunableNetwork
from .removal import ORDERS, Walk, by_level, overall
from .scores import SCORES, Scoring

__all__ = ["NORMALISATIONS", "RANKINGS", "dag"]

RANKINGS = ("cost", "score")
NORMALISATIONS = ("none", "level")


@PRUNERS.register("dag", family="structured", stage="trained", paper="after Hwang 2023", needs_data=False)
def dag(
    task: Task,
    *,
    granularity: str = "mixed",
    score: str = "through",
    order: str = "global",
    budget: str = "weights",
    per: str = "cost",
    normalise: str = "none",
    rounds: int = 5,
    min_paths: int = 1,
    floor: int = 1,
    samples: int = 512,
    batch_size: int = 64,
    limit: int = 1000,
) -> dict[str, Tensor]:
    """Branches, nodes or channels of the network's DAG with the lowest scores, as long as a path is left.

    Parameters
    ----------
    granularity
        ``"arc"``: branches, which go as a whole: arcs of the coarse DAG with a layer, and arcs into a slot of a
        concatenation. ``"node"``: nodes with all arcs into and out of them. ``"channel"``: units, that is coupled
        channels, features and heads. ``"mixed"``: arcs and units together.
    score
        Of what stops to contribute when a candidate goes, c, at the nodes that stay: ``"taylor"``, E|<dloss/dz, c>|;
        ``"energy"``, E|c|^2 / E|z|^2; ``"ablation"``, the exact change of the loss, one evaluation a candidate;
        ``"magnitude"``, the sum of all |weights| that go; ``"through"``, the mass of the paths through it, a path of
        single elements weighing the product of its |weights|; ``"random"``, a control. The last three need no data.
    order
        ``"global"`` takes all candidates together; ``"forward"`` and ``"backward"`` go level by level, each level
        with a quota in proportion to what its candidates cost and what the levels before left of theirs.
    budget
        What `sparsity` is the removed share of: ``"weights"``, ``"parameters"`` (biases and norms too) or ``"macs"``.
    per
        Whether candidates are ranked by ``"score"`` or by score per ``"cost"``, what they cost of the budget.
    normalise
        ``"level"`` divides scores by the root of the sum of their squares over the level; ``"none"`` does not.
    rounds
        After round k of n the share left is (share)^(k/n), and what is left is scored again. Rounds do not
        cure that first-order scores underrate whole branches: in ``"mixed"`` they take them early.
    min_paths
        The least number of paths from the input to the output that stay.
    floor
        The least number of units that every group keeps.
    samples, batch_size
        About how many samples are looked at, and how many at a time.
    limit
        The most candidates that ``"ablation"`` evaluates.
    """
    settings = Settings(granularity, score, order, budget, per, normalise, rounds, min_paths, floor)
    limits = {"samples": samples, "batch_size": batch_size, "limit": limit}
    for name, value in limits.items():
        whole_number(name, value, minimum=1)
    found = find_channels(task, may_be_none=True)
    prunable = prunable_parameters(task.model)
    network = PrunableNetwork(found, [name for name in prunable if name not in task.weights])
    state = network.intact()
    if state.counts.total < min_paths:
        raise InputError(f"the network has {state.counts.total} paths to begin with; min_paths is {min_paths}.")
    known = candidates(network, granularity, excluded(task.weights, found).numpy())
    whole = network.cost(state, budget)
    for share in exponential(1 - task.sparsity, rounds):
        if share < 1:
            state = _round(Scoring(task, network, state, known, **limits), settings, share * whole, whole)
        masks = network.masks(state, prunable)
        parameters = dict(task.model.named_parameters())
        with torch.no_grad():
            for name, mask in masks.items():
                parameters[name].masked_fill_(~mask.to(task.device), 0.0)
    return masks


@dataclass(frozen=True)
class Settings:
    """Those of the pruner that do not concern the samples; `InputError` for one that is not possible."""

    granularity: str
    score: str
    order: str
    budget: str
    per: str
    normalise: str
    rounds: int
    min_paths: int
    floor: int

    def __post_init__(self) -> None:
        for name, known in (
            ("granularity", GRANULARITIES),
            ("score", SCORES),
            ("order", ORDERS),
            ("budget", BUDGETS),
            ("per", RANKINGS),
            ("normalise", NORMALISATIONS),
        ):
            if getattr(self, name) not in known:
                raise unknown_name(f"value of {name}", getattr(self, name), known)
        for name in ("rounds", "min_paths", "floor"):
            whole_number(name, getattr(self, name), minimum=1)


def _round(scoring: Scoring, settings: Settings, allowed: float, whole: int) -> LiveParts:
    """What is left after a round; `InputError` when more than `allowed` is with all gone that may go."""
    name, network = scoring.task.name, scoring.network
    if network.cost(scoring.state, settings.budget) <= allowed:
        return scoring.state
    scoring = _possible(scoring, settings.min_paths)
    walk = Walk(network, scoring.state, settings.budget, settings.min_paths, settings.floor)
    if not scoring.candidates:
        if walk.cost() < whole:
            raise _too_far(name, walk, settings, allowed, whole)
        raise InputError(_nothing_to_drop(name, network, scoring.state, settings))
    scores = np.asarray(SCORES[settings.score](scoring), dtype=float)
    if not np.isfinite(scores).all():
        raise InputError(f"the {settings.score} scores are not all numbers; look for NaN in the weights or the data.")
    costs = _costs(scoring, settings.budget)
    worth = _normalised(scores, scoring.candidates) if settings.normalise == "level" else scores
    if settings.per == "cost":
        worth = worth / np.maximum(costs, 1)
    ranking = sorted(
        range(len(costs)), key=lambda i: (worth[i], scoring.candidates[i].level, scoring.candidates[i].name)
    )
    ranked = [scoring.candidates[i] for i in ranking]
    if settings.order == "global":
        reached = overall(walk, ranked, allowed)
    else:
        reached = by_level(walk, ranked, costs[ranking], allowed, settings.order == "backward")
    if not reached:
        raise _too_far(name, walk, settings, allowed, whole)
    return walk.state


def _too_far(name: str, walk: Walk, settings: Settings, allowed: float, whole: int) -> InputError:
    return InputError(
        f"pruner {name!r} cannot go down to {allowed:.0f} {settings.budget}: with granularity "
        f"{settings.granularity!r} the smallest connected sub-network that it finds has {walk.cost()} of {whole} "
        f"(paths left: {walk.state.counts.total}); lower the sparsity"
        f"{'' if settings.granularity == 'mixed' else ', choose granularity mixed'} or exclude fewer layers."
    )


def _possible(scoring: Scoring, min_paths: int) -> Scoring:
    """With the candidates that may go now, and what is left then."""
    state, live = scoring.state, set(scoring.state.counts.live)
    found = []
    for candidate in scoring.candidates:
        if candidate.unit is not None:
            # Its state would cost a copy of all units, and is asked for by few.
            if state.alive[candidate.unit]:
                found.append((candidate, None))
        elif not live.isdisjoint(candidate.arcs):
            after = drop(scoring.network, state, candidate, min_paths)
            if after is not None:
                found.append((candidate, after))
    return replace(scoring, candidates=[c for c, _ in found], after=[after for _, after in found])


def _costs(scoring: Scoring, budget: str) -> np.ndarray:
    """What goes of the budget with each candidate alone; the elements that a unit both reads and writes count twice."""
    network, state, found = scoring.network, scoring.state, scoring.network.channels
    times = network.times(state, budget)
    masks = scoring.masks
    sizes = {
        name: times[name] * (masks[name] if name in masks else torch.ones(network.dag.state[name].shape)).float()
        for name in found.axes
        if name in times
    }
    of_units = found.sums(sizes).numpy()
    whole = network.cost(state, budget)
    return np.array(
        [
            of_units[candidate.unit] if candidate.unit is not None else whole - network.cost(after, budget)
            for candidate, after in zip(scoring.candidates, scoring.after, strict=True)
        ],
        dtype=float,
    )


def _normalised(scores: np.ndarray, known: Sequence[Candidate]) -> np.ndarray:
    """Divided by the root of the sum of squares over the level."""
    levels = np.array([candidate.level for candidate in known])
    squares = np.bincount(levels, weights=scores**2)
    return scores / np.sqrt(np.maximum(squares, np.finfo(float).tiny))[levels]


def _nothing_to_drop(name: str, network: PrunableNetwork, state: LiveParts, settings: Settings) -> str:
    if settings.granularity == "channel":
        return f"pruner {name!r} finds no unit that could be removed: all layers write to an output, or are excluded."
    bridges = sum(
        bool(network.layers[arc]) and state.counts.through(arc) == state.counts.total for arc in state.counts.live
    )
    layers = sum(bool(network.layers[arc]) for arc in state.counts.live)
    return (
        f"pruner {name!r} has nothing to drop with granularity {settings.granularity!r}: of {layers} arcs with a layer "
        f"{bridges} are bridges, which every path takes, and masks can silence no other that may go; "
        f"{'exclude fewer layers' if settings.granularity == 'mixed' else 'choose granularity mixed or channel'}."
    )
