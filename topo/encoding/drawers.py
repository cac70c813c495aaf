"""Ways to draw a graph, by name: figures are built on graphs, so graphs look up who draws them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..registry import Registry

__all__ = ["DRAWERS"]

DRAWERS: Registry[Callable[..., Any]] = Registry("drawer")
"""Functions ``drawer(graph, ...options)``; those of `topo.plots` come by the entry points ``topo.drawers``."""
