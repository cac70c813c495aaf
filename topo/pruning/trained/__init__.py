"""Pruning a trained network."""

from __future__ import annotations

from ...registry import import_submodules

import_submodules(__name__, __path__)
