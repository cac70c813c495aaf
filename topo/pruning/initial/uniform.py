"""Uniform random pruning."""

from __future__ import annotations

from torch import Tensor

from ..allocation import uniform_share
from ..registry import PRUNERS
from ..task import Task
from .random import random_masks

__all__ = ["uniform"]


@PRUNERS.register("uniform", family="initial", stage="initial", paper="baseline", needs_data=False)
def uniform(task: Task) -> dict[str, Tensor]:
    """Random weights, the same density in every layer.

    Every layer keeps the same share of its weights, chosen at random, to within one weight; the count in all is exact.
    """
    return random_masks(task, uniform_share)
