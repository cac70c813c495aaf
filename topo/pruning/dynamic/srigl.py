"""SRigL: structured RigL, with a constant fan-in (Lasby et al., ICLR 2024, arXiv 2305.02299)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from ...validation import share
from ..allocation import keep_in_rows, keep_largest
from ..input_statistics import find_rows
from ..registry import PRUNERS
from ..task import Task
from ..weight_rows import Rows, as_matrix, written_back
from .updater import TopologyUpdater, gradient, largest

__all__ = ["SRigL"]


@PRUNERS.register("srigl", family="dynamic", stage="training", paper="Lasby et al. 2024", needs_data=False)
@dataclass(eq=False, kw_only=True)
class SRigL(TopologyUpdater):
    """RigL whose neurons all have as many weights, but for those that are ablated for want of salient ones.

    A weight of a layer is salient if it is among the largest |w| that an update leaves, or among as many of the largest
    |dL/dw| as it drops; as in the public code, of all weights, kept ones too. A neuron with too few salient weights,
    next to the fan-in that all neurons together would have, is ablated: it loses all its weights, and the fan-in of the
    others rises; it comes back when it is salient again. The smallest |w| of the layer are dropped, and each neuron
    that is not ablated grows its largest |dL/dw| up to the common fan-in. None of the last layer is ablated, and none
    that the layer's weights need for room.

    For the count of weights to be exact, fan-ins differ by one where they must: neurons with most weights left have one
    more. A neuron is an output of a layer where data or an example let see which weights that has, and else an element
    of the weight's first axis, which of a transposed convolution is an input.

    Parameters
    ----------
    salient
        The least share gamma_sal of the fan-in, from 0 up to 1, that must be salient; less than one weight counts as
        one. The public code has 0.3 for convolutional networks and 0.95 for vision transformers.
    """

    salient: float = 0.3

    longest_interval: ClassVar[int | None] = 100

    def __post_init__(self, task: Task) -> None:
        super().__post_init__(task)
        self.salient = share("salient", self.salient)
        find_rows(task)
        self.rows: dict[str, list[Rows]] = task.rows
        self.fan_in: dict[str, Tensor] = {}
        masks = {}
        for name, mask in self.masks.items():
            scores = torch.rand(self.by_neuron(name, mask).shape, generator=self.generator)
            masks[name] = self.of_neurons(name, keep_in_rows(scores, int(mask.sum())), mask)
        self.masks = masks

    def dropped(
        self, weights: Mapping[str, nn.Parameter], masks: Mapping[str, Tensor], fraction: float
    ) -> dict[str, Tensor]:
        surviving = {}
        for name, mask in masks.items():
            held = self.by_neuron(name, mask)
            size = self.by_neuron(name, weights[name].detach().abs())
            slope = self.by_neuron(name, gradient(weights[name]))
            total = int(held.sum())
            gone = self.quota(name, mask, fraction)
            left = largest(size, held, total - gone)
            salient = left | largest(slope.abs(), torch.ones_like(held), gone)
            active = self.active(name, salient.sum(1), total, held.shape[1])
            among = held & active[:, None]
            left = largest(size, among, min(total - gone, int(among.sum())))
            each, more = divmod(total, max(1, int(active.sum())))
            most = keep_largest({name: left.sum(1).float().masked_fill(~active, -1.0)}, more)[name]
            self.fan_in[name] = (each * active + most)[:, None]
            surviving[name] = self.of_neurons(name, left & (places(size, left) < self.fan_in[name]), mask)
        return surviving

    def active(self, name: str, salient: Tensor, total: int, columns: int) -> Tensor:
        """Which neurons of a layer are not ablated.

        Parameters
        ----------
        name
            Of its weight.
        salient
            Number of salient weights of each neuron.
        total, columns
            How many weights the layer keeps, and how many a neuron can have.

        Returns
        -------
        Tensor
            bool, one for each neuron.
        """
        if name == self.names[-1]:
            return torch.ones_like(salient, dtype=torch.bool)
        enough = salient >= max(1, int(self.salient * (total // len(salient))))
        return enough | keep_largest({name: salient.float()}, -(-total // columns))[name]

    def grown(
        self, weights: Mapping[str, nn.Parameter], surviving: Mapping[str, Tensor], counts: Mapping[str, int]
    ) -> dict[str, Tensor]:
        after = {}
        for name, mask in surviving.items():
            held = self.by_neuron(name, mask)
            slope = self.by_neuron(name, gradient(weights[name])).abs().nan_to_num(nan=0.0)
            lacking = self.fan_in[name] - held.sum(1, keepdim=True)
            after[name] = self.of_neurons(name, held | (places(slope, ~held) < lacking), mask)
        return after

    def by_neuron(self, name: str, tensor: Tensor) -> Tensor:
        """A tensor of a weight's shape as a matrix with a row for each neuron; a vector is one row.

        Parameters
        ----------
        name
            Of the weight.
        tensor
            Such as its mask.

        Returns
        -------
        Tensor
            (neurons, weights of each).
        """
        if name in self.rows:
            return as_matrix(tensor, self.rows[name]).flatten(1)
        return tensor.flatten(1) if tensor.ndim > 1 else tensor[None]

    def of_neurons(self, name: str, matrix: Tensor, like: Tensor) -> Tensor:
        """The tensor of a weight's shape from what `by_neuron` makes of it.

        Parameters
        ----------
        name
            Of the weight.
        matrix
            (neurons, weights of each).
        like
            A tensor of the weight's shape.

        Returns
        -------
        Tensor
            In that shape, of the type of the matrix.
        """
        return written_back(matrix, self.rows[name], like) if name in self.rows else matrix.view(like.shape)


def places(scores: Tensor, among: Tensor) -> Tensor:
    """The place of each score in its row, 0 for the largest; those not among the ones to rank come last.

    Parameters
    ----------
    scores
        (rows, columns).
    among
        bool, (rows, columns).

    Returns
    -------
    Tensor
        int64, (rows, columns).

    Examples
    --------
    >>> places(torch.tensor([[5.0, 7.0, 6.0]]), torch.tensor([[True, False, True]])).tolist()
    [[1, 2, 0]]
    """
    order = scores.masked_fill(~among, -torch.inf).argsort(dim=1, descending=True, stable=True)
    return order.argsort(dim=1)
