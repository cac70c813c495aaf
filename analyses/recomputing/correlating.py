"""Correlations within groups, tested by permuting the labels of algorithms: written anew, with plain loops."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations

import numpy as np
import pandas as pd
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform
from scipy.stats import rankdata

GROUP = ["dataset", "model", "sparsity"]
DRAWS = 5000
FEWEST = 4


def adjusted(p: np.ndarray) -> np.ndarray:
    """Benjamini and Hochberg's q of every p; missing ones stay missing."""
    q = np.full(len(p), np.nan)
    known = [i for i in np.argsort(p, kind="stable") if np.isfinite(p[i])]
    least = 1.0
    for place in range(len(known), 0, -1):
        least = min(least, p[known[place - 1]] * len(known) / place)
        q[known[place - 1]] = least
    return q


def label_orders(count: int, draws: int = DRAWS, seed: int = 20_001) -> np.ndarray:
    """All permutations of up to seven labels, else random ones; the first changes nothing."""
    if count <= 7:
        return np.array(list(permutations(range(count))))
    generator = np.random.default_rng(seed)
    return np.array([np.arange(count), *(generator.permutation(count) for _ in range(draws))])


def among_present(orders: np.ndarray, present: np.ndarray) -> np.ndarray:
    """The permutations among some labels: one that is absent is skipped in its cycle. Places among the present ones."""
    place = {label: i for i, label in enumerate(present)}
    if len(present) == orders.shape[1]:
        return orders
    result = np.empty((len(orders), len(present)), dtype=int)
    for row, order in enumerate(orders):
        for i, label in enumerate(present):
            taken = order[label]
            while taken not in place:
                taken = order[taken]
            result[row, i] = place[taken]
    return result


@dataclass
class Tested:
    """Of every metric the mean correlation over groups, its p-value, interval, and the correlations by chance."""

    table: pd.DataFrame
    permuted: dict[str, np.ndarray]
    units: int


def tested(
    networks: pd.DataFrame,
    metrics: list[str],
    given: list[str] = [],  # noqa: B006
    scale: str = "rank",
    draws: int = DRAWS,
) -> Tested:
    """Mean over groups of the (partial) correlation of metrics with accuracy across algorithms, by permutation.

    Scale: ranks, ``"value"``, or ``"log"`` of the covariates with values of the others.
    """
    if scale == "log":
        # What a covariate does by its logarithm it does to single networks: the mean over seeds comes afterwards.
        logs = {f"log {name}": np.log(networks[name].astype(float)) for name in given}
        networks, given = networks.assign(**logs), list(logs)
    names = sorted(networks["pruner"].unique())
    orders = label_orders(len(names), draws)
    number = {name: i for i, name in enumerate(names)}
    sums = {m: np.zeros(len(orders)) for m in metrics}
    groups = dict.fromkeys(metrics, 0)
    fewest = max(FEWEST, len(given) + 3 if given else 0)
    known_orders: dict[tuple, np.ndarray] = {}
    for _, group in networks.groupby(GROUP):
        columns = list(dict.fromkeys(["accuracy", *metrics, *given]))
        means = group.groupby("pruner")[columns].mean()
        for metric in metrics:
            here = means[np.isfinite(means[[metric, "accuracy", *given]]).all(axis=1)]
            if len(here) < fewest:
                continue
            present = np.array([number[n] for n in here.index])
            covariates = here[given].to_numpy(float)
            x, y = here[metric].to_numpy(float), here["accuracy"].to_numpy(float)
            if scale == "rank":
                x, y = rankdata(x), rankdata(y)
                covariates = rankdata(covariates, axis=0) if given else covariates
            basis = orthonormal(covariates)
            x, y = x - x.mean(), y - y.mean()
            if not x.any() or not y.any():
                continue
            x, y = x / np.linalg.norm(x), y / np.linalg.norm(y)
            x, y = x - basis @ (basis.T @ x), y - basis @ (basis.T @ y)
            if np.linalg.norm(x) < 1e-5 or np.linalg.norm(y) < 1e-5:
                continue
            x, y = x / np.linalg.norm(x), y / np.linalg.norm(y)
            key = tuple(present)
            if key not in known_orders:
                known_orders[key] = among_present(orders, present)
            drawn = y[known_orders[key]]
            size = np.sqrt(np.maximum(1 - ((drawn @ basis) ** 2).sum(axis=1), 0))
            sums[metric] += np.divide(drawn @ x, size, out=np.zeros(len(orders)), where=size > 1e-9)
            groups[metric] += 1
    rows, permuted = [], {}
    for metric in metrics:
        if not groups[metric]:
            rows.append([metric, 0, np.nan, np.nan, np.nan, np.nan])
            continue
        means = sums[metric] / groups[metric]
        permuted[metric] = means
        p = float((np.abs(means) >= abs(means[0]) - 1e-9).mean())
        rows.append([metric, groups[metric], means[0], p, *interval(means)])
    table = pd.DataFrame(rows, columns=["metric", "groups", "r", "p", "low", "high"]).set_index("metric")
    return Tested(table, permuted, len(names))


def orthonormal(columns: np.ndarray) -> np.ndarray:
    """An orthonormal basis of centred columns."""
    if not columns.shape[1]:
        return np.zeros((len(columns), 0))
    centred = columns - columns.mean(axis=0)
    size = np.linalg.norm(centred, axis=0)
    centred = centred[:, size > 1e-12 * np.abs(columns).max()]
    u, s, _ = np.linalg.svd(centred / np.linalg.norm(centred, axis=0), full_matrices=False)
    return u[:, s > 1e-6]


def reached_by_chance(permuted: np.ndarray, share: float) -> float:
    """The size that a mean correlation has to exceed for a p-value below a share; 1 where none can."""
    sizes = np.sort(np.abs(permuted[1:]))[::-1]
    # The order itself is one of the permutations, and as large as itself.
    reached_by = int(np.ceil(share * len(permuted) - 1e-9)) - 1
    return 1.0 if reached_by < 1 else float(min(sizes[reached_by - 1] + 1e-9, 1.0))


def interval(permuted: np.ndarray) -> tuple[float, float]:
    """The mean correlations that a test at 5% would not reject, with errors on the scale of Fisher's z."""
    critical = reached_by_chance(permuted, 0.05)
    if critical >= 1:
        return -1.0, 1.0
    centre, reach = np.arctanh(np.clip(permuted[0], -1 + 1e-9, 1 - 1e-9)), np.arctanh(critical)
    return float(np.tanh(centre - reach)), float(np.tanh(centre + reach))


def least_found(of: Tested, share: float) -> float:
    """The mean correlation that would have been found with 80% probability at this p-value, the median over metrics."""
    sizes = []
    for permuted in of.permuted.values():
        critical = reached_by_chance(permuted, share)
        spread = np.sqrt((np.arctanh(np.clip(permuted[1:], -1 + 1e-9, 1 - 1e-9)) ** 2).mean())
        sizes.append(np.tanh(np.arctanh(min(critical, 1 - 1e-9)) + 0.8416212 * spread))
    return float(np.median(sizes))


def alike(networks: pd.DataFrame, metrics: list[str], threshold: float = 0.98) -> list[list[str]]:
    """Groups of metrics of which any two have a median rank correlation of at least the threshold within groups."""
    each = [
        group[metrics].astype(float).corr("spearman", min_periods=5).to_numpy() for _, group in networks.groupby(GROUP)
    ]
    with np.errstate(all="ignore"):
        middle = np.abs(np.nanmedian(each, axis=0))
    known = [i for i in range(len(metrics)) if np.isfinite(middle[i, i])]
    distance = np.maximum(1 - np.nan_to_num(middle[np.ix_(known, known)]), 0)
    np.fill_diagonal(distance, 0)
    labels = fcluster(linkage(squareform(distance, checks=False), "complete"), 1 - threshold + 1e-9, "distance")
    groups = [[metrics[k] for k, one in zip(known, labels, strict=True) if one == label] for label in np.unique(labels)]
    return sorted(groups, key=lambda g: (-len(g), metrics.index(g[0])))
