"""Dots with intervals: a row per item, a panel per comparison, a colour per variant."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ..errors import InputError
from .labels import plain_number, with_minus
from .theme import GRID, HUES, INK, MUTED, figure, style

__all__ = ["interval_dots"]

ROW, GAP = 0.25, 0.26
ROW_OF_VARIANTS = ROW_OF_WRAPPED = 0.3
LINE = 0.14  # what a row with a label of more than two lines has more, a line
# Inches: panels share what labels leave of the width, within limits.
WIDTH, NARROWEST, WIDEST = 7.0, 0.95, 2.0
# Characters of a label, and inches of a character of a panel's title, before either is wrapped.
LABEL, LETTER = 26, 0.083
COLORS = (HUES[0], HUES[3], HUES[2], HUES[6])
MARKERS = "oDs^"


def interval_dots(
    table: pd.DataFrame,
    *,
    row: str,
    value: str,
    panel: str,
    variant: str | None = None,
    low: str | None = None,
    high: str | None = None,
    label: Callable[[str], str] = str,
    heads: Mapping[str, str] | None = None,
    axis: str = "",
    limits: tuple[float, float] | None = None,
    line: float | Mapping[str, float] | None = 0.0,
    muted: Sequence[str] = (),
) -> Figure:
    """A dot with its interval for every item (row) of every comparison (panel).

    Parameters
    ----------
    table
        One row a dot; rows without a value leave a gap.
    row, value, panel, variant, low, high
        Columns with the item, the value, the comparison, the variant (colour and marker) and the interval's ends.
    label
        Text of an item.
    heads
        Titles of the panels, in their order; those of the column when left out.
    axis
        What the axis shows.
    limits
        Ends of the axis; values beyond them become an arrowhead at the edge with their number.
    line
        Where the reference line stands, in all panels or by panel; none for None.
    muted
        Rows in grey: baselines.

    Returns
    -------
    Figure
        One panel for each comparison.

    Raises
    ------
    InputError
        No row of the table has a value.

    Examples
    --------
    >>> table = pd.DataFrame({"set": ["a", "b"], "by": "seed", "r2": [0.5, 0.2]})
    >>> [tick.get_text() for tick in interval_dots(table, row="set", value="r2", panel="by").axes[0].get_yticklabels()]
    ['a', 'b']
    """
    known = table[np.isfinite(table[value].to_numpy(float))]
    if known.empty:
        raise InputError(f"no row of the table has a value of {value!r}, so there is nothing to draw.")
    names = list(dict.fromkeys(table[row]))
    heads = heads or {p: str(p) for p in dict.fromkeys(known[panel])}
    heads = {p: text for p, text in heads.items() if (known[panel] == p).any()}
    variants: list[str | None] = list(dict.fromkeys(known[variant])) if variant else [None]
    texts = [textwrap.fill(label(n), LABEL, break_long_words=False) for n in names]
    most = max(text.count("\n") + 1 for text in texts)
    step = ROW_OF_VARIANTS if len(variants) > 1 else ROW_OF_WRAPPED if most > 1 else ROW
    step += LINE * max(0, most - 2)
    left = 0.2 + 0.073 * max(len(line) for text in texts for line in text.splitlines())
    panel_width = min(max((WIDTH - left) / len(heads) - GAP, NARROWEST), WIDEST)
    heads = {p: textwrap.fill(text, int((panel_width + GAP) / LETTER)) for p, text in heads.items()}
    lines_above = max(text.count("\n") for text in heads.values())
    bottom, top = 0.5, 0.32 + 0.17 * lines_above + (0.25 if variant else 0)
    key = sum(map(_key_width, variants)) if variant else 0.0
    width = max(left + max(len(heads) * (panel_width + GAP), key) + 0.1, 4.2)
    height = bottom + step * len(names) + top
    ends = known[[c for c in (value, low, high) if c]].to_numpy(float)
    lines = dict(line) if isinstance(line, Mapping) else {} if line is None else dict.fromkeys(heads, line)
    limits = limits or _around(ends, [*lines.values()])
    with style():
        drawn = figure(width, height)
        for i, (name, text) in enumerate(heads.items()):
            at = left + i * (panel_width + GAP)
            box = (at / width, bottom / height, panel_width / width, step * len(names) / height)
            ax = drawn.add_axes(box)
            _frame(ax, texts if i == 0 else [""] * len(names), limits, lines.get(name))
            ax.set_title(text, pad=6, fontsize=9)
            for v, shown in enumerate(variants):
                part = known[known[panel] == name]
                part = part if shown is None else part[part[variant] == shown]
                shift = 0 if len(variants) == 1 else np.linspace(-0.22, 0.22, len(variants))[v]
                for one in part.to_dict("records"):
                    color = MUTED if one[row] in muted and len(variants) == 1 else COLORS[v % len(COLORS)]
                    span = (one[low], one[high]) if low and high else (np.nan, np.nan)
                    _dot(ax, names.index(one[row]) + shift, one[value], span, limits, color, MARKERS[v % len(MARKERS)])
            if i == 0:
                ax.set_xlabel(axis, loc="left")
        if variant:
            _key(drawn, variants, left / width, 1 - 0.14 / height)
    return drawn


def _around(ends: np.ndarray, lines: list[float]) -> tuple[float, float]:
    low, high = min(np.nanmin(ends), *lines, np.inf), max(np.nanmax(ends), *lines, -np.inf)
    margin = 0.06 * max(high - low, 1e-9)
    return low - margin, high + margin


def _frame(ax: Axes, texts: list[str], limits: tuple[float, float], line: float | None) -> None:
    ax.hlines(range(len(texts)), 0, 1, color=GRID, linewidth=0.5, transform=ax.get_yaxis_transform(), zorder=0)
    if line is not None:
        ax.axvline(line, color=MUTED, linewidth=0.8, zorder=1)
    ax.set_xlim(*limits)
    ax.set_ylim(len(texts) - 0.4, -0.6)
    ax.set_yticks(range(len(texts)), texts)
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)
    ax.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
    ax.xaxis.set_major_formatter(plain_number)


def _dot(
    ax: Axes, y: float, value: float, span: tuple[float, float], limits: tuple[float, float], color: str, marker: str
) -> None:
    """A value with its interval, or an arrowhead with its number where it lies beyond the limits."""
    if np.isfinite(span).all():
        ax.plot(np.clip(span, *limits), (y, y), color=color, linewidth=1.2, alpha=0.55, solid_capstyle="butt", zorder=2)
    if limits[0] <= value <= limits[1]:
        ax.plot(value, y, marker, color=color, markersize=4.4, markeredgewidth=0, zorder=3)
        return
    below = value < limits[0]
    ax.plot(limits[0 if below else 1], y, "<" if below else ">", color=color, markersize=4.4, clip_on=False, zorder=3)
    ax.annotate(
        with_minus(f"{value:.1f}"), (limits[0 if below else 1], y), (5 if below else -5, 0),
        textcoords="offset points", ha="left" if below else "right", va="center", fontsize=7, color=INK,
    )  # fmt: skip


def _key(drawn: Figure, variants: Sequence[str | None], x: float, y: float) -> None:
    for v, name in enumerate(variants):
        sign = {"o": "●", "D": "◆", "s": "■", "^": "▲"}[MARKERS[v % len(MARKERS)]]
        color = COLORS[v % len(COLORS)]
        drawn.text(x, y, f"{sign} {name}", color=color, fontsize=8.5, fontweight="bold", va="center")
        x += _key_width(name) / drawn.get_figwidth()


def _key_width(name: str | None) -> float:
    """Inches that a variant takes in the key."""
    return 0.38 + 0.083 * len(str(name))
