"""Text that does not collide: direct labels at line ends, tick labels that fit."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.font_manager import FontProperties
from matplotlib.text import Text
from matplotlib.textpath import text_to_path
from matplotlib.transforms import blended_transform_factory
from scipy.optimize import isotonic_regression

from .theme import figure_of

__all__ = ["label_line_ends", "plain_number", "short_number", "spread_apart", "text_width", "with_minus"]


def spread_apart(positions: Sequence[float], gap: float, low: float, high: float) -> np.ndarray:
    """Positions at least `gap` apart, as near as possible to those given, between `low` and `high`.

    Least squares under order constraints (isotonic regression).

    Parameters
    ----------
    positions
        Where the items would lie by themselves.
    gap
        Smallest distance between two items; smaller where `high - low` is too short for it.
    low, high
        Bounds of the positions.

    Returns
    -------
    array
        In the order of `positions`.

    Examples
    --------
    >>> spread_apart([1.0, 1.0, 5.0], 2.0, 0.0, 10.0).tolist()
    [0.0, 2.0, 5.0]
    """
    wanted = np.asarray(positions, dtype=float)
    if len(wanted) == 0:
        return wanted
    gap = min(gap, (high - low) / max(len(wanted) - 1, 1))
    order = np.argsort(wanted, kind="stable")
    steps = gap * np.arange(len(wanted))
    placed = isotonic_regression(wanted[order] - steps).x
    placed = np.clip(placed, low, high - steps[-1]) + steps
    result = np.empty_like(placed)
    result[order] = placed
    return result


def label_line_ends(
    ax: Axes,
    ends: Sequence[tuple[float, float]],
    texts: Sequence[str],
    colors: Sequence[str],
    *,
    fontsize: float = 8.5,
    inset: float = 10,
) -> list[Text]:
    """Write the name of each line right of the Axes at the height of its last point, moved apart where names collide.

    The limits of the Axes must be final. A thin leader joins a label to its point.

    Parameters
    ----------
    ax
        Axes with their final limits.
    ends
        Last point (x, y) of each line, in data units.
    texts, colors
        Names of the lines, and their colours.
    fontsize
        Size of the names.
    inset
        Points between the right edge of the Axes and the labels.

    Returns
    -------
    list
        The labels.
    """
    figure = figure_of(ax)
    if figure.get_layout_engine() is not None:
        figure.draw_without_rendering()
    height = ax.get_window_extent().height * 72 / figure.dpi
    heights = [ax.transAxes.inverted().transform(ax.transData.transform(end))[1] * height for end in ends]
    line = fontsize * 1.22
    placed = spread_apart(heights, line, line * 0.3, height - line * 0.3)
    across = blended_transform_factory(ax.transAxes, ax.transAxes)
    width = ax.get_window_extent().width * 72 / figure.dpi
    labels = []
    for (x, y), text, color, at in zip(ends, texts, colors, placed, strict=True):
        start = ax.transAxes.inverted().transform(ax.transData.transform((x, y)))
        stop = (1 + (inset - 2) / width, at / height)
        ax.plot(
            [start[0], stop[0]], [start[1], stop[1]], transform=across, color=color, linewidth=0.6, alpha=0.55,
            clip_on=False, zorder=1, label="_leader",
        )  # fmt: skip
        labels.append(
            ax.text(
                1 + inset / width, at / height, text, transform=across, color=color, fontsize=fontsize,
                fontweight="bold", va="center", ha="left",
            )
        )  # fmt: skip
    return labels


def short_number(number: float) -> str:
    """A number in few characters, with k, M or G for thousands, millions or billions.

    Parameters
    ----------
    number
        Any number.

    Returns
    -------
    str
        The text.

    Examples
    --------
    >>> short_number(950), short_number(1_670_000), short_number(3740)
    ('950', '1.67M', '3.74k')
    """
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(number) >= size:
            return f"{number / size:.3g}{unit}"
    return f"{number:.3g}"


def with_minus(text: str) -> str:
    """A number's text with a minus sign in place of a hyphen.

    Parameters
    ----------
    text
        A formatted number.

    Returns
    -------
    str
        The text.

    Examples
    --------
    >>> with_minus("-0.5")
    '−0.5'
    """
    return text.replace("-", "−")


def plain_number(value: float, _: float | None = None) -> str:
    """A number in general format, as a formatter of an axis (the second argument is the tick's position).

    Parameters
    ----------
    value
        Any number.

    Returns
    -------
    str
        The text.

    Examples
    --------
    >>> plain_number(-0.50)
    '−0.5'
    """
    return with_minus(f"{value:g}")


def text_width(text: str, size: float, *, bold: bool = False) -> float:
    """How wide a line of text is in the font in use.

    Parameters
    ----------
    text
        The line.
    size
        Points.
    bold
        Of the letters.

    Returns
    -------
    float
        Inches.

    Examples
    --------
    >>> text_width("wide", 10) < text_width("wider", 10) < text_width("wider", 12)
    True
    """
    font = FontProperties(size=size, weight="bold" if bold else "normal")
    return text_to_path.get_text_width_height_descent(text, font, ismath=False)[0] / 72
