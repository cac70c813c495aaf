"""SRigL: structured RigL, with a constant fan-in (Lasby et al., ICLR 2024, arXiv 2305.02299)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from ...validation import share
from ..allocation import keep_in_rows, keep_largest
from ..registry import PRUNERS
from ..task import Task
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
    more. A neuron is an element of the first axis of a weight, an output but for transposed convolutions.

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
        self.fan_in: dict[str, Tensor] = {}
        masks = {}
        for name, mask in self.masks.items():
            scores = torch.rand(in_rows(mask).shape, generator=self.generator)
            masks[name] = keep_in_rows(scores, int(mask.sum())).view(mask.shape)
        self.masks = masks

    def dropped(
        self, weights: Mapping[str, nn.Parameter], masks: Mapping[str, Tensor], fraction: float
    ) -> dict[str, Tensor]:
        surviving = {}
        for name, mask in masks.items():
            held, size, slope = in_rows(mask), in_rows(weights[name].detach().abs()), in_rows(gradient(weights[name]))
            total = int(held.sum())
            gone = self.quota(name, mask, fraction)
            left = largest(size, held, total - gone)
            salient = left | largest(slope.abs(), torch.ones_like(held), gone)
            active = self.active(name, salient.sum(1), total, held.shape[1])
            among = held & active[:, None]
            left = largest(size, among, min(total - gone, int(among.sum())))
            each, more = divmod(total, int(active.sum()))
            most = keep_largest({name: left.sum(1).float().masked_fill(~active, -1.0)}, more)[name]
            self.fan_in[name] = (each * active + most)[:, None]
            surviving[name] = (left & (places(size, left) < self.fan_in[name])).view(mask.shape)
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
            held, slope = in_rows(mask), in_rows(gradient(weights[name])).abs().nan_to_num(nan=0.0)
            lacking = self.fan_in[name] - held.sum(1, keepdim=True)
            after[name] = (held | (places(slope, ~held) < lacking)).view(mask.shape)
        return after


def in_rows(tensor: Tensor) -> Tensor:
    """A tensor as a matrix with a row for each element of its first axis; a vector is one row.

    Parameters
    ----------
    tensor
        Of any shape.

    Returns
    -------
    Tensor
        (rows, columns).
    """
    return tensor.flatten(1) if tensor.ndim > 1 else tensor[None]


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
