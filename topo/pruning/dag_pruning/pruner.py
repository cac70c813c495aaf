"""The algorithm: score what may go, drop it in an order, keep a path, until what is left fits the budget."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from ...dag.costs import BUDGETS
from ...dag.prunable import prunable_weights
from ...errors import InputError, counted, unknown_name
from ...validation import whole_number
from ..registry import PRUNERS
from ..schedules import exponential
from ..structured.refilling import allowance, warn_of_shortfall
from ..structured.unit_scoring import find_channels
from ..structured.unreachable import excluded
from ..task import Task
from .candidates import GRANULARITIES, Candidate, candidates, drop
from .prunable_network import LiveParts, PrunableNetwork
from .removal import ORDERS, Removals, bring_back, remove_by_level, remove_overall
from .scores import SCORES, Scoring

__all__ = ["NORMALISATIONS", "RANKINGS", "dag"]

RANKINGS = ("cost", "score")
NORMALISATIONS = ("none", "level")


@PRUNERS.register(
    "dag", family="structured", stage="trained", paper="after Hwang 2023", needs_data=False, needs_example=True
)
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

    `Masks.record` has a row for everything that went, in order: the round; its name, kind (unit, or arcs) and level;
    its score; its cost, what goes of the budget with it alone; the paths left after it; what the round left of the
    budget; and whether it came back in the end.

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
        What `sparsity` is the removed share of: ``"weights"``, those that the patterns include or, with
        ``sparsity_of="all"``, those of all layers; ``"parameters"`` (biases and norms too) or ``"macs"`` of the whole
        network.
    per
        Whether candidates are ranked by ``"score"`` or by score per ``"cost"``, what they cost of the budget.
    normalise
        ``"level"`` divides scores by the root of the sum of their squares over the level; ``"none"`` does not.
    rounds
        After round k of n the share left is (share)^(k/n), and what is left is scored again; in the end what went comes
        back as far as it fits, the last that went first. Rounds do not
        cure that first-order scores underrate whole branches: in ``"mixed"`` they take them early.
    min_paths
        The least number of paths from the input to the output that stay.
    floor
        The least number of units that every group keeps.
    samples
        About how many samples are looked at.
    batch_size
        How many of them at a time.
    limit
        The most candidates that ``"ablation"`` evaluates.
    """
    settings = Settings(granularity, score, order, budget, per, normalise, rounds, min_paths, floor)
    for name, value in {"samples": samples, "batch_size": batch_size, "limit": limit}.items():
        whole_number(name, value, minimum=1)
    channels = find_channels(task, may_be_none=True)
    prunable = prunable_weights(channels.dag).names
    excluded_names = [name for name in prunable if name not in task.weights]
    network = PrunableNetwork(channels, excluded_names, task.counted or None)
    parts = network.intact()
    if parts.counts.total < min_paths:
        raise InputError(
            f"the network has {counted(parts.counts.total, 'path')} to begin with; min_paths is {min_paths}."
        )
    known = candidates(network, granularity, excluded(task.weights, channels).numpy())
    full_cost = network.cost(parts, budget)
    gone: list[Gone] = []
    course: list[tuple[int, int]] = []
    for number, share in enumerate(exponential(1 - task.sparsity, rounds), start=1):
        if share < 1:
            scoring = Scoring(task, network, parts, known, samples, batch_size, limit)
            parts, went = _round(scoring, settings, allowance(share, full_cost), full_cost)
            gone += went
            course += [(number, network.cost(parts, budget))] * len(went)
        task.clear(network.masks(parts, prunable))
    allowed = allowance(1 - task.sparsity, full_cost)
    parts = bring_back(network, [one.candidate for one in gone], budget, allowed)
    task.record = _record(gone, course, parts)
    warn_of_shortfall(task.name, network.cost(parts, budget), allowed, full_cost, budget)
    return network.masks(parts, prunable)


@dataclass(frozen=True)
class Gone:
    """What went, its score, what went of the budget with it alone, and how many paths it left."""

    candidate: Candidate
    score: float
    cost: float
    paths: int


def _record(gone: Sequence[Gone], course: Sequence[tuple[int, int]], parts: LiveParts) -> pd.DataFrame:
    """A row for each that went; `course` has its round and what that left, `parts` are left in the end."""
    live = set(parts.counts.live)
    rows = []
    for (number, left), one in zip(course, gone, strict=True):
        unit, arcs = one.candidate.unit, one.candidate.arcs
        back = bool(parts.alive[unit]) if unit is not None else not live.isdisjoint(arcs)
        kind = "arcs" if unit is None else "unit"
        rows.append((number, one.candidate.name, kind, one.candidate.level, one.score, one.cost, one.paths, left, back))
    return pd.DataFrame(
        rows, columns=["round_number", "name", "kind", "level", "score", "cost", "paths", "left", "came_back"]
    )


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


def _round(scoring: Scoring, settings: Settings, allowed: float, full_cost: int) -> tuple[LiveParts, Sequence[Gone]]:
    """What is left after a round, and what went in it; `InputError` when more than `allowed` is with all gone that
    may go."""
    name, network = scoring.task.name, scoring.network
    if network.cost(scoring.parts, settings.budget) <= allowed:
        return scoring.parts, ()
    scoring = _possible(scoring, settings.min_paths)
    removals = Removals(network, scoring.parts, settings.budget, settings.min_paths, settings.floor)
    if not scoring.candidates:
        if removals.cost() < full_cost:
            raise _too_far(name, removals, settings, allowed, full_cost)
        raise InputError(_nothing_to_drop(name, network, scoring.parts, settings))
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
        reached = remove_overall(removals, ranked, allowed)
    else:
        reached = remove_by_level(removals, ranked, costs[ranking].tolist(), allowed, settings.order == "backward")
    if not reached:
        raise _too_far(name, removals, settings, allowed, full_cost)
    row = {candidate: place for place, candidate in enumerate(scoring.candidates)}
    went = [(candidate, row[candidate], left) for candidate, left in zip(removals.dropped, removals.paths, strict=True)]
    return removals.parts, [Gone(one, float(scores[place]), float(costs[place]), left) for one, place, left in went]


def _too_far(name: str, removals: Removals, settings: Settings, allowed: float, full_cost: int) -> InputError:
    return InputError(
        f"pruner {name!r} cannot go down to {allowed:.0f} {settings.budget}: with granularity "
        f"{settings.granularity!r} the smallest connected sub-network that it finds has {removals.cost()} of "
        f"{full_cost} (paths left: {removals.parts.counts.total}); lower the sparsity"
        f"{'' if settings.granularity == 'mixed' else ', choose granularity mixed'} or exclude fewer layers."
    )


def _possible(scoring: Scoring, min_paths: int) -> Scoring:
    """With the candidates that may go now, and what is left then."""
    parts, live = scoring.parts, set(scoring.parts.counts.live)
    possible: list[tuple[Candidate, LiveParts | None]] = []
    for candidate in scoring.candidates:
        if candidate.unit is not None:
            # What is left then would cost a copy of all units, and is asked for by few.
            if parts.alive[candidate.unit]:
                possible.append((candidate, None))
        elif not live.isdisjoint(candidate.arcs):
            after = drop(scoring.network, parts, candidate, min_paths)
            if after is not None:
                possible.append((candidate, after))
    return replace(scoring, candidates=[c for c, _ in possible], after=[after for _, after in possible])


def _costs(scoring: Scoring, budget: str) -> np.ndarray:
    """What goes of the budget with each candidate alone; the elements that a unit both reads and writes count twice."""
    network, parts, channels = scoring.network, scoring.parts, scoring.network.channels
    times = network.times(parts, budget)
    masks = scoring.masks
    sizes = {
        name: times[name] * (masks[name] if name in masks else torch.ones(network.dag.state[name].shape)).float()
        for name in channels.axes
        if name in times
    }
    of_units = channels.sums(sizes).numpy()
    cost = network.cost(parts, budget)
    return np.array(
        [
            of_units[candidate.unit] if after is None else cost - network.cost(after, budget)
            for candidate, after in zip(scoring.candidates, scoring.after, strict=True)
        ],
        dtype=float,
    )


def _normalised(scores: np.ndarray, known: Sequence[Candidate]) -> np.ndarray:
    """Divided by the root of the sum of squares over the level."""
    levels = np.array([candidate.level for candidate in known])
    squares = np.bincount(levels, weights=scores**2)
    return scores / np.sqrt(np.maximum(squares, np.finfo(float).tiny))[levels]


def _nothing_to_drop(name: str, network: PrunableNetwork, parts: LiveParts, settings: Settings) -> str:
    if settings.granularity == "channel":
        return f"pruner {name!r} finds no unit that could be removed: all layers write to an output, or are excluded."
    bridges = sum(
        bool(network.layers[arc]) and parts.counts.through(arc) == parts.counts.total for arc in parts.counts.live
    )
    layers = sum(bool(network.layers[arc]) for arc in parts.counts.live)
    return (
        f"pruner {name!r} has nothing to drop with granularity {settings.granularity!r}: of "
        f"{counted(layers, 'arc')} with a layer {bridges} {'is a bridge' if bridges == 1 else 'are bridges'}, which "
        "every path takes, and masks can make no other zero that may go; "
        f"{'exclude fewer layers' if settings.granularity == 'mixed' else 'choose granularity mixed or channel'}."
    )
