"""Pool correlations of many groups: random-effects meta-analysis of Fisher's z."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy import stats

from ..errors import InputError, unknown_name

__all__ = ["pool", "pool_correlations", "z_variance"]

COLUMNS = ("k", "r", "low", "high", "p", "tau2", "i2", "q_p", "next_low", "next_high", "median", "mean", "reason")


def z_variance(kind: str, r: ArrayLike, n: ArrayLike) -> np.ndarray:
    """Variance of atanh of a correlation from n rows.

    Parameters
    ----------
    kind
        ``"pearson"``, ``"spearman"`` or ``"kendall"``.
    r
        Correlations.
    n
        Size of the sample of each.

    Returns
    -------
    array
        In the shape of `r`.

    Notes
    -----
    Pearson: 1/(n - 3) (Fisher 1921). Spearman: (1 + r^2/2)/(n - 3) (Bonett & Wright, *Sample size requirements for
    estimating Pearson, Kendall and Spearman correlations*, Psychometrika 65, 2000). Kendall: 0.437/(n - 4) (Fieller,
    Hartley & Pearson, *Tests for rank correlation coefficients*, Biometrika 44, 1957). NaN where n is too small.

    Examples
    --------
    >>> z_variance("spearman", np.array([0.0, 1.0]), np.array([13, 13])).tolist()
    [0.1, 0.15]
    """
    r = np.asarray(r, dtype=float)
    n = np.asarray(n, dtype=float)
    if kind not in ("pearson", "spearman", "kendall"):
        raise unknown_name("correlation", kind, ("pearson", "spearman", "kendall"))
    less = 4 if kind == "kendall" else 3
    top = 0.437 if kind == "kendall" else 1 + r**2 / 2 if kind == "spearman" else np.ones_like(r)
    return np.divide(top, n - less, out=np.full(np.broadcast(r, n).shape, np.nan), where=n > less)


def pool(r: ArrayLike, n: ArrayLike, *, kind: str = "spearman", level: float = 0.95) -> dict[str, float | str]:
    """One correlation from those of k groups.

    Groups are weighted by 1/(variance + tau2), tau2 the variance between groups by Paule & Mandel (1982), which
    solves sum of w (z - mean)^2 = k - 1. The interval is that of Hartung & Knapp with k - 1 degrees of freedom, never
    narrower than the usual one; with two groups it is very wide, as it should be.

    Parameters
    ----------
    r, n
        Correlations and the sizes they rest on, shape (groups,); groups without a correlation or too small for a
        variance are left out. Correlations of +-1 count as 1 - 1/(2n), for which atanh is finite.
    kind
        ``"pearson"``, ``"spearman"`` or ``"kendall"``.
    level
        Coverage of the intervals.

    Returns
    -------
    dict
        k; r, low, high (pooled, back on the scale of correlations); p (of no correlation); tau2 (on the scale of z);
        i2 (share of the variation that is between groups); q_p (of equal correlations); next_low, next_high (where the
        correlation of a new group would lie); median, mean (plain, over groups).

    Raises
    ------
    InputError
        `r` and `n` differ in length, or a correlation is not between -1 and 1.

    Examples
    --------
    >>> pooled = pool([0.5, 0.4, 0.6, 0.5], [30, 30, 30, 30])
    >>> round(pooled["r"], 2), pooled["tau2"], pooled["i2"]
    (0.5, 0.0, 0.0)
    """
    given, sizes = np.asarray(r, dtype=float), np.asarray(n, dtype=float)
    if given.shape != sizes.shape or given.ndim != 1:
        raise InputError(f"r and n must have one axis and one length; got shapes {given.shape} and {sizes.shape}.")
    if (np.abs(given[np.isfinite(given)]) > 1).any():
        raise InputError("correlations must lie between -1 and 1.")
    variances = z_variance(kind, given, sizes)
    known = np.isfinite(given) & np.isfinite(variances)
    defined, v = given[known], variances[known]
    k = len(defined)
    empty = dict.fromkeys(COLUMNS[1:-1], np.nan)
    if k == 0:
        return {"k": 0, **empty, "reason": "no group is large enough for a correlation"}
    most = 1 - 1 / (2 * sizes[known])
    z = np.arctanh(np.clip(defined, -most, most))
    half = 0.5 + level / 2
    plain = {"median": float(np.median(defined)), "mean": float(defined.mean())}
    if k == 1:
        reach = stats.norm.ppf(half) * np.sqrt(v[0])
        ends = {"low": np.tanh(z[0] - reach), "high": np.tanh(z[0] + reach)}
        p = 2 * stats.norm.sf(abs(z[0]) / np.sqrt(v[0]))
        return {"k": 1, **empty, "r": float(np.tanh(z[0])), **ends, "p": p, **plain, "reason": ""}
    tau2 = _between(z, v)
    w = 1 / (v + tau2)
    centre = w @ z / w.sum()
    spread = max(1.0, w @ (z - centre) ** 2 / (k - 1))
    error = np.sqrt(spread / w.sum())
    reach = stats.t.ppf(half, k - 1) * error
    fixed = 1 / v
    q = fixed @ (z - fixed @ z / fixed.sum()) ** 2
    result = {
        "k": k,
        "r": np.tanh(centre),
        "low": np.tanh(centre - reach),
        "high": np.tanh(centre + reach),
        "p": 2 * stats.t.sf(abs(centre) / error, k - 1),
        "tau2": tau2,
        "i2": max(0.0, 1 - (k - 1) / q) if q > 0 else 0.0,
        "q_p": stats.chi2.sf(q, k - 1),
        "next_low": np.nan,
        "next_high": np.nan,
        **plain,
    }
    if k > 2:
        reach = stats.t.ppf(half, k - 2) * np.sqrt(tau2 + error**2)
        result |= {"next_low": np.tanh(centre - reach), "next_high": np.tanh(centre + reach)}
    return {name: value if name == "k" else float(value) for name, value in result.items()} | {"reason": ""}


def _between(z: np.ndarray, v: np.ndarray) -> float:
    """Paule and Mandel's tau2: the root of the generalised Q, which falls as tau2 rises, by Newton's steps."""

    def excess(tau2: float) -> tuple[float, float]:
        w = 1 / (v + tau2)
        off = z - w @ z / w.sum()
        return float(w @ off**2 - (len(z) - 1)), float(w**2 @ off**2)

    tau2 = 0.0
    for _ in range(100):
        over, slope = excess(tau2)
        if over <= 1e-12:
            break
        # Q is convex in tau2, so steps from the left never pass the root.
        tau2 += over / slope
    return tau2


def pool_correlations(
    correlations: pd.DataFrame,
    *,
    by: Sequence[str] = (),
    kind: str = "spearman",
    size: str = "n",
    covariates: int = 0,
    level: float = 0.95,
) -> pd.DataFrame:
    """Pool the rows of `grouped_correlation` metric by metric.

    Parameters
    ----------
    correlations
        Columns metric, r, the column `size`, and those of `by`.
    by
        Columns that stay apart, such as ``("model",)``; every other grouping is pooled over.
    kind
        ``"pearson"``, ``"spearman"`` or ``"kendall"``.
    size
        Column with the sizes that correlations rest on. With ``"n"`` the rows of a group count one by one, though seeds
        of one algorithm are similar; the interval takes its width from how groups differ and so allows for that.
        ``"clusters"`` is stricter.
    covariates
        Number of covariates that were partialled out, by which sizes are reduced.
    level
        Coverage of the interval.

    Returns
    -------
    DataFrame
        One row per metric and value of `by`, in the order of `correlations`: `by`, metric, what `pool` returns, reason.
    """
    by = list(by)
    rows = []
    for key, group in correlations.groupby([*by, "metric"], sort=False, observed=True):
        pooled = pool(group["r"].to_numpy(float), group[size].to_numpy(float) - covariates, kind=kind, level=level)
        rows.append({**dict(zip([*by, "metric"], key, strict=True)), **pooled})
    return pd.DataFrame(rows, columns=[*by, "metric", *COLUMNS])
