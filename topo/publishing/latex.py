"""Tables of results in LaTeX, for the package booktabs."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import pandas as pd

from ..errors import InputError
from ..results.schema import PAIR, metric_label
from ..stats import significant

__all__ = ["accuracy_latex", "correlation_latex"]

SPECIAL = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}",
           ">": r"\textgreater{}"} | {c: f"\\{c}" for c in "&%$#_{}"}  # fmt: skip


def accuracy_latex(table: pd.DataFrame, *, digits: int = 1) -> str:
    """Mean and standard deviation of accuracy over seeds, in percent: a row a pruner, a column a sparsity.

    Each dataset and model is a part of its own. The highest mean of a column is bold, which does not say that it is
    better: few seeds cannot show that. A pruner that failed or diverged at a sparsity has the mean of its other seeds,
    and a dash where there is none. Below a structured pruner stand the dense networks of equal cost that were trained
    beside its networks, where the table has them; they are never bold.

    Parameters
    ----------
    table
        A table of results.
    digits
        Decimals of a percentage.

    Returns
    -------
    str
        A ``tabular``; it needs ``\\usepackage{booktabs}``.

    Raises
    ------
    InputError
        When no network has an accuracy.

    Examples
    --------
    >>> table = pd.DataFrame({"dataset": "digits", "model": "mlp", "pruner": ["snip"] * 2 + ["erk"] * 2,
    ...                       "sparsity": 0.9, "seed": [0, 1, 0, 1], "accuracy": [0.9, 0.92, 0.8, 0.8]})
    >>> print(accuracy_latex(table))
    \\begin{tabular}{lr}
    \\toprule
     & 90\\% \\\\
    \\midrule
    \\multicolumn{2}{l}{digits, mlp, 2 seeds} \\\\
    erk & $80.0 \\pm 0.0$ \\\\
    snip & $\\mathbf{91.0} \\pm 1.4$ \\\\
    \\bottomrule
    \\end{tabular}
    """
    known = table[table["accuracy"].notna()]
    if known.empty:
        raise InputError("no network of the table has an accuracy, so there is nothing to write.")
    pruned = known[known["pruner"] != "dense"]
    sparsities = sorted(pruned["sparsity"].unique())
    parts = [name for name in PAIR if name in known.columns]
    groups = known.groupby(parts, sort=False) if parts else [((), known)]
    lines: list[str] = []
    for names, part in groups:
        lines += [*([r"\midrule"] if lines else []), *_part(names, part, sparsities, digits)]
    heads = " & ".join(["", *(f"{sparsity * 100:g}\\%" for sparsity in sparsities)])
    return _tabular("l" + "r" * len(sparsities), heads, lines)


def _part(names: Sequence[str], part: pd.DataFrame, sparsities: list[float], digits: int) -> list[str]:
    seeds = part["seed"].nunique() if "seed" in part.columns else 1
    title = ", ".join([*map(_escaped, names), f"{seeds} seed{'s' if seeds != 1 else ''}"])
    lines = [f"\\multicolumn{{{1 + len(sparsities)}}}{{l}}{{{title}}} \\\\"]
    dense = part.loc[part["pruner"] == "dense", "accuracy"]
    if len(dense):
        lines.append(f"dense & \\multicolumn{{{len(sparsities)}}}{{c}}{{{_written(dense, digits)}}} \\\\")
    pruned = part[part["pruner"] != "dense"]
    means = pruned.pivot_table(index="pruner", columns="sparsity", values="accuracy").reindex(columns=sparsities)
    for pruner in means.index:
        row = []
        for sparsity in sparsities:
            values = part.loc[(part["pruner"] == pruner) & (part["sparsity"] == sparsity), "accuracy"]
            best = len(values) and np.isclose(means.loc[pruner, sparsity], means[sparsity].max())
            row.append(_written(values, digits, bold=bool(best)) if len(values) else "--")
        lines.append(" & ".join([_escaped(pruner), *row]) + r" \\")
        if "small_dense_accuracy" in part.columns:
            small = part[(part["pruner"] == pruner) & part["small_dense_accuracy"].notna()]
            groups = {s: small.loc[small["sparsity"] == s, "small_dense_accuracy"] for s in sparsities}
            row = [_written(values, digits) if len(values) else "--" for values in groups.values()]
            lines += [" & ".join([r"\quad dense, equal cost", *row]) + r" \\"] if len(small) else []
    return lines


def _written(values: pd.Series, digits: int, *, bold: bool = False) -> str:
    """Mean and, of several values, sample standard deviation."""
    mean = f"{100 * values.mean():.{digits}f}"
    mean = f"\\mathbf{{{mean}}}" if bold else mean
    return f"${mean} \\pm {100 * values.std():.{digits}f}$" if len(values) > 1 else f"${mean}$"


def correlation_latex(tests: pd.DataFrame, *, digits: int = 2) -> str:
    """Correlations of metrics with accuracy, with intervals and adjusted p-values; clear ones carry a star.

    Clear is what the reports call clear: `topo.stats.significant`, an adjusted p-value below the false-discovery rate.

    Parameters
    ----------
    tests
        Of `topo.stats.permutation_correlation` or the like, with the columns ``metric`` (or an index of metrics), ``r``
        and ``q``, and ``low`` and ``high`` where there are intervals.
    digits
        Decimals.

    Returns
    -------
    str
        A ``tabular``; it needs ``\\usepackage{booktabs}``.

    Raises
    ------
    InputError
        When a column is missing.

    Examples
    --------
    >>> tests = pd.DataFrame({"metric": ["k_core", "edges"], "r": [0.7, -0.1], "q": [0.01, 0.8]})
    >>> print(correlation_latex(tests))
    \\begin{tabular}{lrr}
    \\toprule
    metric & $\\rho$ & $q$ \\\\
    \\midrule
    k core & $0.70^{*}$ & 0.01 \\\\
    edges & $-0.10$ & 0.80 \\\\
    \\bottomrule
    \\end{tabular}
    """
    tests = tests if "metric" in tests.columns else tests.rename_axis("metric").reset_index()
    missing = [name for name in ("r", "q") if name not in tests.columns]
    if missing:
        raise InputError(f"the tests have no column {', '.join(missing)}; see topo.stats.with_q_values.")
    with_interval = {"low", "high"} <= {*tests.columns}
    lines = []
    for row, clear in zip(tests.to_dict("records"), significant(tests), strict=True):
        star = "^{*}" if clear else ""
        cells = [_escaped(metric_label(row["metric"])), _number(row["r"], digits, star)]
        if with_interval:
            cells.append(f"[{_number(row['low'], digits)}, {_number(row['high'], digits)}]")
        lines.append(" & ".join([*cells, _p_value(row["q"], digits)]) + r" \\")
    heads = ["metric", r"$\rho$", *(["95\\% interval"] if with_interval else []), "$q$"]
    return _tabular("l" + "r" * (len(heads) - 1), " & ".join(heads), lines)


def _number(value: float, digits: int, after: str = "") -> str:
    return f"${value:.{digits}f}{after}$" if np.isfinite(value) else "--"


def _p_value(value: float, digits: int) -> str:
    least = 10.0**-digits
    return "--" if not np.isfinite(value) else f"$<${least:.{digits}f}" if value < least else f"{value:.{digits}f}"


def _tabular(columns: str, heads: str, lines: Sequence[str]) -> str:
    return "\n".join(
        [
            f"\\begin{{tabular}}{{{columns}}}",
            r"\toprule",
            f"{heads} \\\\",
            r"\midrule",
            *lines,
            r"\bottomrule",
            r"\end{tabular}",
        ]
    )


def _escaped(text: object) -> str:
    """Text in which LaTeX finds no commands."""
    return re.sub("[" + re.escape("".join(SPECIAL)) + "]", lambda found: SPECIAL[found.group()], str(text))
