"""Pruning a trained network."""

from __future__ import annotations

from . import magnitude, magnitude_layerwise

__all__ = ["magnitude", "magnitude_layerwise"]
