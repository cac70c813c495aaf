"""Correlations of a whole block of columns with a target, of the rows and of all their bootstrap resamples at once.

A resample is a vector of counts, how often each row was drawn. Ranks, moments and concordances of a resample follow
from the counts without sorting anew, so all resamples of all columns are a few array operations.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np
from scipy import stats

__all__ = ["KINDS", "correlations", "draw_counts"]

KINDS = ("pearson", "spearman", "kendall")
# Numbers held at once: larger blocks are cut into pieces of resamples.
MOST_NUMBERS = 4_000_000
# Kendall's tau of resamples takes a matrix of pairs of rows.
MOST_PAIRED_ROWS = 2_000
FEW_ROWS = 200


def correlations(kind: str, columns: np.ndarray, target: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Correlation of every column with the target in every resample.

    Parameters
    ----------
    kind
        ``"pearson"``, ``"spearman"`` (ties share the mean of their ranks) or ``"kendall"`` (tau-b).
    columns
        Shape (rows, columns), finite.
    target
        Shape (rows,), finite.
    counts
        Shape (resamples, rows): how often each row is drawn; ones give the table itself.

    Returns
    -------
    array of shape (resamples, columns)
        NaN where a column or the target is constant.

    Examples
    --------
    >>> x = np.array([[1.0, 5.0], [2.0, 4.0], [3.0, 6.0], [4.0, 1.0]])
    >>> correlations("spearman", x, np.array([1.0, 2.0, 3.0, 4.0]), np.ones((1, 4))).round(1).tolist()
    [[1.0, -0.4]]
    """
    counts = np.asarray(counts, dtype=float)
    if kind == "kendall":
        return _kendall(columns, target, counts)
    centred_target, *centred_columns = [
        partial(_midranks, _sorted_codes(x)) if kind == "spearman" else partial(_deviations, x)
        for x in (target, *columns.T)
    ]
    result = np.empty((len(counts), columns.shape[1]))
    step = max(1, MOST_NUMBERS // max(counts.shape[1], 1))
    for at in range(0, len(counts), step):
        part = counts[at : at + step]
        b = centred_target(part)
        b_square = np.einsum("rn,rn,rn->r", part, b, b)
        for j, centred_column in enumerate(centred_columns):
            a = centred_column(part)
            result[at : at + step, j] = _ratio(
                np.einsum("rn,rn,rn->r", part, a, b), np.einsum("rn,rn,rn->r", part, a, a) * b_square
            )
    return result


def _ratio(cross: np.ndarray, square: np.ndarray) -> np.ndarray:
    """cross / sqrt(square) within [-1, 1]; NaN where the square is zero but for rounding."""
    result = np.divide(cross, np.sqrt(np.maximum(square, 0)), out=np.full(len(cross), np.nan), where=square > 1e-18)
    return np.clip(result, -1, 1)


def _deviations(x: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Values less their weighted mean, in units of the column's spread; shape (resamples, rows)."""
    spread = x.std()
    scaled = (x - x.mean()) / spread if spread > 0 else np.zeros_like(x)
    # A resample of clusters may draw nothing of a group.
    return scaled - (counts @ scaled / np.maximum(counts.sum(1), 1))[:, None]


def _sorted_codes(x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Order of the rows, where runs of equal values start in it, and each row's run."""
    order = np.argsort(x, kind="stable")
    ordered = x[order]
    new = np.concatenate([[True], ordered[1:] != ordered[:-1]])
    run = np.empty(len(x), dtype=np.intp)
    run[order] = np.cumsum(new) - 1
    return order, np.flatnonzero(new), run


def _midranks(codes: tuple[np.ndarray, np.ndarray, np.ndarray], counts: np.ndarray) -> np.ndarray:
    """Mid-ranks of every row in every resample, less their mean."""
    order, starts, run = codes
    drawn = np.add.reduceat(counts[:, order], starts, axis=1)
    ranks = np.cumsum(drawn, axis=1) - (drawn - 1) / 2
    return ranks[:, run] - (counts.sum(1, keepdims=True) + 1) / 2


def _kendall(columns: np.ndarray, target: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """tau-b: concordant less discordant pairs over the root of the untied pairs of either side."""
    as_it_is = len(counts) == 1 and (counts == 1).all()
    if as_it_is and len(target) > FEW_ROWS:  # sorting beats all pairs
        return np.array([[stats.kendalltau(c, target).statistic for c in columns.T]])
    if len(target) > MOST_PAIRED_ROWS:
        return np.full((len(counts), columns.shape[1]), np.nan)
    # Signs of whole-number ranks: differences of values may underflow.
    y = np.sign(np.subtract.outer(*[stats.rankdata(target)] * 2))
    y_untied = _pairs(np.abs(y), counts)
    result = np.empty((len(counts), columns.shape[1]))
    for j, column in enumerate(columns.T):
        x = np.sign(np.subtract.outer(*[stats.rankdata(column)] * 2))
        result[:, j] = _ratio(_pairs(x * y, counts), _pairs(np.abs(x), counts) * y_untied)
    return result


def _pairs(matrix: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Sum of a matrix over all pairs of drawn rows, in every resample."""
    return np.einsum("rn,rn->r", counts @ matrix, counts)


def draw_counts(
    n_boot: int, rows: int, generator: np.random.Generator, *, clusters: np.ndarray | None = None
) -> Iterator[np.ndarray]:
    """Counts of bootstrap resamples of rows, or of whole clusters of rows, in pieces of resamples.

    Parameters
    ----------
    n_boot
        Number of resamples.
    rows
        Number of rows.
    generator
        Source of the draws.
    clusters
        Cluster of every row as whole numbers from 0; each resample draws as many clusters as there are, with all
        their rows.

    Yields
    ------
    array
        Counts, integers (resamples, rows).
    """
    n = rows if clusters is None else int(clusters.max()) + 1
    step = max(1, MOST_NUMBERS // max(rows, 1))
    for at in range(0, n_boot, step):
        size = min(step, n_boot - at)
        drawn = generator.integers(n, size=(size, n))
        drawn += n * np.arange(size)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=size * n).reshape(size, n).astype(float)
        yield counts if clusters is None else counts[:, clusters]
