"""Pruning at initialisation."""

from __future__ import annotations

from . import er, erk, grasp, snip, synflow, uniform

__all__ = ["er", "erk", "grasp", "snip", "synflow", "uniform"]
