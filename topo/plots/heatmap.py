"""Rank correlation of metrics with accuracy as a heat map."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import PatchCollection
from matplotlib.colors import Normalize
from matplotlib.patches import Rectangle

from ..errors import InputError
from ..results.schema import category_of, metric_columns, metric_label, ordered_metrics, tidy_results
from ..stats.correlation import grouped_spearman
from .labels import percent
from .theme import DIVERGING, GRID, INK, MUTED, own_axes, style

__all__ = ["correlations_for_heatmap", "spearman_heatmap"]

EVERY = "all families"
GAP = 0.28


def correlations_for_heatmap(
    table: pd.DataFrame, metrics: Sequence[str] | None = None, *, n_boot: int = 400, min_rows: int = 5, seed: int = 0
) -> pd.DataFrame:
    """The numbers of `spearman_heatmap`: within family and sparsity, and over all families at one sparsity.

    Dense networks and networks without an accuracy are left out. `metrics` left out: those of the whole-network
    graph, in their published form.

    Returns
    -------
    DataFrame
        family, sparsity, metric, n, rho, low, high, reason.
    """
    table = tidy_results(table)
    table = table[(table["pruner"] != "dense") & table["accuracy"].notna()]
    if metrics is None:
        metrics = ordered_metrics(c for c in metric_columns(table) if "__" not in c)
    if not len(metrics):
        raise InputError("the table has no metric columns, so there is nothing to correlate with accuracy.")
    options = {"n_boot": n_boot, "min_rows": min_rows, "seed": seed}
    pieces = [grouped_spearman(table, metrics, by=["family", "sparsity"], **options)]
    if len(table["family"].unique()) > 1:
        pieces.append(grouped_spearman(table.assign(family=EVERY), metrics, by=["family", "sparsity"], **options))
    return pd.concat(pieces, ignore_index=True)


def spearman_heatmap(
    table: pd.DataFrame,
    ax: Axes | None = None,
    *,
    metrics: Sequence[str] | None = None,
    correlations: pd.DataFrame | None = None,
    n_boot: int = 400,
    min_rows: int = 5,
    title: str = "",
) -> Axes:
    """Spearman's correlation of each metric (row) with accuracy, within pruner family and sparsity (columns).

    Bold numbers: the 95% bootstrap interval lies on one side of zero. Hatched: undefined (the metric is constant or
    missing, or fewer than `min_rows` networks). A family without any value is named below and takes no column.

    Parameters
    ----------
    table
        Results table of one dataset and model.
    correlations
        What `correlations_for_heatmap` returned, to draw it without computing it again.

    Examples
    --------
    >>> from topo.results import example_results
    >>> ax = spearman_heatmap(example_results(), n_boot=0)
    >>> len(ax.get_yticklabels())
    12
    """
    if correlations is None:
        correlations = correlations_for_heatmap(table, metrics, n_boot=n_boot, min_rows=min_rows)
    if correlations.empty:
        raise InputError("no sparse network in the table has an accuracy, so there is nothing to correlate.")
    correlations, left_out = _without_empty_families(correlations)
    rows = list(dict.fromkeys(correlations["metric"]))
    groups = correlations[["family", "sparsity"]].drop_duplicates()
    families = ordered_families(groups["family"].unique())
    columns = [(f, s) for f in families for s in sorted(groups.loc[groups["family"] == f, "sparsity"])]
    left_of = {c: i + GAP * families.index(c[0]) for i, c in enumerate(columns)}
    top_of, category_spans = {}, []
    for i, metric in enumerate(rows):
        category = category_of(metric)
        if not category_spans or category_spans[-1][0] != category:
            category_spans.append((category, i, i))
        category_spans[-1] = (category, category_spans[-1][1], i)
        top_of[metric] = i + GAP * (len(category_spans) - 1)
    wide = left_of[columns[-1]] + 1
    high = top_of[rows[-1]] + 1
    longest = max(len(metric_label(m)) for m in rows)
    heads = max(len(_head(f, columns)) for f in families)
    left, right, bottom, top = 0.15 + 0.062 * longest + 0.95, 0.75, 0.4, 0.6 + 0.15 * heads + (0.2 if title else 0)
    with style():
        width = max(0.46 * wide, 1.6) + left + right
        ax, own = own_axes(ax, width, 0.235 * high + bottom + top, (left, right, bottom, top))
        defined = correlations[correlations["rho"].notna()]
        undefined = correlations[correlations["rho"].isna()]

        def cells(part: pd.DataFrame) -> list[Rectangle]:
            return [
                Rectangle((left_of[f, s] + 0.02, top_of[m] + 0.03), 0.96, 0.94)
                for f, s, m in part[["family", "sparsity", "metric"]].itertuples(index=False)
            ]

        scale = Normalize(-1, 1)
        drawn = PatchCollection(cells(defined), cmap=DIVERGING, norm=scale, linewidth=0)
        drawn.set_array(defined["rho"].to_numpy(float))
        ax.add_collection(drawn)
        ax.add_collection(
            PatchCollection(cells(undefined), facecolor="none", edgecolor=MUTED, hatch="//////", linewidth=0, alpha=0.6)
        )
        for cell in defined.itertuples():
            clear = cell.low > 0 or cell.high < 0
            # Fixed inks on fixed cell colours: they must not follow the report's scheme.
            color = "#ffffff" if abs(cell.rho) > 0.62 else "#1a1d21"
            ax.text(
                left_of[cell.family, cell.sparsity] + 0.5,
                top_of[cell.metric] + 0.52,
                _signed(cell.rho),
                ha="center",
                va="center",
                fontsize=7.2,
                fontweight="bold" if clear else "normal",
                color=color,
                alpha=1 if clear else 0.8,
            )
        ax.set_xlim(0, wide)
        ax.set_ylim(high, 0)
        ax.set_yticks([top_of[m] + 0.5 for m in rows], [metric_label(m) for m in rows])
        ax.set_xticks([left_of[c] + 0.5 for c in columns], [percent(s) for _, s in columns])
        ax.xaxis.tick_top()
        ax.tick_params(length=0, pad=3)
        ax.spines[:].set_visible(False)
        _family_heads(ax, families, columns, left_of)
        _category_heads(ax, category_spans, rows, top_of, longest)
        if title:
            ax.set_title(title, pad=28 + 10 * heads)
        if own:
            _colorbar(ax, scale)
            note = "bold: 95% bootstrap interval excludes 0" + ("   hatched: undefined" if len(undefined) else "")
            note += f"\nno value at all: {', '.join(left_out)}" if left_out else ""
            ax.figure.text(0.15 / width, 0.12 / ax.figure.get_figheight(), note, fontsize=7.5, color=MUTED)
    return ax


def _without_empty_families(correlations: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Leave out the families without a single value, unless that is all of them, and name them."""
    defined = correlations["rho"].notna().groupby(correlations["family"]).any()
    if not defined.any():
        return correlations, []
    empty = ordered_families(defined.index[~defined])
    return correlations[~correlations["family"].isin(empty)], empty


def ordered_families(families: Sequence[str]) -> list[str]:
    """Pruner families in the order of the moment at which they prune, all of them together last."""
    order = {name: i for i, name in enumerate(("initial", "dynamic", "trained", "structured"))}
    return sorted(families, key=lambda f: (f == EVERY, order.get(f, len(order)), f))


def _signed(rho: float) -> str:
    text = f"{rho:+.2f}"
    return ".00" if text[1:] == "0.00" else text.replace("-", "−").replace("0.", ".", 1)


def _head(family: str, columns: list) -> list[str]:
    """The lines of a family's name over its columns."""
    return family.split() if sum(c[0] == family for c in columns) * 5 < len(family) else [family]


def _family_heads(ax: Axes, families: list[str], columns: list, left_of: dict) -> None:
    for family in families:
        mine = [left_of[c] for c in columns if c[0] == family]
        across = ax.get_xaxis_transform()
        ends, y = (mine[0] + 0.06, mine[-1] + 0.94), 1 + _points(ax, 19)
        ax.plot(ends, (y, y), transform=across, color=MUTED, linewidth=0.7, clip_on=False)
        words = _head(family, columns)
        ax.text(
            sum(ends) / 2, y + _points(ax, 3), "\n".join(words), transform=across, ha="center", va="bottom",
            fontsize=8.5, fontweight="bold", linespacing=1.0, color=INK,
        )  # fmt: skip


def _category_heads(ax: Axes, spans: list, rows: list[str], top_of: dict, longest: int) -> None:
    points = ax.get_window_extent().width * 72 / ax.figure.dpi
    x = -(4.4 * longest + 12) / points
    down = ax.get_yaxis_transform()
    for category, first, last in spans:
        top, bottom = top_of[rows[first]] + 0.08, top_of[rows[last]] + 0.92
        ax.plot((x, x), (top, bottom), transform=down, color=GRID, linewidth=1.6, clip_on=False)
        ax.text(
            x - 5 / points, (top + bottom) / 2, category, transform=down, ha="right", va="center", fontsize=8,
            color=MUTED,
        )  # fmt: skip


def _points(ax: Axes, points: float) -> float:
    """A height in points as a share of the height of the Axes."""
    return points / (ax.get_window_extent().height * 72 / ax.figure.dpi)


def _colorbar(ax: Axes, scale: Normalize) -> None:
    box = ax.get_position()
    width, height = ax.figure.get_size_inches()
    tall = min(1.6, box.height * height) / height
    place = ax.figure.add_axes((box.x1 + 0.18 / width, box.y1 - tall, 0.09 / width, tall))
    bar = ax.figure.colorbar(ScalarMappable(scale, DIVERGING), cax=place)
    bar.outline.set_visible(False)
    bar.set_ticks(np.array([-1, -0.5, 0, 0.5, 1]), labels=["−1", "−.5", "0", "+.5", "+1"])
    place.tick_params(length=0, labelsize=7.5)
    place.set_title("ρ", fontsize=9, loc="center", pad=5)
