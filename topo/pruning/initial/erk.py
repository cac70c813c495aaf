"""Erdos-Renyi-kernel random pruning (Evci et al., RigL, ICML 2020, arXiv 1911.11134)."""

from __future__ import annotations

from torch import Tensor

from ..allocation import erk_share
from ..registry import PRUNERS
from ..task import Task
from .random import random_masks

__all__ = ["erk"]


@PRUNERS.register("erk", family="initial", stage="initial", paper="Evci et al. 2020", needs_data=False)
def erk(task: Task) -> dict[str, Tensor]:
    """Random weights, layer density ~ sum(shape) / prod(shape).

    As ER, with the kernel sizes in the sum and the product; layers that would be overfull are dense.
    """
    return random_masks(task, erk_share)
