"""Orders of pruners by scores that have not seen what they order: learned from metrics, or known from past results."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from ..errors import InputError, counted
from ..results.labels import column_in_words
from ..results.schema import GROUPS, PAIR
from .label_permutations import LabelOrders
from .rank_score import group_means, rank_features, rank_model, shared_paths, training_rows

__all__ = ["Rankings"]

# Fewer pruners in a group are no ranking.
FEWEST_PRUNERS = 3
# Ranking unseen pruners leaves two of them out at a time and has to learn from four.
FEWEST_UNSEEN = 6
MOST_PAIRS = 100
SAME = 1e-9
DECIMALS = 9
# Numbers held at once: more permutations are taken in pieces.
MOST_NUMBERS = 2_000_000


@dataclass(frozen=True)
class Rankings:
    """Pruners of groups (dataset, model, sparsity), their mean results and metrics.

    Attributes
    ----------
    means
        One row a group and pruner, as from `topo.stats.rank_score.group_means`; groups of at least three pruners.
    target
        Column with the drop of accuracy; smaller is better.

    Examples
    --------
    >>> from topo.results import example_results
    >>> from topo.results.accuracy_drop import with_drop
    >>> rankings = Rankings.of(with_drop(example_results(seeds=3))[0], ["sink_nodes_norm"])
    >>> rankings.truth.shape
    (3, 8)
    """

    means: pd.DataFrame
    target: str

    @classmethod
    def of(cls, table: pd.DataFrame, columns: Sequence[str], *, target: str = "drop") -> Rankings:
        """The rankings of a table of networks.

        Parameters
        ----------
        table
            One row a network.
        columns
            All metrics that scores are to read.
        target
            Column with the drop of accuracy.

        Raises
        ------
        InputError
            A column is missing, no group has three pruners with a result, or these are equal in every group.
        """
        means = group_means(table, [target, *columns]).dropna(subset=[target])
        means = means[means.groupby(list(GROUPS), observed=True)["pruner"].transform("nunique") >= FEWEST_PRUNERS]
        if means.empty:
            raise InputError("no group (dataset, model, sparsity) has three pruners with an accuracy.")
        if means.groupby(list(GROUPS), observed=True)[target].nunique().max() < 2:
            what = f"the {column_in_words(target)}"
            raise InputError(f"{what} is the same for all pruners of every group, so there is no order to find.")
        return cls(means.reset_index(drop=True), target)

    @cached_property
    def group(self) -> np.ndarray:
        """Number of every row's group."""
        return self.means.groupby(list(GROUPS), observed=True).ngroup().to_numpy()

    @cached_property
    def names(self) -> np.ndarray:
        """Names of the pruners, sorted."""
        return np.sort(self.means["pruner"].unique())

    @cached_property
    def pruner(self) -> np.ndarray:
        """Number of every row's pruner."""
        return np.searchsorted(self.names, self.means["pruner"])

    @cached_property
    def groups(self) -> pd.DataFrame:
        """dataset, model, sparsity of every group."""
        return self.means[list(GROUPS)].drop_duplicates().reset_index(drop=True)

    @cached_property
    def settings(self) -> np.ndarray:
        """Number of the pair of dataset and model of every group."""
        return self.groups.groupby(list(PAIR), observed=True).ngroup().to_numpy()

    @cached_property
    def truth(self) -> np.ndarray:
        """The target, shape (groups, pruners), NaN where a group lacks a pruner."""
        return self.spread(self.means[self.target].to_numpy(float))

    def spread(self, values: np.ndarray) -> np.ndarray:
        """Values of rows as an array of groups and pruners."""
        square = np.full((len(self.groups), len(self.names), *values.shape[1:]), np.nan)
        square[self.group, self.pruner] = values
        return square

    def features(self, columns: Sequence[str]) -> np.ndarray:
        """What a learned score reads of metrics."""
        return shared_paths(rank_features(self.means, columns))

    def ranks(self, known: np.ndarray, truth: np.ndarray | None = None) -> np.ndarray:
        """Relative ranks (`topo.stats.rank_score.relative_ranks`) of the target in each group among the known rows.

        Parameters
        ----------
        known
            Which rows; the others have no rank.
        truth
            Targets of the rows in place of the measured ones, shape (rows, permutations).
        """
        values = self.means[self.target].to_numpy(float)[:, None] if truth is None else truth
        ranks = np.full(values.shape, np.nan)
        for of_group in self._rows_of_groups:
            rows = of_group[known[of_group]]
            part = values[rows]
            above = (part[:, None] > part[None]).sum(1) + ((part[:, None] == part[None]).sum(1) + 1) / 2
            ranks[rows] = (above - 0.5) / max(len(rows), 1) - 0.5
        return ranks

    @cached_property
    def _rows_of_groups(self) -> list[np.ndarray]:
        return np.split(np.arange(len(self.means)), np.flatnonzero(np.diff(self.group)) + 1)

    def unseen_values(self, x: Any, model: Any, by: str) -> np.ndarray:
        """Scores of all rows, each from a model that has seen no row of its dataset or model, whichever is `by`.

        Parameters
        ----------
        x
            Features of the rows.
        model
            Its ``fit(x, y)`` and ``predict(x)`` are used.
        by
            ``"dataset"`` or ``"model"``.

        Returns
        -------
        array
            Shape (groups, pruners).

        Raises
        ------
        InputError
            The table holds one value of `by`.
        """
        values = self.means[by].to_numpy()
        names = pd.unique(values)
        if len(names) < 2:
            raise InputError(f"the table holds one {by}, so there is no other to learn from.")
        scores = np.full(len(values), np.nan)
        for name in names:
            new = values == name
            scores[new] = self._predicted(model, x, ~new, self.ranks(~new))[:, 0]
        return self.spread(scores)

    def unseen_pairs(self, x: Any, model: Any, *, seed: int = 0) -> np.ndarray:
        """Differences of the scores of two pruners from a model that has seen neither, for all pairs and groups.

        Leaving out one at a time would compare predictions of two models, and even the mean of the others would then
        rank: it is low exactly where the pruner left out is bad.

        Parameters
        ----------
        x
            Features of the rows.
        model
            Its ``fit(x, y)`` and ``predict(x)`` are used.
        seed
            Seeds the choice of pairs where there are more than a hundred.

        Returns
        -------
        array
            Shape (groups, pruners, pruners), antisymmetric; NaN where a group lacks one or the pair was not chosen.

        Raises
        ------
        InputError
            There are fewer than six pruners.

        Notes
        -----
        Airola, Pahikkala, Waegeman, De Baets & Salakoski, *An experimental comparison of cross-validation techniques
        for estimating the area under the ROC curve*, Comput. Stat. Data Anal. 55, 2011: leaving out pairs is nearly
        unbiased for the share of pairs ordered right, other ways of pooling folds are not.
        """
        count = len(self.names)
        result = np.full((len(self.groups), count, count), np.nan)
        as_it_is = np.arange(len(self.means))[None]
        for a, b, difference, _ in self._pair_differences(x, model, as_it_is, seed):
            result[:, a, b], result[:, b, a] = difference[:, 0], -difference[:, 0]
        return result

    def p_of_labels(self, x: Any, *, permutations: int = 999, seed: int = 0) -> float:
        """p-value of the mean tau of `unseen_pairs` with `rank_model` when results are exchanged between pruners.

        One permutation of the pruners' labels holds for all groups, and the model is learned anew from every one, so
        the level is exact, whatever the pruners have in common over groups.

        Parameters
        ----------
        x
            Features of the rows.
        permutations
            Random permutations where there are more than seven pruners; else all are taken.
        seed
            Seeds permutations and pairs.

        Returns
        -------
        float
            Share of permutations with a mean tau of at least that of the true labels (one-sided).
        """
        labels = LabelOrders(len(self.names), permutations, seed, shared=True)
        rows = np.empty((labels.count, len(self.means)), dtype=int)
        for of_group in self._rows_of_groups:
            rows[:, of_group] = of_group[labels.of(self.pruner[of_group])]
        step = max(1, MOST_NUMBERS // len(self.means))
        taus = np.concatenate([self._mean_taus(x, rows[at : at + step], seed) for at in range(0, len(rows), step)])
        return float((taus >= taus[0] - SAME).mean())

    def _mean_taus(self, x: np.ndarray, rows: np.ndarray, seed: int) -> np.ndarray:
        """Mean tau of unseen pairs in every permutation."""
        agree, scored, true = np.zeros((3, len(self.groups), len(rows)))
        for _, _, difference, truth in self._pair_differences(x, rank_model(), rows, seed):
            signs = np.sign(np.nan_to_num(difference)), np.sign(np.nan_to_num(truth))
            agree += signs[0] * signs[1]
            scored += signs[0] ** 2
            true += signs[1] ** 2
        untied = np.sqrt(scored * true)
        return np.divide(agree, untied, out=np.zeros_like(untied), where=untied > 0).mean(axis=0)

    def _pair_differences(
        self, x: Any, model: Any, rows: np.ndarray, seed: int
    ) -> Iterator[tuple[int, int, np.ndarray, np.ndarray]]:
        """For every pair left out its numbers, and the differences of score and truth in groups and permutations.

        `rows` says for every permutation which row each row takes its target from.
        """
        truth = self.means[self.target].to_numpy(float)[rows].T
        for a, b in self.pairs(seed):
            new = (self.pruner == a) | (self.pruner == b)
            scores = np.full(truth.shape, np.nan)
            y = self.ranks(~new, truth)
            scores[new] = self._predicted(model, x, ~new, y)
            known = np.isfinite(self.truth[:, a]) & np.isfinite(self.truth[:, b])
            place = np.full((len(self.groups), len(self.names)), -1)
            place[self.group, self.pruner] = np.arange(len(self.means))
            of_a, of_b = place[known, a], place[known, b]
            pieces = np.full((2, len(self.groups), len(rows)), np.nan)
            pieces[:, known] = scores[of_a] - scores[of_b], truth[of_a] - truth[of_b]
            yield a, b, pieces[0], pieces[1]

    def pairs(self, seed: int = 0) -> list[tuple[int, int]]:
        """The pairs of pruners that are left out together: all, or a hundred at random."""
        if len(self.names) < FEWEST_UNSEEN:
            have = counted(len(self.names), "algorithm")
            raise InputError(f"ranking unseen algorithms needs at least {FEWEST_UNSEEN} of them; the table has {have}.")
        every = list(combinations(range(len(self.names)), 2))
        if len(every) <= MOST_PAIRS:
            return every
        chosen = np.random.default_rng(seed).choice(len(every), MOST_PAIRS, replace=False)
        return [every[i] for i in np.sort(chosen)]

    def _predicted(self, model: Any, x: Any, known: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Scores of the rows that are not known, rounded, so that equal ones are ties however they were computed."""
        rows = training_rows(self.group, known)
        targets = y[rows] if y.shape[1] > 1 else y[rows, 0]
        fitted = model.fit(x.iloc[rows] if isinstance(x, pd.DataFrame) else x[rows], targets)
        return np.round(fitted.predict(x[~known]), DECIMALS).reshape(-1, y.shape[1])


def label_permutation_p(
    table: pd.DataFrame,
    columns: Sequence[str],
    *,
    target: str = "drop",
    permutations: int = 999,
    seed: int = 0,
) -> float:
    """Whether the metrics of two unseen pruners tell which is better: p-value by exchanging pruners' labels.

    Pairs of pruners are ordered by a score that has seen neither (`Rankings.unseen_pairs`), and Kendall's tau with the
    true order is averaged over groups. Then the results of whole pruners change places, the same ones in every group,
    and the score is learned anew. So the level is exact, however much the results of a pruner are alike in all groups.

    Parameters
    ----------
    table
        One row a network, with its family.
    columns
        Metrics.
    target
        Column with the drop of accuracy.
    permutations
        Random permutations where there are more than seven pruners; else all are taken.
    seed
        Seeds the permutations.

    Returns
    -------
    float
        Share of permutations with a mean tau of at least that of the true labels (one-sided).

    Raises
    ------
    InputError
        A column is missing, or there are fewer than six pruners.

    Examples
    --------
    >>> from topo.results import example_results
    >>> from topo.results.accuracy_drop import with_drop
    >>> table = with_drop(example_results(seeds=3))[0]
    >>> label_permutation_p(table, ["sink_nodes_norm"], permutations=99) < 0.05
    True
    """
    rankings = Rankings.of(table, columns, target=target)
    return rankings.p_of_labels(rankings.features(columns), permutations=permutations, seed=seed)
