"""Which kinds of network lie close together: distances within and between algorithms, put to a permutation test.

Networks of one seed start from the same weights and often from the same random draws, whatever the algorithm. So
distances are taken between networks of different seeds, within and between algorithms alike; where a cell has one seed
only, between all networks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import nan

import numpy as np
import pandas as pd
from sklearn.manifold import smacof

from ..stats.discovery import q_values

__all__ = ["Cell", "between_algorithms", "embedded", "nearest_share", "seed_effect", "within_algorithms"]

MOST = 4_000_000


@dataclass(frozen=True, eq=False)
class Cell:
    """Networks of equal dataset, model and sparsity, and the distances between all pairs of them.

    `chance` are the distances of networks with as many connections in every layer at random places, where known.
    """

    dataset: str
    model: str
    sparsity: float
    networks: pd.DataFrame
    distances: np.ndarray
    chance: np.ndarray | None = None

    @property
    def pruners(self) -> np.ndarray:
        return self.networks["pruner"].to_numpy(str)

    @property
    def seeds(self) -> np.ndarray:
        return self.networks["seed"].to_numpy()

    @property
    def compared(self) -> np.ndarray:
        """Which pairs count, bool (networks, networks): those of different seeds, where there are several."""
        apart = self.seeds[:, None] != self.seeds
        return apart if apart.any() else ~np.eye(len(apart), dtype=bool)

    @property
    def place(self) -> dict[str, object]:
        return {"dataset": self.dataset, "model": self.model, "sparsity": self.sparsity}


def between_algorithms(cells: Sequence[Cell]) -> pd.DataFrame:
    """Mean distance between the networks of every two algorithms, and of each among its own seeds, over cells.

    Returns
    -------
    DataFrame
        pruner, other, distance (mean over cells of the mean over pairs of networks), chance (the same of shuffled
        networks, where known), cells, pairs. Both orders of two algorithms are there.
    """
    rows = []
    for cell in cells:
        names, place = np.unique(cell.pruners, return_inverse=True)
        one, counted = np.eye(len(names))[place], cell.compared
        pairs = one.T @ counted @ one
        chance = np.full_like(cell.distances, nan) if cell.chance is None else cell.chance
        means = [one.T @ (d * counted) @ one / np.where(pairs > 0, pairs, nan) for d in (cell.distances, chance)]
        for i, j in zip(*np.nonzero(pairs), strict=True):
            rows.append((names[i], names[j], means[0][i, j], means[1][i, j], int(pairs[i, j] / (1 + (i == j)))))
    each = pd.DataFrame(rows, columns=["pruner", "other", "distance", "chance", "pairs"])
    grouped = each.groupby(["pruner", "other"], sort=True)
    return grouped.agg(
        distance=("distance", "mean"), chance=("chance", "mean"), cells=("pairs", "size"), pairs=("pairs", "sum")
    ).reset_index()


def within_algorithms(cells: Sequence[Cell], *, permutations: int = 999, seed: int = 0) -> pd.DataFrame:
    """Whether networks of one algorithm lie closer together than to those of the others, and by how much.

    The test statistic is the mean distance to the other algorithms less that among its own seeds, over cells; for its
    distribution under no difference the algorithms of a cell are dealt at random to its networks of each seed.

    Returns
    -------
    DataFrame
        One row an algorithm and, first, one for all (``"all"``): within, between, ratio (within / between), cells,
        p (one-sided), q (Benjamini-Hochberg over the algorithms). NaN where no cell holds two networks of it.
    """
    names = np.unique(np.concatenate([cell.pruners for cell in cells]))
    found, deals = zip(*(_gaps(cell, names, permutations, seed + i) for i, cell in enumerate(cells)), strict=True)
    within, between = np.array(found).transpose(1, 0, 2)
    dealt = np.array(deals)
    rows = []
    for name, columns in [("all", [*range(len(names))]), *((n, [i]) for i, n in enumerate(names))]:
        mine = np.isfinite(within[:, columns] + between[:, columns])
        if not mine.any():
            rows.append((name, nan, nan, nan, 0, nan))
            continue
        inside, outside = (np.mean(v[:, columns], where=mine) for v in (within, between))
        gaps = np.mean(dealt[:, :, columns], axis=(0, 2), where=mine[:, None]) if permutations else np.array([])
        p = (1 + np.sum(gaps >= outside - inside - 1e-12)) / (1 + permutations) if permutations else nan
        rows.append((name, inside, outside, inside / outside if outside else nan, int(mine.any(axis=1).sum()), p))
    table = pd.DataFrame(rows, columns=["pruner", "within", "between", "ratio", "cells", "p"])
    table["q"] = [nan, *q_values(table["p"].to_numpy(float)[1:])]
    return table


def _gaps(cell: Cell, names: np.ndarray, permutations: int, seed: int):
    """Mean distances within and to others of every algorithm, (2, algorithms), and their difference when dealt."""
    place = np.searchsorted(names, cell.pruners)
    generator = np.random.default_rng(seed)
    counted = cell.compared
    distances = cell.distances * counted
    one = np.eye(len(names))[place]
    inner = np.einsum("na,na->a", one, counted @ one)
    outer = counted.sum(axis=1) @ one - inner
    inner, outer = (np.where(c > 0, c, nan) for c in (inner, outer))
    sums = distances.sum(axis=1)

    def means(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        one = np.eye(len(names))[labels]
        own = np.einsum("...na,...na->...a", one, distances @ one)
        return own / inner, (np.einsum("...na,n->...a", one, sums) - own) / outer

    step = max(1, MOST // (len(place) * len(names)))
    dealt = [np.zeros((0, len(names)))]
    for at in range(0, permutations, step):
        orders = np.tile(place, (min(step, permutations - at), 1))
        for one_seed in np.unique(cell.seeds):
            here = np.flatnonzero(cell.seeds == one_seed)
            orders[:, here] = generator.permuted(orders[:, here], axis=1)
        within, between = means(orders)
        dealt.append(between - within)
    return np.array(means(place)), np.concatenate(dealt)


def seed_effect(cells: Sequence[Cell]) -> tuple[float, float]:
    """Mean distance between different algorithms of equal and of different seeds, over cells that have both."""
    found = []
    for cell in cells:
        other = cell.pruners[:, None] != cell.pruners
        same = cell.seeds[:, None] == cell.seeds
        if (other & same).any() and (other & ~same).any():
            found.append((cell.distances[other & same].mean(), cell.distances[other & ~same].mean()))
    return tuple(np.mean(found, axis=0).tolist()) if found else (nan, nan)


def nearest_share(cells: Sequence[Cell]) -> tuple[float, float]:
    """Share of networks whose nearest neighbour is of their own algorithm, and what chance gives; of those that have
    another network of their algorithm to be compared with. Ties share the hit."""
    hits, chances = [], []
    for cell in cells:
        counted, own = cell.compared, cell.pruners[:, None] == cell.pruners
        apart = np.where(counted, cell.distances, np.inf)
        nearest = counted & (apart <= apart.min(axis=1, keepdims=True) + 1e-12)
        known = (counted & own).any(axis=1)
        hits += [((nearest & own).sum(1) / np.maximum(nearest.sum(1), 1))[known]]
        chances += [((counted & own).sum(1) / np.maximum(counted.sum(1), 1))[known]]
    if not sum(map(len, hits)):
        return nan, nan
    return float(np.concatenate(hits).mean()), float(np.concatenate(chances).mean())


def embedded(distances: np.ndarray) -> tuple[np.ndarray, float]:
    """Places in the plane whose distances come near those given, and Kruskal's stress-1.

    Stress majorisation (SMACOF) from classical scaling, so that nothing is drawn at random. Stress is
    ``sqrt(sum (d - d')^2 / sum d^2)``: about .2 and more is a poor map.

    Examples
    --------
    >>> square = np.array([[0.0, 0], [1, 0], [1, 1], [0, 1]])
    >>> places, stress = embedded(np.linalg.norm(square[:, None] - square, axis=2))
    >>> places.shape, bool(stress < 1e-6)
    ((4, 2), True)
    """
    n = len(distances)
    if not distances.any():
        return np.zeros((n, 2)), 0.0
    centred = np.eye(n) - 1 / n
    values, vectors = np.linalg.eigh(-centred @ distances**2 @ centred / 2)
    start = vectors[:, ::-1][:, :2] * np.sqrt(np.maximum(values[::-1][:2], 0))
    start = np.pad(start, ((0, 0), (0, 2 - start.shape[1])))
    places, _ = smacof(distances, n_components=2, init=start, n_init=1, max_iter=500, eps=1e-9, normalized_stress=False)
    shown = np.linalg.norm(places[:, None] - places, axis=2)
    return places, float(np.sqrt(np.sum((shown - distances) ** 2) / np.sum(distances**2)))
