"""Units that can have a gate of their own."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ...dag.channel_coupling import CoupledChannels
from ..dag_pruning.prunable_network import Network
from .branches import LayerGate
from .survival_polynomials import ALWAYS, Survival

__all__ = ["free_units"]


def free_units(network: Network, layers: Sequence[LayerGate]) -> Tensor:
    """Which units can have a gate, bool (units,).

    Some layer reads them that is not grouped, for there the gate is; their elements are no sums, for channels of a
    residual stream carry what is added to them; and none is alone in its layer outside of all gated branches, for no
    path would be left without it.
    """
    found = network.found
    number, conditions = Survival(network, layers).units
    needed = torch.tensor([condition == ALWAYS for condition in conditions], dtype=torch.bool)
    alone = (found.groups().bincount() == 1) & needed
    return _read(found) & ~_summed(found) & ~alone[torch.from_numpy(number)]


def _read(found: CoupledChannels) -> Tensor:
    """The units that some layer reads which is not grouped, bool (units,)."""
    read = torch.zeros(found.count + 1, dtype=torch.bool)
    for name, layers in found.layers.items():
        if name in found.axes and layers[0].groups == 1:
            read[found.axes[name][layers[0].reads]] = True
    return read[:-1]


def _summed(found: CoupledChannels) -> Tensor:
    """The units with elements that are sums of several arcs, bool (units,)."""
    summed = torch.zeros(found.count + 1, dtype=torch.bool)
    for node, arcs, labels in zip(found.dag.nodes, found.dag.arcs_into, found.nodes, strict=True):
        if node.kind == "sum" and len(arcs) > 1:
            # Along an axis of stride 0 all is the same.
            summed[labels[tuple(slice(1) if stride == 0 else slice(None) for stride in labels.stride())]] = True
    return summed[:-1]
