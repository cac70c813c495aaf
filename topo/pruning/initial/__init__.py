"""Pruning at initialisation.

All of a model's convolutions and linear layers are pruned, as in most papers. Where one leaves layers dense, such as
the first, the last, or the 1x1 convolutions of shortcuts, name them: ``topo.prune(resnet, "snip", sparsity=0.9,
exclude=["conv1.*", "*downsample*", "fc.*"])``; sparsity then counts the other layers alone.
"""

from __future__ import annotations

from ...registry import import_submodules

import_submodules(__name__, __path__)
