"""Partial correlation of metrics with accuracy given covariates."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from ..errors import unknown_name
from ..results.schema import GROUPS
from .columns import require_columns
from .correlation import p_value
from .residuals import DETERMINED, basis_of, residuals_of, scores_of

__all__ = ["partial_correlation"]


def partial_correlation(
    table: pd.DataFrame,
    metrics: Sequence[str],
    given: Sequence[str],
    *,
    kind: str = "spearman",
    target: str = "accuracy",
    by: Sequence[str] = GROUPS,
    cluster: str | None = None,
    min_rows: int = 5,
) -> pd.DataFrame:
    """Correlation of every metric with `target` given covariates, inside every group of rows.

    Metric and target are each regressed on the covariates (on ranks for ``"spearman"``); the result is the
    correlation of the residuals.

    Parameters
    ----------
    table
        One row a network.
    metrics
        Metric columns.
    given
        Covariates; one that is constant in a group changes nothing there. None gives plain correlations.
    kind
        ``"spearman"`` or ``"pearson"``.
    target
        Column that metrics are correlated with.
    by
        Columns that form the groups.
    cluster
        Column whose distinct values are the sample that p-values take; rows when left out.
    min_rows
        Fewest networks for a correlation.

    Returns
    -------
    DataFrame
        As `grouped_correlation` without intervals: `by`, metric, n, clusters, r, p, reason. A metric that the
        covariates determine in a group has no partial correlation there, and the reason says so.

    Examples
    --------
    >>> generator = np.random.default_rng(0)
    >>> size = generator.normal(size=200)
    >>> table = pd.DataFrame({"metric": size + generator.normal(size=200), "size": size})
    >>> table["accuracy"] = size + generator.normal(size=200)  # the metric itself does nothing
    >>> plain = partial_correlation(table, ["metric"], [], by=[])["r"][0]
    >>> held = partial_correlation(table, ["metric"], ["size"], by=[])["r"][0]
    >>> bool(abs(held) < 0.1 < 0.4 < plain)
    True
    """
    by, metrics, given = list(by), list(metrics), list(given)
    require_columns(table, [target, *by, *metrics, *given, *([cluster] if cluster else [])])
    if kind not in ("spearman", "pearson"):
        raise unknown_name("partial correlation", kind, ("spearman", "pearson"))
    rows = []
    for key, group in table.groupby(by, sort=True, observed=True) if by else [((), table)]:
        values = {c: group[c].to_numpy(float) for c in {target, *metrics, *given}}
        complete = np.isfinite(values[target])
        for c in given:
            complete &= np.isfinite(values[c])
        codes = None if cluster is None else pd.factorize(group[cluster])[0]
        cache: dict[bytes, tuple[np.ndarray, np.ndarray]] = {}
        for metric in metrics:
            use = complete & np.isfinite(values[metric])
            n = int(use.sum())
            clusters = n if codes is None else len(np.unique(codes[use]))
            r, reason = np.nan, ""
            if n < max(min_rows, len(given) + 3):
                reason = f"fewer than {max(min_rows, len(given) + 3)} networks have all values"
            else:
                if use.tobytes() not in cache:
                    covariates = np.array([values[c][use] for c in given]).reshape(len(given), n).T
                    basis = basis_of(scores_of(covariates, kind))
                    cache[use.tobytes()] = basis, residuals_of(scores_of(values[target][use, None], kind), basis)[:, 0]
                basis, y = cache[use.tobytes()]
                x = residuals_of(scores_of(values[metric][use, None], kind), basis)[:, 0]
                r, reason = _correlate(x, y, metric in given)
            rows.append([*key, metric, n, clusters, r, reason])
    result = pd.DataFrame(rows, columns=[*by, "metric", "n", "clusters", "r", "reason"])
    result.insert(
        result.columns.get_loc("reason"), "p", p_value(kind, result["r"], result["clusters"], covariates=len(given))
    )
    return result


def _correlate(x: np.ndarray, y: np.ndarray, is_given: bool) -> tuple[float, str]:
    """Correlation of the residuals, or the reason why it is undefined."""
    if x @ x < DETERMINED:
        return np.nan, "the covariates determine the metric" if is_given or np.any(x) else "the metric is constant"
    if y @ y < DETERMINED:
        return np.nan, "the covariates determine the accuracy" if np.any(y) else "the accuracy is constant"
    return float(np.clip(x @ y / np.sqrt((x @ x) * (y @ y)), -1, 1)), ""
