"""Ranking of pruning algorithms by scores that have not seen what they rank, compared with the order by accuracy."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from math import asin, nan, pi, sin, sqrt

import numpy as np
import pandas as pd

from ..errors import InputError
from ..results.schema import GROUPS, PAIR
from .baselines import CELLS
from .columns import require_rows
from .held_out_orders import Rankings
from .pair_orders import PairOrders, detectable, mean_with_interval, pair_signs
from .predictors import CellMeans
from .rank_score import rank_model
from .significance import with_q_values

__all__ = ["RANDOM", "perfect_tau", "rank_agreement", "rank_biased_overlap", "ranking_differences", "ranking_table"]

# Weight of a depth of the rank-biased overlap relative to the one before.
PERSISTENCE = 0.8
RANDOM = "random"
# Baselines that name what was run and know no mask: past results of the algorithm or of its family.
PAST = tuple(name for name, columns in CELLS.items() if {"pruner", "family"} & set(columns))


def rank_biased_overlap(first: Sequence, second: Sequence, p: float = PERSISTENCE) -> float:
    """Extrapolated rank-biased overlap of two rankings of the same items, best first.

    With A(d) the share of items that the first d of both have in common and k the length,

        RBO = A(k) p^k + (1 - p) / p * sum_{d=1..k} A(d) p^d,

    which is 1 for equal rankings and gives the top the largest weight: depth d has the weight p^(d-1).

    Parameters
    ----------
    first, second
        The items, best first.
    p
        Weight of a depth relative to the one before, in (0, 1).

    Returns
    -------
    float
        From 0 to 1.

    Raises
    ------
    InputError
        The rankings repeat an item or do not hold the same items, or p is not between 0 and 1.

    References
    ----------
    Webber, Moffat & Zobel, *A similarity measure for indefinite rankings*, ACM TOIS 28, 2010 (the extrapolated form for
    rankings of one length).

    Examples
    --------
    >>> rank_biased_overlap("abc", "abc"), round(rank_biased_overlap("abc", "acb", p=0.5), 3)
    (1.0, 0.875)
    """
    first, second = list(first), list(second)
    if not 0 < p < 1:
        raise InputError(f"p must lie between 0 and 1; got {p}.")
    if len(set(first)) < len(first) or set(first) != set(second) or len(first) != len(second) or not first:
        raise InputError("rank-biased overlap needs two rankings of the same items, each named once.")
    k = len(first)
    place = {item: d for d, item in enumerate(second)}
    # Both prefixes hold an item from the later of its two positions on.
    since = np.maximum(np.arange(k), [place[item] for item in first])
    return _extrapolated(np.cumsum(np.bincount(since, minlength=k)) / np.arange(1, k + 1), p)


def _extrapolated(agreement: np.ndarray, p: float) -> float:
    """The overlap from the agreement at every depth."""
    depth = np.arange(1, len(agreement) + 1)
    return float(agreement[-1] * p ** len(agreement) + (1 - p) / p * (agreement * p**depth).sum())


def rank_agreement(table: pd.DataFrame, score: str, *, truth: str = "drop") -> pd.DataFrame:
    """Agreement of a score with the true order of pruners in every group of one dataset, model and sparsity.

    Scores and truth are means over seeds, and smaller is better. Groups with fewer than three pruners that have both
    are left out.

    Parameters
    ----------
    table
        One row a network, with its family.
    score, truth
        Columns to compare.

    Returns
    -------
    DataFrame
        dataset, model, sparsity, pruners (how many), tau (Kendall's tau-b; 0 for a score that is the same for all),
        right (share of pairs in the right order, ties as a half), rbo (`rank_biased_overlap`, p = .8), best (1 where
        the pruner put first is the best one), regret (true value of the pruner put first less that of the best). A
        score that is the same for all has none of the last three.

    Raises
    ------
    InputError
        A column is missing, or no group has three pruners.

    Examples
    --------
    >>> table = pd.DataFrame({"dataset": "d", "model": "m", "sparsity": 0.9, "pruner": list("abc"), "family": "f"})
    >>> rank_agreement(table.assign(drop=[0.1, 0.2, 0.3], s=[3, 2, 1]), "s")[["tau", "right", "best"]].values.tolist()
    [[-1.0, 0.0, 0.0]]
    """
    require_rows(table, [*GROUPS, "pruner", "family", score, truth])
    both = table.dropna(subset=[score, truth])
    rankings = Rankings.of(both, [score], target=truth)
    scores = rankings.spread(rankings.means[score].to_numpy(float))
    return _of_groups(rankings, _orders(rankings, pair_signs(scores)), scores)


def _orders(rankings: Rankings, signs: np.ndarray, pairs: Sequence[tuple[int, int]] | None = None) -> PairOrders:
    known = np.isfinite(rankings.truth)
    asked = known[:, :, None] & known[:, None, :] & ~np.eye(len(rankings.names), dtype=bool)
    if pairs is not None:
        chosen = np.zeros(asked.shape[1:], dtype=bool)
        chosen[tuple(np.transpose(pairs))] = True
        asked &= chosen | chosen.T
    return PairOrders(signs, pair_signs(rankings.truth), asked, rankings.settings)


def _of_groups(rankings: Rankings, orders: PairOrders, scores: np.ndarray | None) -> pd.DataFrame:
    """Agreement in every group; without scores of single pruners there is no pruner that is put first."""
    pruners = np.isfinite(rankings.truth).sum(axis=1)
    table = rankings.groups.assign(pruners=pruners, tau=orders.tau(), right=orders.right())
    top = np.full((len(table), 3), nan)
    for i, guessed in enumerate([] if scores is None else scores):
        known = np.isfinite(rankings.truth[i])
        guessed, true = guessed[known], rankings.truth[i, known]
        if np.ptp(guessed):
            # Pruners are sorted by name, so that ties go by it.
            guess, right = (np.argsort(values, kind="stable") for values in (guessed, true))
            regret = true[guess[0]] - true.min()
            top[i] = rank_biased_overlap(guess.tolist(), right.tolist()), float(regret == 0), regret
    return table.assign(rbo=top[:, 0], best=top[:, 1], regret=top[:, 2])


def _random_order(rankings: Rankings) -> pd.DataFrame:
    """What random orders have on average in every group."""
    pruners = np.isfinite(rankings.truth).sum(axis=1)
    return rankings.groups.assign(
        pruners=pruners,
        tau=0.0,
        right=0.5,
        rbo=[_extrapolated(np.arange(1, k + 1) / k, PERSISTENCE) for k in pruners],
        best=1 / pruners,
        regret=np.nanmean(rankings.truth, axis=1) - np.nanmin(rankings.truth, axis=1),
    )


def perfect_tau(table: pd.DataFrame, *, truth: str = "drop") -> float:
    """Mean tau that a perfect score is expected to have: less than 1, for means over few seeds are not the truth.

    The orders of two single seeds agree with a tau, averaged over groups and pairs of seeds, that says how reliable one
    seed is: for normal variables with the correlation r Kendall's tau is 2/pi arcsin r. The mean of k seeds has the
    reliability k r / (1 + (k - 1) r) (Spearman and Brown), and its correlation with the truth is the root of that.

    Parameters
    ----------
    table
        One row a network.
    truth
        Column with the drop.

    Returns
    -------
    float
        NaN where no group has three pruners in two seeds.

    Examples
    --------
    Two seeds that agree in two of three pairs:

    >>> table = pd.DataFrame({"dataset": "d", "model": "m", "sparsity": 0.9, "pruner": list("abcabc")})
    >>> round(perfect_tau(table.assign(seed=[0] * 3 + [1] * 3, drop=[1, 2, 3, 2, 1, 3])), 2)
    0.61
    """
    require_rows(table, [*GROUPS, "pruner", "seed", truth])
    seeds = table.pivot_table(truth, [*GROUPS, "pruner"], "seed", observed=True)
    taus, counts = [], []
    for _, group in seeds.groupby(list(GROUPS), observed=True):
        values = group.to_numpy(float)
        counts.append(np.isfinite(values).sum(axis=1).mean())
        signs = pair_signs(values.T)
        agreements = []
        for i in range(len(signs)):
            for j in range(i):
                both = np.isfinite(values[:, [i, j]]).all(axis=1)
                if both.sum() >= 3:
                    one, other = (signs[k][np.ix_(both, both)].astype(float) for k in (i, j))
                    untied = (one**2).sum() * (other**2).sum()
                    agreements.append((one * other).sum() / sqrt(untied) if untied else 0.0)
        if agreements:
            taus.append(np.mean(agreements))
    if not taus:
        return nan
    one_seed, k = max(sin(pi / 2 * float(np.mean(taus))), 0.0), float(np.mean(counts))
    return 2 / pi * asin(min(sqrt(k * one_seed / (1 + (k - 1) * one_seed)), 1.0))


def _past_columns(rankings: Rankings, hold: str) -> dict[str, list[str]]:
    """Those baselines of past results that differ from each other when values of `hold` are left out."""
    sets: dict[str, list[str]] = {}
    for name in PAST:
        columns = [c for c in CELLS[name] if len(rankings.means[c].unique()) > 1 and c != hold]
        names_something = {"pruner", "family"} & set(columns)
        if names_something and not (hold == "pruner" and "pruner" in CELLS[name]) and columns not in sets.values():
            sets[name] = columns
    return sets


def ranking_table(
    table: pd.DataFrame,
    sets: Mapping[str, Sequence[str]],
    *,
    by: Sequence[str] = (*PAIR, "pruner"),
    target: str = "drop",
    seed: int = 0,
) -> tuple[pd.DataFrame, pd.DataFrame, dict[tuple[str, str], PairOrders]]:
    """Agreement of scores with the order of pruners in groups, or among pruners, that they have not seen.

    Parameters
    ----------
    table
        One row a network, with its family.
    sets
        Feature set -> its columns; each is learned as `topo.stats.rank_score.predicted_ranks` does.
    by
        What is left out whole: ``"dataset"``, ``"model"``, or ``"pruner"`` (pairs of them, ordered by a model that has
        seen neither).
    target
        Column with the drop.
    seed
        Seeds the choice of pairs where there are very many.

    Returns
    -------
    summary : DataFrame
        held_out, features, groups, tau, tau_low, tau_high (`topo.stats.pair_orders.mean_with_interval`), right, rbo,
        best, regret, as of `rank_agreement` and averaged over groups, and reason (why a row is empty). Beside the sets
        there are ``random``, and the baselines of `topo.stats.baselines.CELLS` that hold the algorithm or its family:
        the mean rank of the networks that were seen. Pairs of unseen pruners give no order of all, so neither overlap
        nor best nor regret.
    groups : DataFrame
        The same in every group.
    orders : dict
        (held_out, features) -> `topo.stats.pair_orders.PairOrders`, for `ranking_differences`.
    """
    columns = [c for names in sets.values() for c in names]
    rankings = Rankings.of(table, columns, target=target)
    features = {name: rankings.features(names) for name, names in sets.items()}
    rows, groups, kept = [], [], {}
    for hold in by:
        scores: dict[str, Callable[[], tuple[pd.DataFrame, PairOrders]]] = {}
        for name, cells in _past_columns(rankings, hold).items():
            scores[name] = partial(_held_out, rankings, rankings.means[cells], CellMeans(), hold, seed)
        for name, x in features.items():
            scores[name] = partial(_held_out, rankings, x, rank_model(), hold, seed)
        each = _random_order(rankings)
        head = {"held_out": hold, "features": RANDOM}
        groups.append(each.assign(**head))
        rows.append({**head, **_means(each), "reason": ""})
        for name, score in scores.items():
            head = {"held_out": hold, "features": name}
            try:
                each, orders = score()
            except InputError as error:
                rows.append({**head, "groups": 0, "reason": str(error)})
                continue
            kept[hold, name] = orders
            interval = mean_with_interval(orders)
            rows.append(
                {**head, **_means(each), "tau_low": interval["low"], "tau_high": interval["high"], "reason": ""}
            )
            groups.append(each.assign(**head))
    order = ["held_out", "features", "groups", "tau", "tau_low", "tau_high", "right", "rbo", "best", "regret", "reason"]
    return pd.DataFrame(rows).reindex(columns=order), pd.concat(groups, ignore_index=True), kept


def _held_out(rankings: Rankings, x: object, model: object, hold: str, seed: int) -> tuple[pd.DataFrame, PairOrders]:
    if hold == "pruner":
        differences = rankings.unseen_pairs(x, model, seed=seed)
        orders = _orders(rankings, np.sign(np.nan_to_num(differences)).astype(np.int8), rankings.pairs(seed))
        return _of_groups(rankings, orders, None), orders
    scores = rankings.unseen_values(x, model, hold)
    orders = _orders(rankings, pair_signs(scores))
    return _of_groups(rankings, orders, scores), orders


def _means(groups: pd.DataFrame) -> dict[str, float]:
    return {"groups": len(groups), **groups[["tau", "right", "rbo", "best", "regret"]].mean()}


def ranking_differences(
    summary: pd.DataFrame,
    orders: Mapping[tuple[str, str], PairOrders],
    baselines: Sequence[str],
    *,
    level: float = 0.95,
) -> pd.DataFrame:
    """Tau of every score less that of the best baseline for the same groups left out.

    Parameters
    ----------
    summary, orders
        What `ranking_table` returned.
    baselines
        Names of scores that count as baselines, beside ``random``, whose tau is zero.
    level
        Coverage of the interval.

    Returns
    -------
    DataFrame
        held_out, features, baseline (the one with the largest tau), difference, low, high, p, q (over all rows), and
        detectable (the difference that would be told from zero with a probability of 80%).
    """
    rows = []
    for (hold, name), of in orders.items():
        if name in baselines:
            continue
        here = summary[(summary["held_out"] == hold) & summary["features"].isin([RANDOM, *baselines])]
        best = here.dropna(subset=["tau"]).sort_values("tau", kind="stable", ascending=False)["features"].iloc[0]
        gain = mean_with_interval(of, orders.get((hold, best)), level=level)
        rows.append(
            {
                "held_out": hold,
                "features": name,
                "baseline": best,
                "difference": gain["mean"],
                **{key: gain[key] for key in ("low", "high", "p")},
                "detectable": detectable(gain["error"], gain["df"], level=level),
            }
        )
    columns = ["held_out", "features", "baseline", "difference", "low", "high", "p", "detectable"]
    return with_q_values(pd.DataFrame(rows, columns=columns))
