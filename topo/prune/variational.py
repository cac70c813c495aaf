"""Variational pruning under a short name; all of it is in `topo.prune.structured.variational`."""

from .structured.variational import *  # noqa: F403
from .structured.variational import __all__ as __all__
