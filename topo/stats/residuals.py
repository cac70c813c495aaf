"""Columns freed of covariates by least squares, on values or on ranks."""

from __future__ import annotations

import numpy as np
from scipy import stats

__all__ = ["DETERMINED", "basis_of", "residuals_of", "scores_of"]

# Squared length, of scores of length one, below which the covariates leave nothing of a column.
DETERMINED = 1e-9


def scores_of(columns: np.ndarray, kind: str) -> np.ndarray:
    """Values or ranks of every column, centred, of length one; zero where a column is constant.

    Parameters
    ----------
    columns
        Finite, shape (rows, columns).
    kind
        ``"spearman"`` takes ranks, anything else the values.

    Returns
    -------
    array of the shape of `columns`

    Examples
    --------
    >>> scores_of(np.array([[1.0, 5.0], [9.0, 5.0]]), "spearman").round(2).tolist()
    [[-0.71, 0.0], [0.71, 0.0]]
    """
    if not columns.shape[1]:
        return columns
    scores = stats.rankdata(columns, axis=0) if kind == "spearman" else columns
    most = np.abs(scores).max(axis=0)
    scores = scores - scores.mean(axis=0)
    size = np.linalg.norm(scores, axis=0)
    varies = size > 1e-12 * np.sqrt(len(scores)) * np.maximum(1.0, most)
    return np.divide(scores, size, out=np.zeros_like(scores), where=varies)


def basis_of(scores: np.ndarray) -> np.ndarray:
    """Orthonormal basis of the space that covariates span, shape (rows, rank).

    Parameters
    ----------
    scores
        Of the covariates, as `scores_of` gives them.
    """
    if not scores.shape[1]:
        return np.zeros((len(scores), 0))
    vectors, sizes, _ = np.linalg.svd(scores, full_matrices=False)
    return vectors[:, sizes > 1e-9]


def residuals_of(scores: np.ndarray, basis: np.ndarray) -> np.ndarray:
    """What the covariates do not explain of every column.

    Parameters
    ----------
    scores
        Shape (rows, columns), as `scores_of` gives them.
    basis
        Of the covariates, as `basis_of` gives it.
    """
    return scores - basis @ (basis.T @ scores)
