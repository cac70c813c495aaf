"""What gates multiply: for every parameter a product of gates, all of them gathered at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from ...dag.channel_coupling import CoupledChannels
from .branches import LayerGate

__all__ = ["GateMultipliers"]


class GateMultipliers:
    """The multipliers of a network's parameters as functions of its gates.

    A multiplier is a vector along the axis that a weight reads along, or a single number; an entry is the product of
    the gates of a unit and of layers. Parameters with the same multiplier share it, and all multipliers are slices of
    one vector.

    Parameters
    ----------
    channels
        All units of the network.
    gate_of_unit
        Unit -> its gate, int64 (units + 1,); `count` for units without one and for the last entry.
    layers
        The layer gates.
    first_layer
        The number of the first layer gate.
    count
        The number of all gates.
    """

    def __init__(
        self, channels: CoupledChannels, gate_of_unit: Tensor, layers: Sequence[LayerGate], first_layer: int, count: int
    ) -> None:
        self.count = count
        factors: dict[str, list[np.ndarray]] = {}
        for name, used in channels.layers.items():
            if name in channels.axes and used[0].groups == 1:
                gate = gate_of_unit[channels.axes[name][used[0].reads]].numpy()
                if (gate < count).any():
                    factors[name] = [gate]
        for number, layer in enumerate(layers, start=first_layer):
            for name in layer.scaled:
                factors.setdefault(name, []).append(np.array([number]))
            for name, columns in layer.columns.items():
                _add_columns(factors.setdefault(name, []), np.where(columns, number, count), count)
        most_factors = max(map(len, factors.values()), default=1)
        number_of: dict[bytes, int] = {}
        pieces: list[np.ndarray] = []
        self._slices: dict[str, tuple[int, list[int]]] = {}
        for name, parts in factors.items():
            parts += [np.array([count])] * (most_factors - len(parts))
            piece = np.stack(np.broadcast_arrays(*parts))
            number = number_of.setdefault(piece.tobytes(), len(pieces))
            if number == len(pieces):
                pieces.append(piece)
            shape = [1] * channels.dag.state[name].ndim
            if piece.shape[1] > 1:
                shape[channels.layers[name][0].reads] = -1
            self._slices[name] = (number, shape)
        self._lengths = [piece.shape[1] for piece in pieces]
        joined = np.concatenate(pieces, axis=1) if pieces else np.empty((1, 0), dtype=np.int64)
        # Row by row: the derivative of a product along an axis is slow.
        self._gates = {torch.device("cpu"): list(torch.from_numpy(joined))}

    def multipliers(self, xi: Tensor) -> dict[str, Tensor]:
        """For every parameter that gates multiply, its multiplier, to be broadcast against it.

        Parameters
        ----------
        xi
            Gates, (count,).

        Returns
        -------
        dict
            Name -> tensor with as many axes as the parameter.
        """
        padded = torch.cat([xi, xi.new_ones(1)])
        product, *others = (padded[gate] for gate in self._gates_on(xi.device))
        for other in others:
            product = product * other
        pieces = product.split(self._lengths)
        return {name: pieces[number].view(shape) for name, (number, shape) in self._slices.items()}

    def norms(self, values: Mapping[str, Tensor]) -> Tensor:
        """For every gate the Euclidean norm of the elements that it multiplies, (count,).

        Parameters
        ----------
        values
            Name of each parameter -> tensor in its shape.

        Returns
        -------
        Tensor
            (count,).
        """
        like = next(iter(values.values()))
        squares = [like.new_zeros(length) for length in self._lengths]
        for name, (number, shape) in self._slices.items():
            others = [axis for axis, length in enumerate(shape) if length == 1]
            squares[number] += values[name].square().sum(others).reshape(-1)
        total = like.new_zeros(self.count + 1)
        for gate in self._gates_on(like.device):
            total.index_add_(0, gate, torch.cat([*squares, like.new_zeros(0)]))
        return total[:-1].sqrt()

    def _gates_on(self, device: torch.device) -> list[Tensor]:
        if device not in self._gates:
            self._gates[device] = [gate.to(device) for gate in self._gates[torch.device("cpu")]]
        return self._gates[device]


def _add_columns(factors: list[np.ndarray], gate: np.ndarray, none: int) -> None:
    """Enter the gates of some columns into a factor that has no other gate there, or as a factor of their own."""
    for index, factor in enumerate(factors):
        if len(factor) == len(gate) and (factor[gate < none] == none).all():
            factors[index] = np.minimum(factor, gate)
            return
    factors.append(gate)
