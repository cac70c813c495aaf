"""Dynamic sparse training: the topology changes while the weights are trained."""

from __future__ import annotations

from ...registry import import_submodules

import_submodules(__name__, __path__)
