"""Erdos-Renyi random pruning (Mocanu et al., Nature Communications 2018, arXiv 1707.04780)."""

from __future__ import annotations

from torch import Tensor

from ..allocation import er_share
from ..registry import PRUNERS
from ..task import Task
from .random import random_masks

__all__ = ["er"]


@PRUNERS.register("er", family="initial", stage="initial", paper="Mocanu et al. 2018", needs_data=False)
def er(task: Task) -> dict[str, Tensor]:
    """Random weights, layer density ~ (n_in + n_out) / (n_in * n_out).

    Of a convolution, n_in and n_out are its channels (the first two dimensions of its weight), as Evci et al. 2020
    write it; layers that would be overfull are dense.
    """
    return random_masks(task, er_share)
