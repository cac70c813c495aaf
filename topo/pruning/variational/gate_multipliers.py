"""What gates multiply: for every parameter a product of gates, all of them gathered at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from ...dag.channel_coupling import CoupledChannels
from .branches import LayerGate

__all__ = ["Factors"]


class Factors:
    """The factors of a network's parameters as functions of its gates.

    A factor is a vector along the axis that a weight reads along, or a single number; an entry is the product of the
    gates of a unit and of layers. Parameters with the same factor share it, and all factors are parts of one vector.

    Parameters
    ----------
    found
        The units.
    of_unit
        Unit -> its gate, int64 (units + 1,); `count` for units without one and for the last entry.
    layers
        The layer gates, numbered from `first`.
    count
        The number of all gates.
    """

    def __init__(
        self, found: CoupledChannels, of_unit: Tensor, layers: Sequence[LayerGate], first: int, count: int
    ) -> None:
        self.count = count
        rows: dict[str, list[np.ndarray]] = {}
        for name, used in found.layers.items():
            if name in found.axes and used[0].groups == 1:
                gate = of_unit[found.axes[name][used[0].reads]].numpy()
                if (gate < count).any():
                    rows[name] = [gate]
        for number, layer in enumerate(layers, start=first):
            for name in layer.scaled:
                rows.setdefault(name, []).append(np.array([number]))
            for name, columns in layer.columns.items():
                _add(rows.setdefault(name, []), np.where(columns, number, count), count)
        deepest = max(map(len, rows.values()), default=1)
        known: dict[bytes, int] = {}
        pieces: list[np.ndarray] = []
        self._places: dict[str, tuple[int, list[int]]] = {}
        for name, parts in rows.items():
            parts += [np.array([count])] * (deepest - len(parts))
            piece = np.stack(np.broadcast_arrays(*parts))
            number = known.setdefault(piece.tobytes(), len(pieces))
            if number == len(pieces):
                pieces.append(piece)
            shape = [1] * found.dag.state[name].ndim
            if piece.shape[1] > 1:
                shape[found.layers[name][0].reads] = -1
            self._places[name] = (number, shape)
        self._lengths = [piece.shape[1] for piece in pieces]
        together = np.concatenate(pieces, axis=1) if pieces else np.empty((1, 0), dtype=np.int64)
        # Row by row: the derivative of a product along an axis is slow.
        self._gates = {torch.device("cpu"): list(torch.from_numpy(together))}

    def multipliers(self, xi: Tensor) -> dict[str, Tensor]:
        """For every parameter that gates multiply, by what, to be broadcast against it."""
        padded = torch.cat([xi, xi.new_ones(1)])
        first, *others = (padded[gate] for gate in self._on(xi.device))
        for other in others:
            first = first * other
        pieces = first.split(self._lengths)
        return {name: pieces[number].view(shape) for name, (number, shape) in self._places.items()}

    def norms(self, values: Mapping[str, Tensor]) -> Tensor:
        """For every gate the Euclidean norm of the elements that it multiplies, (count,)."""
        like = next(iter(values.values()))
        squares = [like.new_zeros(length) for length in self._lengths]
        for name, (number, shape) in self._places.items():
            others = [axis for axis, length in enumerate(shape) if length == 1]
            squares[number] += values[name].square().sum(others).reshape(-1)
        total = like.new_zeros(self.count + 1)
        for gate in self._on(like.device):
            total.index_add_(0, gate, torch.cat([*squares, like.new_zeros(0)]))
        return total[:-1].sqrt()

    def _on(self, device: torch.device) -> list[Tensor]:
        if device not in self._gates:
            self._gates[device] = [gate.to(device) for gate in self._gates[torch.device("cpu")]]
        return self._gates[device]


def _add(parts: list[np.ndarray], gate: np.ndarray, none: int) -> None:
    """Put the gates of some columns where no other gate is, or on their own."""
    for place, part in enumerate(parts):
        if len(part) == len(gate) and (part[gate < none] == none).all():
            parts[place] = np.minimum(part, gate)
            return
    parts.append(gate)
