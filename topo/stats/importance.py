"""Importance of metrics in a regression: permutation importance and standardised coefficients over folds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from scipy import stats

from .gains import mean_gain
from .regression import MAX_FOLDS, folds, units_of, with_target
from .significance import q_values

__all__ = ["fold_agreement", "permutation_importance", "standardised_coefficients"]


def permutation_importance(
    table: pd.DataFrame,
    features: Sequence[str],
    *,
    by: str,
    groups: Mapping[str, Sequence[str]] | None = None,
    model: str = "ridge",
    target: str = "drop",
    within: Sequence[str] = (),
    repeats: int = 5,
    max_folds: int = MAX_FOLDS,
    seed: int = 0,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Loss in held-out R2 when values are permuted among the held-out rows of a fold.

    Parameters
    ----------
    table
        One row a network.
    features
        Columns to predict from.
    by
        Column whose values are held out.
    groups
        Name -> columns that are permuted together, which keeps the relations among them. A
        metric that others repeat is worth little alone and much with its group. Every column alone when left out.
    model
        Name of a regression model (`topo.stats.predictors.PREDICTORS`).
    target
        Column that is predicted or correlated with.
    within
        Columns of groups whose means are taken out of features and target.
    repeats
        Permutations of each fold.
    max_folds
        Most folds; more groups than this share folds.
    seed
        Seeds every random choice.

    Returns
    -------
    summary : DataFrame
        One row a group, largest first: name, columns, importance (mean over networks of the loss in squared error
        divided by the variance of the target), low, high, p, q (over algorithms and pairs of dataset and model,
        `topo.stats.gains.mean_gain`; what a model relies on, which need not be why accuracy differs), positive (share
        of folds in which it is above zero), rank (mean over folds, 1 is most important).
    per_fold : DataFrame
        Importance, one row a fold, one column a group.

    Examples
    --------
    >>> from topo.results import example_results
    >>> from topo.results.accuracy_drop import with_drop
    >>> table = with_drop(example_results(seeds=4))[0]
    >>> drops, _ = permutation_importance(table, ["sink_nodes_norm", "spectral_radius"], by="seed")
    >>> drops["name"].tolist()
    ['sink_nodes_norm', 'spectral_radius']
    """
    table = with_target(table, target, [*features, by, *within])
    groups = {c: [c] for c in features} if groups is None else {n: list(c) for n, c in groups.items()}
    generator = np.random.default_rng(seed)
    pieces = []
    for fold in folds(
        table, features, by=by, model=model, target=target, within=within, max_folds=max_folds, seed=seed
    ):
        x, actual = fold.x.iloc[fold.test], fold.y[fold.test]
        error = (fold.predict(x) - actual) ** 2
        orders = [generator.permutation(len(x)) for _ in range(repeats)]
        losses = {}
        for name, columns in groups.items():
            # All repeats at once: one call of a forest costs more than its rows.
            moved = pd.concat([x.assign(**{c: x[c].to_numpy()[order] for c in columns}) for order in orders])
            errors = (fold.predict(moved) - np.tile(actual, repeats)) ** 2
            losses[name] = (errors.reshape(repeats, -1).mean(axis=0) - error) / np.var(fold.y)
        pieces.append(pd.DataFrame(losses, index=table.index[fold.test]).assign(fold=fold.number))
    lost = pd.concat(pieces)
    per_fold = lost.groupby("fold").mean()
    units = table.loc[lost.index].assign(**units_of(table, within)).assign(fold=lost["fold"])
    tests = pd.DataFrame([mean_gain(lost[name].to_numpy(), units) for name in groups])
    summary = pd.DataFrame({"name": list(groups), "columns": [", ".join(c) for c in groups.values()]}).assign(
        importance=tests["difference"],
        low=tests["low"],
        high=tests["high"],
        p=tests["p"],
        q=q_values(tests["p"]),
        positive=(per_fold > 0).mean().to_numpy(),
        rank=per_fold.rank(axis=1, ascending=False).mean().to_numpy(),
    )
    return summary.sort_values("importance", ascending=False, ignore_index=True), per_fold


def fold_agreement(per_fold: pd.DataFrame) -> float:
    """Kendall's coefficient of concordance W of the folds' rankings, from 0 (none) to 1 (the same in every fold).

    Parameters
    ----------
    per_fold
        One row a fold, one column an item: its importance.

    Returns
    -------
    float
        NaN where it is not defined.

    Examples
    --------
    >>> fold_agreement(pd.DataFrame({"a": [3.0, 5.0], "b": [2.0, 1.0], "c": [1.0, 0.5]}))
    1.0
    """
    folds_, items = per_fold.shape
    if folds_ < 2 or items < 2:
        return float("nan")
    ranks = per_fold.rank(axis=1)
    sums = ranks.sum()
    ties = sum(((c**3 - c).sum()) for c in (np.unique(row, return_counts=True)[1] for row in ranks.to_numpy()))
    scale = folds_**2 * (items**3 - items) - folds_ * ties
    return float(12 * ((sums - sums.mean()) ** 2).sum() / scale) if scale else float("nan")


def standardised_coefficients(
    table: pd.DataFrame,
    features: Sequence[str],
    *,
    by: str,
    target: str = "drop",
    within: Sequence[str] = (),
    max_folds: int = MAX_FOLDS,
    seed: int = 0,
) -> pd.DataFrame:
    """Coefficients of the ridge regression, in target's standard deviations a standard deviation of the metric.

    Parameters
    ----------
    table
        One row a network.
    features
        Columns to predict from.
    by
        Column whose values are left out in turn; ``"pruner"`` for an interval with algorithms as the units.
    target
        Column that is predicted or correlated with.
    within
        Columns of groups whose means are taken out of features and target.
    max_folds
        Most folds; more groups than this share folds.
    seed
        Seeds every random choice.

    Returns
    -------
    DataFrame
        metric, coefficient (mean over folds), low, high (95% jackknife interval over the folds), same_sign (whether
        all folds agree), largest first by magnitude.

    Notes
    -----
    The metric is on the ridge regression's scale, a signed logarithm. Among collinear metrics the penalty shares an
    effect out, so read the coefficients of a group together.
    """
    table = with_target(table, target, [*features, by, *within])
    rows = []
    for fold in folds(
        table, features, by=by, model="ridge", target=target, within=within, max_folds=max_folds, seed=seed
    ):
        rows.append(fold.fitted[-1].coef_ / fold.y[fold.train].std())
    by_fold = pd.DataFrame(rows, columns=list(features))
    k = len(by_fold)
    half = stats.t.ppf(0.975, k - 1) * np.sqrt((k - 1) / k * ((by_fold - by_fold.mean()) ** 2).sum())
    summary = pd.DataFrame(
        {
            "metric": list(features),
            "coefficient": by_fold.mean().to_numpy(),
            "low": (by_fold.mean() - half).to_numpy(),
            "high": (by_fold.mean() + half).to_numpy(),
            "same_sign": (np.sign(by_fold).abs().sum() == np.sign(by_fold).sum().abs()).to_numpy(),
        }
    )
    order = summary["coefficient"].abs().sort_values(ascending=False, kind="stable").index
    return summary.loc[order].reset_index(drop=True)
