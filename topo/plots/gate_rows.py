"""Which gates of a variational run close, and when: a row a gate, along the training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from ..errors import InputError, counted
from .labels import text_width
from .layers import short_layer_names
from .theme import INK, MUTED, SEQUENTIAL, SMALL, Width, corner_title, figure, inches_of, style

__all__ = ["gate_course"]

ROW, LAYER_ROW, SHORTEST, TALLEST, GAP = 0.075, 0.14, 0.16, 1.6, 0.07
"""Inches: a gate of a unit and of a layer, the least and the most of a block of units, and between blocks."""
MOST_COLUMNS = 1200
OPEN = 0.5
"""What a gate ends above that counts as open."""


class _Block(NamedTuple):
    """Rows of the figure: their names (one name for all units of a layer) and gates, from the top down."""

    names: list[str]
    gates: np.ndarray
    of_layers: bool

    @property
    def height(self) -> float:
        rows = len(self.gates)
        return LAYER_ROW * rows if self.of_layers else float(np.clip(ROW * rows, SHORTEST, TALLEST))


def gate_course(
    thetas: ArrayLike,
    names: Sequence[str],
    is_layer: ArrayLike,
    *,
    times: ArrayLike | None = None,
    width: Width = "page",
) -> Figure:
    """The probability of every gate to be open, as a shade: a row a gate, a column a record, a block for the units of
    each layer and a last one for layers.

    In a block of units the row at the bottom is the gate with the smallest mean probability, which went first. At the
    right: how many gates end open, that is above 1/2, of how many.

    Parameters
    ----------
    thetas
        Probabilities that gates are open, shape (records, gates), such as `VariationalRun.thetas`.
    names
        Of the gates, such as `Gates.names`; units of one name are a block.
    is_layer
        Which gates close layers, bool (gates,).
    times
        When the records were made, in epochs, rising; 0, 1, 2, ... when left out.
    width
        Inches, or ``"column"`` (3.4) or ``"page"`` (7) of a journal. Letters keep their size.

    Returns
    -------
    Figure
        With axes for each block, and for the scale.

    Raises
    ------
    InputError
        Nothing to draw, shapes that do not fit, probabilities outside 0 to 1, or times that do not rise.

    Examples
    --------
    >>> course = [[0.9, 0.9, 0.9], [0.4, 1.0, 1.0], [0.0, 1.0, 1.0]]
    >>> figure = gate_course(course, ["conv1", "conv1", "conv2"], [False, False, True])
    >>> [text.get_text() for ax in figure.axes for text in ax.texts]
    ['1 of 2', '1 of 1']
    """
    values, layers = np.asarray(thetas, dtype=float), np.asarray(is_layer, dtype=bool)
    when = np.arange(len(values), dtype=float) if times is None else np.asarray(times, dtype=float)
    _check(values, names, layers, when)
    chosen = np.unique(np.linspace(0, len(values) - 1, MOST_COLUMNS).round().astype(int))
    values, when = values[chosen], when[chosen]
    blocks = _blocks(values, names, layers)
    inches = inches_of(width)
    left = 0.2 + max(text_width(name, SMALL) for block in blocks for name in block.names)
    ends = [f"{int((values[-1, block.gates] > OPEN).sum())} of {len(block.gates)}" for block in blocks]
    right, top, bottom = 0.15 + max(text_width(end, SMALL) for end in ends), 0.3, 0.78
    height = top + sum(block.height for block in blocks) + GAP * (len(blocks) - 1) + bottom
    # A record's shade reaches from its own time to the next one's.
    edges = np.append(when, when[-1] + (when[-1] - when[-2] if len(when) > 1 else 1.0))
    with style():
        drawn = figure(inches, height)
        y = height - top
        for block, end in zip(blocks, ends, strict=True):
            y -= block.height
            box = (left / inches, y / height, (inches - left - right) / inches, block.height / height)
            ax, rows, is_last = drawn.add_axes(box), len(block.gates), block is blocks[-1]
            shade = values[:, block.gates].T
            ax.pcolormesh(edges, np.arange(rows + 1), shade, cmap=SEQUENTIAL, vmin=0, vmax=1, rasterized=True)
            ax.set_ylim(rows, 0)
            ax.set_yticks(np.arange(rows) + 0.5 if block.of_layers else [rows / 2], block.names, fontsize=SMALL)
            ax.spines[:].set_visible(False)
            ax.tick_params(axis="y", length=0)
            ax.tick_params(axis="x", labelbottom=is_last, length=2.5 if is_last else 0, labelsize=SMALL)
            place: dict[str, Any] = {"xycoords": "axes fraction", "textcoords": "offset points", "va": "center"}
            ax.annotate(end, (1, 0.5), (5, 0), fontsize=SMALL, color=INK, **place)
            y -= GAP
        ax.set_xlabel("epoch", fontsize=SMALL)
        _scale(drawn, inches, height, left)
        corner_title(drawn, "Gates over the training")
    return drawn


def _scale(drawn: Figure, inches: float, height: float, left: float) -> None:
    """What the shade means, below."""
    long = min(1.3, (inches - left) / 2)
    bar = drawn.add_axes((left / inches, 0.2 / height, long / inches, 0.09 / height))
    drawn.colorbar(ScalarMappable(Normalize(0, 1), SEQUENTIAL), cax=bar, orientation="horizontal", ticks=[0, 0.5, 1])
    bar.tick_params(labelsize=SMALL - 0.5, length=0, pad=2)
    for spine in bar.spines.values():
        spine.set_visible(False)
    place = (left + long + 0.12) / inches
    drawn.text(place, 0.245 / height, "probability to be open", fontsize=SMALL, color=MUTED, va="center")


def _blocks(values: np.ndarray, names: Sequence[str], layers: np.ndarray) -> list[_Block]:
    """The units of each layer in the order of their means, then the layers in theirs."""
    of_units: dict[str, list[int]] = {}
    for gate in np.flatnonzero(~layers).tolist():
        of_units.setdefault(names[gate], []).append(gate)
    blocks = []
    for name, members in of_units.items():
        order = np.argsort(-values[:, members].mean(axis=0), kind="stable")
        blocks.append(_Block(short_layer_names([name]), np.array(members)[order], False))
    if layers.any():
        gates = np.flatnonzero(layers)
        blocks.append(_Block(short_layer_names([names[gate] for gate in gates.tolist()]), gates, True))
    return blocks


def _check(values: np.ndarray, names: Sequence[str], layers: np.ndarray, when: np.ndarray) -> None:
    if values.ndim != 2 or not values.size:
        raise InputError(f"thetas has the shape {values.shape}; it needs (records, gates), one of each at least.")
    if len(names) != values.shape[1] or layers.shape != values.shape[1:] or when.shape != values.shape[:1]:
        raise InputError(
            f"thetas has the shape {values.shape}, with {counted(len(names), 'name')}, is_layer of shape "
            f"{layers.shape} and times of shape {when.shape}; names and is_layer need one entry a "
            "gate, times one a record."
        )
    if not ((values >= 0) & (values <= 1)).all():
        raise InputError("thetas has numbers outside 0 to 1, or none; they are probabilities that gates are open.")
    if not (np.diff(when) > 0).all():
        raise InputError("times must rise from record to record.")
