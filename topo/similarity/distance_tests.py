"""Distances within and between pruning algorithms, with a permutation test of their difference.

Networks of one seed share initial weights and often random draws, whatever the algorithm. So distances are taken
between networks of different seeds, both within and between algorithms; where a group has one seed only, between all
networks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import factorial, nan

import numpy as np
import pandas as pd
from scipy import stats
from sklearn.manifold import smacof

from ..stats.label_permutations import LabelOrders
from ..stats.significance import FALSE_DISCOVERY_RATE, q_values

__all__ = ["GroupDistances", "between_algorithms", "embedded", "family_gap", "seed_effect", "within_algorithms"]

POWER = 0.8
# Up to this many permutations of the names of all seeds all are tried.
MOST_ORDERS = 5040


@dataclass(frozen=True, eq=False)
class GroupDistances:
    """Distances between all pairs of networks of equal dataset, model and sparsity.

    Attributes
    ----------
    dataset, model, sparsity
        What the networks have in common.
    networks
        One row a network, with the columns pruner and seed.
    distances
        float64 (networks, networks).
    chance
        Distances of networks with the same number of connections in every layer at random places, where known.
    """

    dataset: str
    model: str
    sparsity: float
    networks: pd.DataFrame
    distances: np.ndarray
    chance: np.ndarray | None = None

    @property
    def key(self) -> dict[str, object]:
        """Dataset, model and sparsity by name."""
        return {"dataset": self.dataset, "model": self.model, "sparsity": self.sparsity}

    @property
    def pruners(self) -> np.ndarray:
        """Pruner of every network."""
        return self.networks["pruner"].to_numpy(str)

    @property
    def seeds(self) -> np.ndarray:
        """Seed of every network."""
        return self.networks["seed"].to_numpy()

    @property
    def compared(self) -> np.ndarray:
        """Pairs that are compared, bool (networks, networks): those of different seeds, where there are several."""
        different_seeds = self.seeds[:, None] != self.seeds
        return different_seeds if different_seeds.any() else ~np.eye(len(different_seeds), dtype=bool)


def between_algorithms(groups: Sequence[GroupDistances]) -> pd.DataFrame:
    """Mean distance between the networks of every two algorithms, and among the seeds of each, over groups.

    Parameters
    ----------
    groups
        Distances of the networks of every group.

    Returns
    -------
    DataFrame
        pruner, other, distance (mean over groups of the mean over pairs of networks), chance (the same of shuffled
        networks, where known), groups, pairs; two algorithms in both orders.
    """
    rows = []
    for group in groups:
        names, pruner = np.unique(group.pruners, return_inverse=True)
        member, compared = np.eye(len(names))[pruner], group.compared
        pairs = member.T @ compared @ member
        chance = np.full_like(group.distances, nan) if group.chance is None else group.chance
        means = [
            member.T @ (d * compared) @ member / np.where(pairs > 0, pairs, nan) for d in (group.distances, chance)
        ]
        for i, j in zip(*np.nonzero(pairs), strict=True):
            rows.append((names[i], names[j], means[0][i, j], means[1][i, j], int(pairs[i, j] / (1 + (i == j)))))
    table = pd.DataFrame(rows, columns=["pruner", "other", "distance", "chance", "pairs"])
    grouped = table.groupby(["pruner", "other"], sort=True)
    return grouped.agg(
        distance=("distance", "mean"), chance=("chance", "mean"), groups=("pairs", "size"), pairs=("pairs", "sum")
    ).reset_index()


def within_algorithms(
    groups: Sequence[GroupDistances], *, permutations: int = 999, seed: int = 0
) -> tuple[pd.DataFrame, dict[str, float]]:
    """Mean distances within and between algorithms and how often a nearest neighbour is of the same, with their tests.

    The test statistic is the mean distance to the other algorithms less that among an algorithm's own seeds, over
    groups. Its distribution under no difference permutes the names of the algorithms among the networks of each model
    and seed, alike for all its datasets and sparsities: these share initial weights, and their masks may be nested.

    Parameters
    ----------
    groups
        Distances of the networks of every group.
    permutations
        Random permutations where there are more than 5,040; else all are taken. 0 leaves the tests out.
    seed
        Seeds the permutations.

    Returns
    -------
    table : DataFrame
        One row an algorithm and, first, one for all (``"all"``): within, between, ratio (within / between), groups,
        p (one-sided), q (Benjamini-Hochberg over the algorithms), found (between less within that is found with 80%
        power; NaN where none is). NaN where no group holds two networks of it.
    nearest : dict
        share (of networks whose nearest neighbour is of their own algorithm, ties sharing the hit), chance (what is
        expected), p (one-sided). Counted are the networks with another of their algorithm to be compared with; NaN
        where there is none.
    """
    names = np.unique(np.concatenate([group.pruners for group in groups]))
    orders, count = _orders(groups, len(names), permutations, seed)
    within, between, hits, counted = zip(*(_permuted(group, names, orders, count) for group in groups), strict=True)
    own, other = np.array(within), np.array(between)
    known = np.isfinite(own[:, 0] + other[:, 0])
    rows = []
    for name, columns in [("all", [*range(len(names))]), *((n, [i]) for i, n in enumerate(names))]:
        there = known[:, columns]
        if not there.any():
            rows.append((name, nan, nan, nan, 0, nan, nan))
            continue
        near, far = (np.mean(np.nan_to_num(v[:, :, columns]), axis=(0, 2), where=there[:, None]) for v in (own, other))
        p, found = _tested(far - near)
        ratio = near[0] / far[0] if far[0] else nan
        rows.append((name, near[0], far[0], ratio, int(there.any(axis=1).sum()), p, found))
    table = pd.DataFrame(rows, columns=["pruner", "within", "between", "ratio", "groups", "p", "found"])
    table.insert(6, "q", [nan, *q_values(table["p"].to_numpy(float)[1:])])
    nearest = {"share": nan, "chance": nan, "p": nan}
    if counted[0].size and (total := np.sum(counted, axis=0))[0]:
        share = np.sum(hits, axis=0) / np.maximum(total, 1)
        nearest = {"share": share[0], "chance": _chance_of_nearest(groups), "p": _tested(share)[0]}
    return table, {name: float(value) for name, value in nearest.items()}


def _tested(values: np.ndarray) -> tuple[float, float]:
    """One-sided p-value of the first of permuted values, and what is found with the stated power."""
    if len(values) < 2:
        return nan, nan
    p = float((values >= values[0] - 1e-12).mean())
    if (values >= values.max() - 1e-12).mean() > FALSE_DISCOVERY_RATE:
        return p, nan
    found = np.quantile(values, 1 - FALSE_DISCOVERY_RATE, method="higher") + stats.norm.ppf(POWER) * values.std()
    return p, float(found)


Orders = dict[tuple[str, object], tuple[LabelOrders, np.ndarray]]


def _orders(groups: Sequence[GroupDistances], names: int, wanted: int, seed: int) -> tuple[Orders, int]:
    """Permutations of the names for every model and seed, which of them go together, and how many there are.

    Only how the seeds of a model are named against each other matters, so the names of the first one stay.
    """
    keys = sorted({(group.model, value) for group in groups for value in group.seeds})
    stay = [key for i, key in enumerate(keys) if i == 0 or keys[i - 1][0] != key[0]]
    first, free = LabelOrders(names, wanted, seed, shared=True), [key for key in keys if key not in stay]
    drawn = np.random.default_rng(seed).integers(first.count, size=(wanted + 1 if free else 1, len(free)))
    drawn[0] = 0
    if wanted and free and first.count == factorial(names) and first.count ** len(free) <= MOST_ORDERS:
        drawn = np.array(list(product(range(first.count), repeat=len(free))))
    orders: Orders = dict.fromkeys(stay, (first, np.zeros(len(drawn), dtype=int)))
    for i, key in enumerate(free):
        if first.count == factorial(names):
            orders[key] = first, drawn[:, i]
        else:
            orders[key] = LabelOrders(names, wanted, seed + 1 + i, shared=True), np.arange(len(drawn))
    return orders, len(drawn)


def _permuted(
    group: GroupDistances, names: np.ndarray, orders: Orders, count: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Mean distances within and between algorithms (permutations, names); networks near to their own, and counted."""
    own = np.searchsorted(names, group.pruners)
    labels = np.empty((count, len(own)), dtype=int)
    for value in np.unique(group.seeds):
        of_seed = np.flatnonzero(group.seeds == value)
        present, place = np.unique(own[of_seed], return_inverse=True)
        permutations, chosen = orders[group.model, value]
        labels[:, of_seed] = present[permutations.of(present)[chosen]][:, place]
    compared, size = group.compared, len(names)
    i, j = np.nonzero(compared)
    row, pair = np.nonzero(labels[:, i] == labels[:, j])
    cell = row * size + labels[row, i[pair]]

    def summed(cells: np.ndarray, weights: np.ndarray | None) -> np.ndarray:
        return np.bincount(cells.ravel(), weights, len(labels) * size).reshape(-1, size).astype(float)

    every = np.arange(len(labels))[:, None] * size + labels
    inside, pairs = summed(cell, group.distances[i, j][pair]), summed(cell, None)
    all_of, all_pairs = (
        summed(every, np.broadcast_to(values.sum(axis=1), labels.shape).ravel())
        for values in (group.distances * compared, compared.astype(float))
    )
    means = [
        np.divide(total, count, out=np.full(total.shape, nan), where=count > 0)
        for total, count in ((inside, pairs), (all_of - inside, all_pairs - pairs))
    ]
    nearest = _nearest(group)
    share = (nearest / np.maximum(nearest.sum(axis=1, keepdims=True), 1))[i, j]
    having = np.bincount(row * len(own) + i[pair], minlength=labels.size).reshape(labels.shape) > 0
    return means[0], means[1], np.bincount(row, share[pair], len(labels)), having.sum(axis=1)


def _nearest(group: GroupDistances) -> np.ndarray:
    distances = np.where(group.compared, group.distances, np.inf)
    return group.compared & (distances <= distances.min(axis=1, keepdims=True) + 1e-12)


def _chance_of_nearest(groups: Sequence[GroupDistances]) -> float:
    """Share of networks that have a nearest neighbour of their own algorithm by chance."""
    chances = []
    for group in groups:
        compared, own = group.compared, group.pruners[:, None] == group.pruners
        known = (compared & own).any(axis=1)
        chances.append(((compared & own).sum(1) / np.maximum(compared.sum(1), 1))[known])
    return float(np.concatenate(chances).mean())


def family_gap(
    pairs: pd.DataFrame, families: Mapping[str, str], *, permutations: int = 999, seed: int = 0
) -> dict[str, float]:
    """Mean distance between different algorithms of one family and of two, tested by other families of the algorithms.

    Parameters
    ----------
    pairs
        What `between_algorithms` returned.
    families
        Algorithm -> family.
    permutations
        Random permutations of the algorithms where there are more than seven; else all are taken.
    seed
        Seeds them.

    Returns
    -------
    dict
        same, different (mean distances over pairs of algorithms), p (one-sided: those of one family are closer); NaN
        where no two algorithms are of one family, or all are.
    """
    names = np.unique(pairs["pruner"])
    matrix = pairs.pivot_table("distance", "pruner", "other").reindex(index=names, columns=names).to_numpy()
    i, j = np.nonzero(np.triu(np.isfinite(matrix), 1))
    kind = np.unique([families[name] for name in names], return_inverse=True)[1]
    kinds = kind[LabelOrders(len(names), permutations, seed, shared=True).all]
    same = kinds[:, i] == kinds[:, j]
    if not same[0].any() or same[0].all():
        return {"same": nan, "different": nan, "p": nan}
    values = np.broadcast_to(matrix[i, j], same.shape)
    usable = same.any(axis=1) & ~same.all(axis=1)
    inner, outer = (values[usable].mean(axis=1, where=at[usable]) for at in (same, ~same))
    return {"same": float(inner[0]), "different": float(outer[0]), "p": _tested(outer - inner)[0]}


def seed_effect(groups: Sequence[GroupDistances]) -> tuple[float, float]:
    """Mean distance between different algorithms of equal and of different seeds, over groups that have both.

    Parameters
    ----------
    groups
        Distances of the networks of every group.

    Returns
    -------
    tuple
        Mean over pairs of equal seeds, and of different seeds; NaN where no group has both.
    """
    means = []
    for group in groups:
        other = group.pruners[:, None] != group.pruners
        same_seed = group.seeds[:, None] == group.seeds
        if (other & same_seed).any() and (other & ~same_seed).any():
            means.append((group.distances[other & same_seed].mean(), group.distances[other & ~same_seed].mean()))
    if not means:
        return nan, nan
    equal, different = np.mean(means, axis=0)
    return float(equal), float(different)


def embedded(distances: np.ndarray) -> tuple[np.ndarray, float]:
    """Multidimensional scaling to two dimensions: positions, and Kruskal's stress-1.

    Stress majorisation (SMACOF) started from classical scaling, so that nothing is random. Stress is
    ``sqrt(sum (d - d')^2 / sum d^2)``: about .2 and more is a poor map.

    Parameters
    ----------
    distances
        Symmetric with zeros on the diagonal, (networks, networks).

    Returns
    -------
    positions : array
        float64 (networks, 2).
    stress : float
        Kruskal's stress-1.

    Examples
    --------
    >>> square = np.array([[0.0, 0], [1, 0], [1, 1], [0, 1]])
    >>> positions, stress = embedded(np.linalg.norm(square[:, None] - square, axis=2))
    >>> positions.shape, bool(stress < 1e-6)
    ((4, 2), True)
    """
    n = len(distances)
    if not distances.any():
        return np.zeros((n, 2)), 0.0
    centred = np.eye(n) - 1 / n
    values, vectors = np.linalg.eigh(-centred @ distances**2 @ centred / 2)
    start = vectors[:, ::-1][:, :2] * np.sqrt(np.maximum(values[::-1][:2], 0))
    start = np.pad(start, ((0, 0), (0, 2 - start.shape[1])))
    positions, _ = smacof(
        distances, n_components=2, init=start, n_init=1, max_iter=500, eps=1e-9, normalized_stress=False
    )
    embedded_distances = np.linalg.norm(positions[:, None] - positions, axis=2)
    return positions, float(np.sqrt(np.sum((embedded_distances - distances) ** 2) / np.sum(distances**2)))
