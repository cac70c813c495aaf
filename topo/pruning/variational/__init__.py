"""Variational pruning of units and layers during training, aware of what they cost.

A reimplementation after V. F. I. Guenter and A. Sideris, *Complexity-Aware Training of Deep Neural Networks for
Optimal Structure Discovery*, arXiv 2411.09127 (2024) and arXiv 2406.04549. **Of these papers only the abstracts were
available here.** The formulas are derived and tested here, and no number of the papers is claimed.

Random gates scale units and whole branches; their probabilities to be open are trained with the weights, and what a
closed gate stands for is removed for good while training goes on.
"""

from __future__ import annotations

from .budget_target import BudgetTarget
from .callback import VariationalCallback
from .complexity import Complexity
from .config import VariationalConfig
from .gated import GatedModel, shrink
from .gates import Gates, find_gates
from .pruner import VariationalPruner
from .run import VariationalRun, train

__all__ = [
    "BudgetTarget",
    "Complexity",
    "GatedModel",
    "Gates",
    "VariationalCallback",
    "VariationalConfig",
    "VariationalPruner",
    "VariationalRun",
    "find_gates",
    "shrink",
    "train",
]
