"""The look of every figure: colours fixed per pruner, fonts, sizes, thin grid lines."""

from __future__ import annotations

import colorsys
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any, Literal

import matplotlib as mpl
import numpy as np
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, to_hex, to_rgb
from matplotlib.figure import Figure

from ..results.schema import ALL_FAMILIES
from ..validation import one_of, real_number

__all__ = [
    "DIVERGING",
    "FAMILY_COLORS",
    "GRID",
    "HUES",
    "INK",
    "MARKERS",
    "MUTED",
    "PAPER",
    "SEQUENTIAL",
    "SMALL",
    "WIDTHS",
    "Width",
    "cell_ink",
    "corner_title",
    "figure",
    "inches_of",
    "is_pruner",
    "name_cells",
    "pruner_color",
    "pruner_dashes",
    "pruner_marker",
    "sparsity_marker",
    "style",
]

# The report replaces these four by variables of its light and dark scheme: use them for nothing else.
INK, MUTED, GRID, PAPER = "#20242b", "#6a7281", "#e2e5ea", "#fffffe"

WIDTHS = {"column": 3.4, "page": 7.0}
"""Inches of a column and of a page of most journals, by what `width` calls them."""
Width = float | Literal["column", "page"]
SMALL = 7.0
"""Points of the letters of figures that are made for one of these widths."""

# Hues that stay apart under protanopia, deuteranopia and tritanopia (the first eight the furthest), and that show on
# white and on near-black.
HUES = (
    *("#0072b2", "#e69f00", "#009e73", "#d55e00", "#56b4e9", "#cc79a7", "#8422e6", "#80562d"),
    *("#b2b262", "#99176e", "#8c8cff", "#5d47cc", "#e6004d", "#4a7d3a", "#cc1faf", "#8a3b12"),
)
MARKERS = "osD^vPX*"
# Pruner families, in hues that stay apart for every kind of colour vision.
FAMILY_COLORS = {
    "initial": HUES[0],
    "dynamic": HUES[2],
    "trained": HUES[3],
    "structured": HUES[6],
    ALL_FAMILIES: INK,
}
DASHES: tuple[Any, ...] = ("solid", (0, (5, 1.5)), (0, (1.5, 1.2)), (0, (5, 1.5, 1.2, 1.5)))

# A pruner's position decides its colour: append, never reorder.
PRUNERS = (
    *("uniform", "er", "erk", "snip", "grasp", "synflow", "magnitude", "magnitude-layerwise"),
    *("prospr", "phew", "set", "rigl", "itop", "snfs", "lamp", "gmp"),
    *("dsr", "mest", "cht", "force", "iterative-snip", "imp", "wanda", "sparsegpt"),
    *("movement", "obd", "obs", "ramanujan", "l1-filter", "fpgm", "slimming", "taylor"),
    *("magnitude-init", "expander", "chts", "l2-filter", "hrank", "group-norm", "l0", "dag", "variational"),
    *("random-allocation", "ria", "owl", "woodfisher", "ac-dc", "str", "continuous-sparsification", "edge-popup"),
    *("granet", "top-kast", "srigl", "ntk-sap", "px"),
)
POSITIONS = {name: i for i, name in enumerate(PRUNERS)}

DIVERGING = LinearSegmentedColormap.from_list(
    "topo_diverging", ["#8c2d04", "#d9773a", "#f5c9a4", "#f7f6f4", "#a9cbe3", "#3f83bd", "#084a8b"]
)
SEQUENTIAL = LinearSegmentedColormap.from_list("topo_sequential", ["#dbe9f4", "#74add1", "#2b6ca8", "#12355f"])

FONTS = ("Inter", "Helvetica Neue", "Arial", "Liberation Sans", "DejaVu Sans")


@cache
def _fonts() -> list[str]:
    installed = set(font_manager.get_font_names())
    return [font for font in FONTS if font in installed] or ["sans-serif"]


@contextmanager
def style() -> Iterator[None]:
    """Use the project's look inside a ``with`` block; the settings from before come back after it."""
    settings: Any = {
        "font.family": _fonts(),
        "font.size": 9,
        "text.color": INK,
        "axes.edgecolor": MUTED,
        "axes.labelcolor": INK,
        "axes.labelsize": 9,
        "axes.titlesize": 9.5,
        "axes.titleweight": "bold",
        "axes.titlelocation": "left",
        "axes.titlepad": 8,
        "axes.linewidth": 0.6,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.facecolor": "none",
        "axes.axisbelow": True,
        "axes.grid": False,
        "axes.unicode_minus": True,
        "axes.formatter.useoffset": False,
        "grid.color": GRID,
        "grid.linewidth": 0.5,
        "xtick.color": MUTED,
        "ytick.color": MUTED,
        "xtick.labelcolor": INK,
        "ytick.labelcolor": INK,
        "xtick.labelsize": 8,
        "ytick.labelsize": 8,
        "xtick.major.width": 0.6,
        "ytick.major.width": 0.6,
        "xtick.major.size": 3,
        "ytick.major.size": 3,
        "xtick.minor.size": 0,
        "ytick.minor.size": 0,
        "lines.linewidth": 1.5,
        "lines.markersize": 4.5,
        "hatch.linewidth": 0.5,
        "legend.frameon": False,
        "legend.fontsize": 8,
        "figure.facecolor": PAPER,
        "figure.dpi": 100,
        "savefig.dpi": 200,
        "savefig.facecolor": PAPER,
        "svg.fonttype": "path",
        "text.parse_math": False,  # names of pruners and models may hold dollars
        "svg.hashsalt": "topo",
        "figure.constrained_layout.use": False,
    }
    with mpl.rc_context(settings):
        yield


def figure(width: float, height: float) -> Figure:
    """A blank figure of a size in inches that pyplot does not keep, so that it need not be closed.

    Parameters
    ----------
    width
        Inches.
    height
        Inches.

    Returns
    -------
    Figure
        Without Axes.
    """
    return Figure(figsize=(width, height))


def figure_of(ax: Axes) -> Figure:
    """The figure that holds Axes.

    Parameters
    ----------
    ax
        Axes of a figure or of one of its subfigures.
    """
    root = ax.get_figure(root=True)
    if root is None:
        raise ValueError("the Axes belong to no figure")
    return root


def inches_of(width: Width) -> float:
    """The width of a figure in inches.

    Parameters
    ----------
    width
        Inches, or a key of ``WIDTHS``.

    Returns
    -------
    float
        Inches.

    Raises
    ------
    InputError
        It is neither.

    Examples
    --------
    >>> inches_of("column"), inches_of(5)
    (3.4, 5.0)
    """
    return WIDTHS[one_of("width", width, WIDTHS)] if isinstance(width, str) else real_number("width", width, above=0)


def own_axes(ax: Axes | None, width: float, height: float, margins: Sequence[float]) -> tuple[Axes, bool]:
    """The Axes given, or new ones in a figure with margins (left, right, bottom, top) in inches.

    Parameters
    ----------
    ax
        Axes, or None for new ones.
    width
        Inches of the new figure.
    height
        Inches of the new figure.
    margins
        Left, right, bottom and top margins of the new Axes in inches.
    """
    if ax is not None:
        return ax, False
    left, right, bottom, top = margins
    new = figure(width, height)
    size = (left / width, bottom / height, 1 - (left + right) / width, 1 - (bottom + top) / height)
    return new.add_axes(size), True


def _position(name: str) -> int:
    """Position of a pruner in the order of colours, markers and dashes; of an unknown one from its name."""
    name = name.lower()
    if name in POSITIONS:
        return POSITIONS[name]
    return len(POSITIONS) + zlib.crc32(name.encode()) % 64


def _shade(color: str, step: int) -> str:
    """The hue itself, then a darker, a lighter and a greyer one."""
    if step == 0:
        return color
    hue, light, saturation = colorsys.rgb_to_hls(*to_rgb(color))
    light, saturation = [(light * 0.68, saturation), (0.5 + light * 0.42, saturation), (light, saturation * 0.4)][
        step - 1
    ]
    return to_hex(colorsys.hls_to_rgb(hue, light, saturation))


def cell_ink(dark: bool) -> str:
    """Colour of a number on a coloured cell: fixed, since it must not follow the report's light or dark scheme.

    Parameters
    ----------
    dark
        Whether the cell is dark.

    Returns
    -------
    str
        A colour.
    """
    return "#ffffff" if dark else "#1a1d21"


def palette() -> list[str]:
    """Every colour that a pruner can have."""
    return [_shade(hue, step) for step in range(4) for hue in HUES]


def is_pruner(name: str) -> bool:
    """Whether a name is that of the dense network or of a pruner of the library, which have colours of their own.

    Parameters
    ----------
    name
        Any name.
    """
    return name.lower() in ("dense", *PRUNERS)


def pruner_color(name: str) -> str:
    """The pruner's colour, the same in every figure; the dense network is ink-coloured.

    Parameters
    ----------
    name
        Name of a pruner.

    Returns
    -------
    str
        A colour.

    Examples
    --------
    >>> pruner_color("snip") == pruner_color("SNIP") != pruner_color("grasp")
    True
    """
    if name.lower() == "dense":
        return INK
    position = _position(name)
    return _shade(HUES[position % 16], position // 16 % 4)


def pruner_dashes(name: str) -> Any:
    """The pruner's line style: solid for the first eight, dashes for those after.

    Parameters
    ----------
    name
        Name of a pruner.

    Returns
    -------
    str or tuple
        A line style of matplotlib.
    """
    return DASHES[_position(name) // 8 % 4]


def pruner_marker(name: str) -> str:
    """The pruner's marker: a second sign beside its colour.

    Parameters
    ----------
    name
        Name of a pruner.

    Returns
    -------
    str
        A marker of matplotlib.
    """
    return MARKERS[_position(name) % 8]


def sparsity_marker(sparsities: Sequence[float]) -> dict[float, str]:
    """A marker for each sparsity, from the lowest up; they repeat after eight.

    Parameters
    ----------
    sparsities
        The sparsities of a figure.

    Returns
    -------
    dict
        Sparsity -> marker of matplotlib.
    """
    return {s: MARKERS[i % 8] for i, s in enumerate(sorted(sparsities))}


def pruner_order(names: Sequence[str]) -> list[str]:
    """Pruner names in the fixed order of their colours.

    Parameters
    ----------
    names
        Names of pruners.
    """
    return sorted(names, key=lambda n: (_position(n), n))


def name_cells(ax: Axes, rows: Sequence[str], columns: Sequence[str], **font: Any) -> None:
    """Name the rows of a matrix of cells at their left, from the top down, and its columns above.

    Parameters
    ----------
    ax
        Where cells of size one are drawn.
    rows, columns
        Their names.
    font
        Of the names of columns.
    """
    ax.set_ylim(len(rows), 0)
    ax.set_xticks(np.arange(len(columns)) + 0.5, columns, rotation=90, **font)
    ax.set_yticks(np.arange(len(rows)) + 0.5, rows)
    ax.xaxis.tick_top()
    ax.tick_params(length=0, pad=3)
    ax.spines[:].set_visible(False)


def corner_title(drawn: Figure, title: str) -> None:
    """Write a title into the upper left corner of a figure.

    Parameters
    ----------
    drawn
        The figure.
    title
        What it is called.
    """
    high, wide = drawn.get_figheight(), drawn.get_figwidth()
    drawn.text(0.12 / wide, 1 - 0.18 / high, title, fontsize=9.5, fontweight="bold", va="center")
