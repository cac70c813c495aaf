"""Rank correlation of metrics with accuracy as a heat map."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import PatchCollection
from matplotlib.patches import Rectangle

from ..errors import InputError
from ..results.labels import percent
from ..results.schema import PAIR, category_of, metric_label, ordered_families
from ..stats.family_correlations import correlations_by_family
from ..stats.significance import FALSE_DISCOVERY_RATE, significant
from .correlation_cells import SCALE, cell_rectangle, hatch_cells, write_correlation
from .theme import DIVERGING, GRID, INK, MUTED, figure_of, own_axes, style

__all__ = ["correlation_heatmap", "spearman_heatmap"]

GAP = 0.28


def spearman_heatmap(
    table: pd.DataFrame,
    ax: Axes | None = None,
    *,
    metrics: Sequence[str] | None = None,
    min_rows: int = 5,
    title: str = "",
) -> Axes:
    """Spearman's correlation of each metric (row) with accuracy, within pruner family and sparsity (columns).

    Parameters
    ----------
    table
        Results table of one dataset and model.
    ax
        Axes to draw on; new ones of a fitting size when left out.
    metrics
        Metric columns; those of the whole-network graph when left out.
    min_rows
        Fewest networks for a correlation.
    title
        Title of the figure.

    Returns
    -------
    Axes
        `ax`, or new ones.

    Raises
    ------
    InputError
        The table holds several datasets or models, no metric or no accuracy of a sparse network.

    Examples
    --------
    >>> from topo.results import example_results
    >>> ax = spearman_heatmap(example_results())
    >>> len(ax.get_yticklabels())
    12
    """
    return correlation_heatmap(correlations_by_family(table, metrics, min_rows=min_rows), ax, title=title)


def correlation_heatmap(correlations: pd.DataFrame, ax: Axes | None = None, *, title: str = "") -> Axes:
    """Correlations of metrics (rows) with accuracy by pruner family and sparsity (columns).

    Bold numbers are clear by the rule of `topo.stats.significant`. Hatched cells are undefined. A family without any
    value is named below and takes no column.

    Parameters
    ----------
    correlations
        Rows of one dataset and model of what `topo.stats.correlations_by_family` returned.
    ax
        Axes to draw on; new ones of a fitting size when left out.
    title
        Title of the figure.

    Returns
    -------
    Axes
        `ax`, or new ones.

    Raises
    ------
    InputError
        There are no correlations, a column of theirs is missing, or some are of several datasets or models.
    """
    if correlations.empty:
        raise InputError("no sparse network in the table has an accuracy, so there is nothing to correlate.")
    missing = [name for name in (*PAIR, "family", "sparsity", "metric", "r", "q") if name not in correlations.columns]
    if missing:
        raise InputError(
            f"the correlations have no column {', '.join(map(repr, missing))}; compute them with "
            "topo.stats.correlations_by_family and topo.stats.with_q_values."
        )
    pairs = len(correlations[[*PAIR]].drop_duplicates())
    if pairs != 1:
        raise InputError(f"the table holds {pairs} pairs of dataset and model; draw a heat map for each.")
    correlations, left_out = _without_empty_families(correlations)
    rows = list(dict.fromkeys(correlations["metric"]))
    groups = correlations[["family", "sparsity"]].drop_duplicates()
    families = ordered_families(groups["family"].unique())
    columns = [(f, s) for f in families for s in sorted(groups.loc[groups["family"] == f, "sparsity"])]
    left_of = {c: i + GAP * families.index(c[0]) for i, c in enumerate(columns)}
    top_of: dict[str, float] = {}
    category_spans: list[tuple[str, int, int]] = []
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
        defined = correlations[correlations["r"].notna()]
        undefined = correlations[correlations["r"].isna()]

        def cells(part: pd.DataFrame) -> list[Rectangle]:
            return [
                cell_rectangle(left_of[f, s], top_of[m])
                for f, s, m in part[["family", "sparsity", "metric"]].itertuples(index=False)
            ]

        drawn = PatchCollection(cells(defined), cmap=DIVERGING, norm=SCALE, linewidth=0)
        drawn.set_array(defined["r"].to_numpy(float))
        ax.add_collection(drawn)
        hatch_cells(ax, cells(undefined), MUTED, alpha=0.6)
        for row, clear in zip(defined.itertuples(), significant(defined), strict=True):
            write_correlation(ax, left_of[row.family, row.sparsity], top_of[row.metric], row.r, bold=clear)
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
            _colorbar(ax)
            note = f"bold: clear at a {percent(FALSE_DISCOVERY_RATE)} false-discovery rate"
            note += "   hatched: undefined" if len(undefined) else ""
            note += f"\nno value at all: {', '.join(left_out)}" if left_out else ""
            figure = figure_of(ax)
            figure.text(0.15 / width, 0.12 / figure.get_figheight(), note, fontsize=7.5, color=MUTED)
    return ax


def _without_empty_families(correlations: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Correlations without the families that have no value (unless none has one), and the names of those families."""
    defined = correlations["r"].notna().groupby(correlations["family"]).any()
    if not defined.any():
        return correlations, []
    empty = ordered_families(defined.index[~defined])
    return correlations[~correlations["family"].isin(empty)], empty


def _head(family: str, columns: list) -> list[str]:
    """The lines of a family's name over its columns."""
    return family.split() if sum(c[0] == family for c in columns) * 5 < len(family) else [family]


def _family_heads(ax: Axes, families: list[str], columns: list, left_of: dict) -> None:
    for family in families:
        lefts = [left_of[c] for c in columns if c[0] == family]
        across = ax.get_xaxis_transform()
        ends, y = (lefts[0] + 0.06, lefts[-1] + 0.94), 1 + _points(ax, 19)
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


def _colorbar(ax: Axes) -> None:
    box = ax.get_position()
    figure = figure_of(ax)
    width, height = figure.get_size_inches()
    tall = min(1.6, box.height * height) / height
    place = figure.add_axes((box.x1 + 0.18 / width, box.y1 - tall, 0.09 / width, tall))
    bar = figure.colorbar(ScalarMappable(SCALE, DIVERGING), cax=place)
    bar.outline.set_visible(False)
    bar.set_ticks([-1, -0.5, 0, 0.5, 1], labels=["−1", "−.5", "0", "+.5", "+1"])
    place.tick_params(length=0, labelsize=7.5)
    place.set_title("ρ", fontsize=9, loc="center", pad=5)
