"""Structured pruning: whole units, which compaction removes."""

from __future__ import annotations

from ...registry import import_submodules

import_submodules(__name__, __path__)
