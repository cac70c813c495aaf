"""What each operation means for the graph: one rule an operation, or a family of operations.

A rule takes a `Call` and returns the map from one input of the operation to its result. To teach the toolkit a new
operation, add its name to `elementwise.POINTWISE` or `views.VIEWS`, or write a rule of a few lines.
"""

from __future__ import annotations

from . import layers, pointwise, products, views, windows  # noqa: F401  (register their rules)
from .call import RULES, Call, is_parametric, is_pooling, rule, step_map
from .pointwise import POINTWISE

__all__ = ["POINTWISE", "RULES", "Call", "is_parametric", "is_pooling", "rule", "step_map"]
