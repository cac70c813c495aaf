"""The datasets by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ..registry import Registry

if TYPE_CHECKING:
    from .dataset import Dataset

__all__ = ["DATASETS"]

DATASETS: Registry[Callable[..., Dataset]] = Registry("dataset")
"""Loaders ``loader(root, download, *, ...settings) -> Dataset`` on the CPU."""
