"""A score that learns to rank: the rank of a pruner's accuracy in its group from metrics relative to the group's."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import sparse
from sklearn import config_context
from sklearn.kernel_ridge import KernelRidge
from sklearn.tree import ExtraTreeRegressor
from sklearn.utils import check_random_state

from ..errors import InputError
from ..results.labels import column_in_words
from ..results.schema import GROUPS
from .columns import listed_columns, require_rows
from .predictors import SignedLog

__all__ = ["group_means", "predicted_ranks", "rank_features", "rank_model", "relative_ranks", "shared_paths"]

TREES = 300
LEAST_ROWS_IN_LEAF = 3
# Weight of the squared norm beside the squared errors.
PENALTY = 1.0
# Keeps the similarities of equal rows positive definite.
ROUNDING = 1e-9
# Kernel ridge regression solves a system of this many equations at most.
MOST_TRAINING_ROWS = 1500


def relative_ranks(values: pd.DataFrame | pd.Series, groups: Sequence[pd.Series]) -> pd.DataFrame | pd.Series:
    """Ranks within groups between -1/2 (smallest) and 1/2, ties at their mean; missing values stay missing.

    The i-th smallest of n values becomes (i - 1/2) / n - 1/2, so groups of any size have the mean 0.

    Parameters
    ----------
    values
        Columns to rank.
    groups
        Columns that form the groups, on the same index.

    Returns
    -------
    DataFrame or Series
        As `values`.

    Examples
    --------
    >>> relative_ranks(pd.Series([3.0, 1.0, 9.0, 5.0]), [pd.Series(["a", "a", "b", "b"])]).tolist()
    [0.25, -0.25, 0.25, -0.25]
    """
    grouped = values.groupby(list(groups), observed=True)
    return (grouped.rank() - 0.5) / grouped.transform("count") - 0.5


def group_means(table: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """Means over seeds: one row a group (dataset, model, sparsity) and pruner, sorted by these.

    Parameters
    ----------
    table
        One row a network.
    columns
        Numeric columns; infinite values count as missing.

    Returns
    -------
    DataFrame
        dataset, model, sparsity, pruner, family, and the columns.

    Raises
    ------
    InputError
        The table is empty or lacks a column.
    """
    names = [*GROUPS, "pruner", "family"]
    columns = list(dict.fromkeys(columns))
    require_rows(table, [*names, *columns])
    numbers = table[columns].astype(float).replace([np.inf, -np.inf], np.nan)
    return pd.concat([table[names], numbers], axis=1).groupby(names, observed=True)[columns].mean().reset_index()


def rank_features(means: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """What the score reads of every metric: its logarithm less the group's mean, and its rank in the group.

    Both say how a mask differs from those of the other pruners at the same dataset, model and sparsity, so what was
    learned of small networks can be applied to large ones. Sparsity and model come along, as far as they vary: the same
    difference may mean something else there. Missing values are put in the middle of their group.

    Parameters
    ----------
    means
        One row a group and pruner, as from `group_means`; all pruners whose masks are known, with accuracy or without.
    columns
        Metrics.

    Returns
    -------
    DataFrame
        Without gaps, on the index of `means`.

    Examples
    --------
    >>> means = pd.DataFrame({"dataset": "d", "model": "m", "sparsity": 0.9, "edges": [10.0, 20.0, 20.0]})
    >>> rank_features(means, ["edges"]).round(3).values.tolist()
    [[-0.404, -0.333], [0.202, 0.167], [0.202, 0.167]]
    """
    groups = [means[name] for name in GROUPS]
    values = means[list(columns)].astype(float)
    logs = pd.DataFrame(SignedLog().fit_transform(values), means.index, values.columns)
    pieces = [logs - logs.groupby(groups, observed=True).transform("mean"), relative_ranks(values, groups)]
    if len(means["sparsity"].unique()) > 1:
        pieces.append(np.log1p(-means["sparsity"].clip(upper=1 - 1e-6)))
    if len(means["model"].unique()) > 1:
        pieces.append(pd.get_dummies(means["model"], dtype=float))
    features = pd.concat(pieces, axis=1).fillna(0.0)
    return features.set_axis([f"x{i}" for i in range(features.shape[1])], axis=1)


def shared_paths(features: pd.DataFrame) -> np.ndarray:
    """Coordinates of rows whose inner products say how long two rows stay together in totally random trees.

    A row passes nodes from the root of a tree to a leaf; the similarity of two rows is the number of nodes that both
    pass, over all trees, divided by the mean number that a row passes. Unlike distances, it does not depend on the
    scale of a feature. The trees split at random and see no result, so those that are to be ranked are among the rows
    that the trees are grown on.

    Parameters
    ----------
    features
        Without gaps, as from `rank_features`.

    Returns
    -------
    array
        Shape (rows, rows): the Cholesky factor of the similarities.

    References
    ----------
    Geurts, Ernst & Wehenkel, *Extremely randomized trees*, Machine Learning 63, 2006: totally random trees, and the
    kernel of an ensemble of trees (there of leaves alone).

    Examples
    --------
    >>> x = shared_paths(pd.DataFrame({"x": [0.0, 0.1, 0.2, 5.0, 5.1, 5.2]}))
    >>> alike = x @ x.T
    >>> bool(alike[0, 1] > 0.9 > 0.6 > alike[0, 3])
    True
    """
    passed = sparse.hstack(_paths(features.to_numpy(np.float32, copy=True)), format="csr").astype(float)
    alike = (passed @ passed.T).toarray() / passed.sum(axis=1).mean()
    return np.linalg.cholesky(alike + ROUNDING * np.eye(len(alike)))


def _paths(x: np.ndarray) -> list[sparse.csr_matrix]:
    """Which nodes of every tree a row passes: what `sklearn.ensemble.RandomTreesEmbedding` grows, without its wrapping.

    The wrapping takes several times as long as the growing where rows are few.
    """
    noise = check_random_state(0).uniform(size=len(x))
    draw = check_random_state(0)
    paths = []
    with config_context(skip_parameter_validation=True):
        for _ in range(TREES):
            seed = draw.randint(np.iinfo(np.int32).max)
            tree = ExtraTreeRegressor(min_samples_leaf=LEAST_ROWS_IN_LEAF, max_features=1, random_state=seed)
            paths.append(tree.fit(x, noise, check_input=False).tree_.decision_path(x))
    return paths


def rank_model() -> KernelRidge:
    """The unfitted score: ridge regression on `shared_paths`.

    Returns
    -------
    KernelRidge
        Of scikit-learn. Its predictions are linear in the target, and it takes several targets at once, so that a
        permutation test can fit it anew to every permutation.
    """
    return KernelRidge(alpha=PENALTY)


def training_rows(codes: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Positions of the rows to learn from: the known ones, or of too many those of groups drawn at random.

    Parameters
    ----------
    codes
        Number of every row's group.
    known
        Which rows have a target.
    """
    rows = np.flatnonzero(known)
    if len(rows) <= MOST_TRAINING_ROWS:
        return rows
    order = np.random.default_rng(0).permutation(codes.max() + 1)
    rows = rows[np.argsort(order[codes[rows]], kind="stable")]
    return np.sort(rows[:MOST_TRAINING_ROWS])


def predicted_ranks(table: pd.DataFrame, columns: Sequence[str], *, target: str = "drop") -> pd.DataFrame:
    """Rank the pruners whose result is not known, by what is learned from those whose result is.

    The target is the rank of the mean drop in its group (`relative_ranks`), the features are the `shared_paths` of
    `rank_features`, the model is `rank_model`. In a group that is known in part, only the known pruners are ranked for
    learning.

    Parameters
    ----------
    table
        One row a network, among them those to rank, which have no `target`.
    columns
        Metrics. Before anything is trained, take those of masks alone
        (`topo.results.feature_sets.mask_only_set`).
    target
        Column with the drop of accuracy; smaller is better.

    Returns
    -------
    DataFrame
        dataset, model, sparsity, pruner, family and predicted (relative rank; the smallest is expected to be the best
        of its group), for every group and pruner without a target.

    Raises
    ------
    InputError
        A column is missing, no row or every row has a target, or no group has two of them.

    Notes
    -----
    Between the two published CIFAR datasets tau is .55 for eleven pruners. What they did elsewhere ranks them better
    there (.65), so ask `topo.stats.ranking.ranking_table` for the baselines too.

    Examples
    --------
    Which pruner will do best on a model that none has been trained on yet?

    >>> from topo.results import example_results
    >>> from topo.results.accuracy_drop import with_drop
    >>> known = with_drop(example_results(seeds=3))[0]
    >>> new = known.assign(model="another", drop=np.nan)
    >>> ranked = predicted_ranks(pd.concat([known, new]), ["sink_nodes_norm", "k_core_norm"])
    >>> ranked.sort_values("predicted")["pruner"].iloc[0]
    'uniform'
    """
    listed_columns(columns=columns)
    means = group_means(table, [target, *columns])
    known = means[target].notna().to_numpy()
    groups = [means[name] for name in GROUPS]
    ranks = relative_ranks(means[target], groups)
    if not ranks.abs().gt(0).any():
        what = column_in_words(target)
        raise InputError(f"no group has two pruners whose {what} is known, so there is no order to learn.")
    if known.all():
        raise InputError(f"the {column_in_words(target)} of every pruner is known, so there is none to rank.")
    x = shared_paths(rank_features(means, columns))
    rows = training_rows(means.groupby(list(GROUPS), observed=True).ngroup().to_numpy(), known)
    new = means.loc[~known, [*GROUPS, "pruner", "family"]]
    predicted = rank_model().fit(x[rows], ranks.to_numpy()[rows]).predict(x[~known])
    return new.assign(predicted=predicted).reset_index(drop=True)
