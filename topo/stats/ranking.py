"""Ranking of pruning algorithms by learned scores, compared with their ranking by accuracy."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from math import nan

import numpy as np
import pandas as pd

from ..errors import InputError
from ..results.schema import GROUPS, PAIR
from .columns import require_rows
from .regression import held_out

__all__ = [
    "another_seed",
    "kendall",
    "past_results",
    "random_order",
    "rank_agreement",
    "rank_biased_overlap",
    "ranking_table",
]


def kendall(first: Sequence[float], second: Sequence[float]) -> float:
    """Kendall's tau-b of two lists of scores; 0 where the scores of one are all equal.

    Parameters
    ----------
    first, second
        Scores of the same items.

    Returns
    -------
    float
        From -1 to 1.

    Examples
    --------
    >>> kendall([1, 2, 3], [3, 2, 1]), kendall([1, 2, 3], [5, 5, 5])
    (-1.0, 0.0)
    """
    if len(first) < 2:
        return nan
    arrays = [np.asarray(scores, dtype=float) for scores in (first, second)]
    signs = [np.sign(scores[:, None] - scores) for scores in arrays]
    untied = (signs[0] ** 2).sum() * (signs[1] ** 2).sum()
    return float((signs[0] * signs[1]).sum() / np.sqrt(untied)) if untied else 0.0


def rank_biased_overlap(first: Sequence, second: Sequence, p: float = 0.8) -> float:
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
    depth = np.arange(1, k + 1)
    agreement = np.cumsum(np.bincount(since, minlength=k)) / depth
    return float(agreement[-1] * p**k + (1 - p) / p * (agreement * p**depth).sum())


def rank_agreement(
    table: pd.DataFrame, score: str, *, truth: str = "drop", by: Sequence[str] = GROUPS, p: float = 0.8
) -> pd.DataFrame:
    """Agreement of a score with the true order of pruners in every group.

    Scores and truth are means over seeds, and smaller is better. Groups with fewer than three pruners that have both
    are left out.

    Parameters
    ----------
    table
        One row a network.
    score, truth
        Columns to compare.
    by
        Columns that form the groups.
    p
        Weight of a depth of the rank-biased overlap relative to the one before.

    Returns
    -------
    DataFrame
        The columns of `by`, pruners (how many), tau (Kendall's tau-b), rbo, best (1 where the pruner put first is the
        best one), regret (true value of the pruner put first less that of the best); a score that is the same for
        all has tau 0 and none of the others.

    Examples
    --------
    >>> table = pd.DataFrame({"dataset": "d", "model": "m", "sparsity": 0.9, "pruner": list("abc")})
    >>> rank_agreement(table.assign(drop=[0.1, 0.2, 0.3], s=[3, 2, 1]), "s")[["tau", "best"]].values.tolist()
    [[-1.0, 0.0]]
    """
    keys = list(by)
    require_rows(table, [*keys, "pruner", score, truth])
    # Sorted by name, so that ties go by it whatever the order of the rows.
    means = table.groupby([*keys, "pruner"], observed=True)[[score, truth]].mean().dropna().reset_index()
    rows = []
    for key, at in means.groupby(keys, sort=True, observed=True).indices.items():
        if len(at) < 3:
            continue
        guessed, true = (means[c].to_numpy()[at] for c in (score, truth))
        top = (nan, nan, nan)
        if np.ptp(guessed):
            guess, right = (np.argsort(v, kind="stable") for v in (guessed, true))
            regret = true[guess[0]] - true.min()
            top = (rank_biased_overlap(guess.tolist(), right.tolist(), p), float(regret == 0), regret)
        rows.append((*(key if isinstance(key, tuple) else (key,)), len(at), kendall(guessed, true), *top))
    return pd.DataFrame(rows, columns=[*keys, "pruners", "tau", "rbo", "best", "regret"])


def past_results(table: pd.DataFrame, by: str, *, target: str = "drop") -> pd.Series:
    """Score without topology: a pruner's mean drop, relative to that of its groups, where the values of `by` differ.

    Parameters
    ----------
    table
        One row a network.
    by
        Column whose value is held out.
    target
        Column with the drop.

    Returns
    -------
    Series
        On the index of `table`.
    """
    relative = table[target] - table.groupby(list(GROUPS))[target].transform("mean")
    total = relative.groupby(table["pruner"]).agg(["sum", "count"]).loc[table["pruner"]].to_numpy()
    own = relative.groupby([table["pruner"], table[by]]).agg(["sum", "count"])
    own = own.loc[pd.MultiIndex.from_arrays([table["pruner"], table[by]])].to_numpy()
    elsewhere = total - own
    return pd.Series(
        np.divide(elsewhere[:, 0], elsewhere[:, 1], out=np.full(len(elsewhere), nan), where=elsewhere[:, 1] > 0),
        table.index,
    )


def another_seed(table: pd.DataFrame, *, truth: str = "drop") -> pd.DataFrame:
    """Agreement of one seed's order with that of the others, an upper bound for scores; empty with one seed.

    Parameters
    ----------
    table
        One row a network.
    truth
        Column with the drop.

    Returns
    -------
    DataFrame
        As of `rank_agreement`.
    """
    seeds = sorted(table["seed"].unique())
    pieces = []
    for one in seeds if len(seeds) > 1 else []:
        alone = table[table["seed"] == one].set_index([*GROUPS, "pruner"])[truth].rename("one").reset_index()
        rest = table[table["seed"] != one].merge(alone, on=[*GROUPS, "pruner"], how="inner")
        pieces.append(rank_agreement(rest, "one", truth=truth))
    return pd.concat(pieces, ignore_index=True) if pieces else pd.DataFrame()


def random_order(table: pd.DataFrame, *, truth: str = "drop", seed: int = 0) -> pd.DataFrame:
    """Agreement of random orders: tau is 0 on average, the overlap is not.

    Parameters
    ----------
    table
        One row a network.
    truth
        Column with the drop.
    seed
        Seeds the orders.

    Returns
    -------
    DataFrame
        As of `rank_agreement`.
    """
    generator = np.random.default_rng(seed)
    means = table.groupby([*GROUPS, "pruner"], observed=True)[truth].mean().reset_index()
    repeats = min(max(1, 8000 // max(len(means), 1)), 50)
    draws = [rank_agreement(means.assign(s=generator.random(len(means))), "s", truth=truth) for _ in range(repeats)]
    return pd.concat(draws, ignore_index=True)


def unseen_pruners(
    table: pd.DataFrame, columns: Sequence[str], *, model: str, target: str = "drop", repeats: int = 6, seed: int = 0
) -> pd.DataFrame:
    """Agreement among pruners that the model did not see: half of them are left out together, several times.

    Leaving out one at a time would compare predictions of different models, and even the training mean would then
    rank: it is low exactly where the pruner left out is bad.

    Parameters
    ----------
    table
        One row a network.
    columns
        Features.
    model
        A regression model.
    target
        Column with the drop.
    repeats
        Number of random halves.
    seed
        Seeds the halves and the models.
    """
    names = np.sort(table["pruner"].unique())
    if len(names) < 6:
        raise InputError(f"ranking unseen pruners needs at least six of them; the table has {len(names)}.")
    generator = np.random.default_rng(seed)
    pieces = []
    for _ in range(repeats):
        half = dict(zip(generator.permutation(names), np.arange(len(names)) % 2, strict=True))
        split = table.assign(half=table["pruner"].map(half))
        predicted = held_out(split, columns, by="half", model=model, target=target, seed=seed)["predicted"]
        agreement = rank_agreement(split.assign(score=predicted), "score", truth=target, by=[*GROUPS, "half"])
        pieces.append(agreement.drop(columns="half"))
    return pd.concat(pieces, ignore_index=True)


def ranking_table(
    table: pd.DataFrame,
    sets: Mapping[str, Sequence[str]],
    *,
    by: Sequence[str] = (*PAIR, "pruner"),
    model: str = "forest",
    target: str = "drop",
    n_boot: int = 500,
    seed: int = 0,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Agreement of the learned score of every feature set with the order of pruners in groups that it has not seen.

    Parameters
    ----------
    table
        One row a network.
    sets
        Feature set -> its columns.
    by
        Columns whose values are held out.
    model
        A regression model.
    target
        Column with the drop.
    n_boot
        Resamples of an interval; 0 leaves it out.
    seed
        Seeds models and resamples.

    Returns
    -------
    summary : DataFrame
        held_out, features, groups, tau, tau_low, tau_high, rbo, best (share of groups in which the best pruner is put
        first), regret, reason. Beside the sets there are ``random``, ``past`` (the pruners' mean drop in the groups
        seen; not for unseen pruners) and ``another seed`` (the most that can be expected). Intervals resample the
        pairs of dataset and model, of which there must be three.
    groups : DataFrame
        What `rank_agreement` gives, with held_out and features.
    """
    rows, groups = [], []
    for hold in by:
        scores: dict[str, Callable[[], pd.DataFrame]] = {
            "random": partial(random_order, table, truth=target, seed=seed)
        }
        if hold != "pruner":
            scores["past"] = partial(_past, table, hold, target)
        for name, columns in sets.items():
            scores[name] = partial(_learned, table, columns, hold, model, target, seed)
        scores["another seed"] = partial(another_seed, table, truth=target)
        for name, agreement in scores.items():
            head = {"held_out": hold, "features": name}
            try:
                each = agreement()
                if each.empty:
                    raise InputError("no group has three pruners with a score and an accuracy")
                rows.append({**head, **_mean_of_groups(each, n_boot, seed), "reason": ""})
                groups.append(each.assign(**head))
            except InputError as error:
                rows.append({**head, "groups": 0, "reason": str(error)})
    order = ["held_out", "features", "groups", "tau", "tau_low", "tau_high", "rbo", "best", "regret", "reason"]
    return pd.DataFrame(rows).reindex(columns=order), pd.concat(groups) if groups else pd.DataFrame()


def _past(table: pd.DataFrame, hold: str, target: str) -> pd.DataFrame:
    if table[hold].nunique() < 2:
        raise InputError(f"the table holds one value of {hold!r}, so there are no other groups to learn from.")
    return rank_agreement(table.assign(score=past_results(table, hold, target=target)), "score", truth=target)


def _learned(
    table: pd.DataFrame, columns: Sequence[str], hold: str, model: str, target: str, seed: int
) -> pd.DataFrame:
    if hold == "pruner":
        return unseen_pruners(table, columns, model=model, target=target, seed=seed)
    predicted = held_out(table, columns, by=hold, model=model, target=target, seed=seed)["predicted"]
    return rank_agreement(table.assign(score=predicted), "score", truth=target)


def _mean_of_groups(groups: pd.DataFrame, n_boot: int, seed: int) -> dict[str, float]:
    """Means over groups, and the interval of tau over resampled pairs of dataset and model."""
    sums = groups.groupby(list(PAIR))["tau"].agg(["sum", "count"]).to_numpy()
    low = high = nan
    if len(sums) >= 3 and n_boot:
        draws = np.random.default_rng(seed).integers(len(sums), size=(n_boot, len(sums)))
        drawn = sums[draws].sum(1)
        low, high = np.quantile(drawn[:, 0] / drawn[:, 1], [0.025, 0.975])
    distinct = len(groups[list(GROUPS)].drop_duplicates())
    means = groups[["tau", "rbo", "best", "regret"]].astype(float).mean()
    return {"groups": distinct, **means, "tau_low": low, "tau_high": high}
