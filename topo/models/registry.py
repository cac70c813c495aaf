"""The models by name."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from ..registry import Registry

__all__ = ["MODELS"]

MODELS: Registry[Callable[..., nn.Module]] = Registry("model")
"""Builders ``builder(input_shape, n_classes, *, ...settings) -> nn.Module``.

Those of this package are given the shape (channels, height, width) of an image unless their entry's ``sample`` names
other axes, and whole numbers where it has ``tokens``; those of one's own any shape.
"""
