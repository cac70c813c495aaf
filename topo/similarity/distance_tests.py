"""Distances within and between pruning algorithms, with a permutation test of their difference.

Networks of one seed share initial weights and often random draws, whatever the algorithm. So distances are taken
between networks of different seeds, both within and between algorithms; where a group has one seed only, between all
networks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import nan

import numpy as np
import pandas as pd
from sklearn.manifold import smacof

from ..stats.significance import q_values

__all__ = ["GroupDistances", "between_algorithms", "embedded", "nearest_share", "seed_effect", "within_algorithms"]

# Most numbers held at once when algorithms are permuted.
MOST_NUMBERS = 4_000_000


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


def within_algorithms(groups: Sequence[GroupDistances], *, permutations: int = 999, seed: int = 0) -> pd.DataFrame:
    """Mean distances within and between algorithms, with a permutation test of their difference.

    The test statistic is the mean distance to the other algorithms less that among an algorithm's own seeds, over
    groups. Its distribution under no difference permutes the algorithms among the networks of each group and seed.

    Parameters
    ----------
    groups
        Distances of the networks of every group.
    permutations
        Number of permutations; 0 leaves p out.
    seed
        Seeds the permutations.

    Returns
    -------
    DataFrame
        One row an algorithm and, first, one for all (``"all"``): within, between, ratio (within / between), groups,
        p (one-sided), q (Benjamini-Hochberg over the algorithms). NaN where no group holds two networks of it.
    """
    names = np.unique(np.concatenate([group.pruners for group in groups]))
    observed, permuted = zip(
        *(_gaps(group, names, permutations, seed + i) for i, group in enumerate(groups)), strict=True
    )
    within, between = np.array(observed).transpose(1, 0, 2)
    permuted_gaps = np.array(permuted)
    rows = []
    for name, columns in [("all", [*range(len(names))]), *((n, [i]) for i, n in enumerate(names))]:
        known = np.isfinite(within[:, columns] + between[:, columns])
        if not known.any():
            rows.append((name, nan, nan, nan, 0, nan))
            continue
        own, other = (np.mean(v[:, columns], where=known) for v in (within, between))
        p = nan
        if permutations:
            gaps = np.mean(permuted_gaps[:, :, columns], axis=(0, 2), where=known[:, None])
            p = (1 + np.sum(gaps >= other - own - 1e-12)) / (1 + permutations)
        rows.append((name, own, other, own / other if other else nan, int(known.any(axis=1).sum()), p))
    table = pd.DataFrame(rows, columns=["pruner", "within", "between", "ratio", "groups", "p"])
    table["q"] = [nan, *q_values(table["p"].to_numpy(float)[1:])]
    return table


def _gaps(group: GroupDistances, names: np.ndarray, permutations: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean distances of every algorithm within and to others (2, algorithms), and their permuted differences."""
    pruner = np.searchsorted(names, group.pruners)
    generator = np.random.default_rng(seed)
    compared = group.compared
    distances = group.distances * compared
    member = np.eye(len(names))[pruner]
    own_pairs = np.einsum("na,na->a", member, compared @ member)
    other_pairs = compared.sum(axis=1) @ member - own_pairs
    own_pairs, other_pairs = (np.where(count > 0, count, nan) for count in (own_pairs, other_pairs))
    sums = distances.sum(axis=1)

    def means(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        member = np.eye(len(names))[labels]
        own = np.einsum("...na,...na->...a", member, distances @ member)
        return own / own_pairs, (np.einsum("...na,n->...a", member, sums) - own) / other_pairs

    step = max(1, MOST_NUMBERS // (len(pruner) * len(names)))
    gaps = [np.zeros((0, len(names)))]
    for start in range(0, permutations, step):
        labels = np.tile(pruner, (min(step, permutations - start), 1))
        for value in np.unique(group.seeds):
            of_seed = np.flatnonzero(group.seeds == value)
            labels[:, of_seed] = generator.permuted(labels[:, of_seed], axis=1)
        within, between = means(labels)
        gaps.append(between - within)
    return np.array(means(pruner)), np.concatenate(gaps)


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


def nearest_share(groups: Sequence[GroupDistances]) -> tuple[float, float]:
    """Share of networks whose nearest neighbour is of their own algorithm, and the share expected by chance.

    Counted are the networks with another network of their algorithm to be compared with; ties share the hit.

    Parameters
    ----------
    groups
        Distances of the networks of every group.

    Returns
    -------
    tuple
        The share and that by chance; NaN where no algorithm has two networks in a group.
    """
    hits, chances = [], []
    for group in groups:
        compared, own = group.compared, group.pruners[:, None] == group.pruners
        distances = np.where(compared, group.distances, np.inf)
        nearest = compared & (distances <= distances.min(axis=1, keepdims=True) + 1e-12)
        known = (compared & own).any(axis=1)
        hits += [((nearest & own).sum(1) / np.maximum(nearest.sum(1), 1))[known]]
        chances += [((compared & own).sum(1) / np.maximum(compared.sum(1), 1))[known]]
    if not sum(map(len, hits)):
        return nan, nan
    return float(np.concatenate(hits).mean()), float(np.concatenate(chances).mean())


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
