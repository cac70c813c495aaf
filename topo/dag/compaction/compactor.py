"""The smaller network without its dead units: a plain module that computes what the masked network computes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, fx, nn

from ...errors import InputError
from ..channel_coupling import CoupledChannels, coupled_channels
from ..dag import Dag
from ..example import Example
from ..structure import checked_masks
from ..tracing import module_of, traced
from ..undefined_weights import warn_of_undefined_weights
from .empty_nodes import find_empty_nodes
from .rebuilder import Rebuilder
from .remaining import Inseparable
from .sample_shapes import hold_lengths
from .verification import verify_compaction

__all__ = ["compact", "live_units"]


def compact(
    model: nn.Module | Dag,
    masks: Mapping[str, Any] | None = None,
    example: Example | None = None,
    *,
    channels: CoupledChannels | None = None,
    verify: bool = True,
) -> fx.GraphModule:
    """A smaller module without the units that are dead under masks, whose output equals the masked network's.

    A unit is dead when nothing that matters reads it. Whole units go: a layer loses rows and columns, norms their
    channels, attention its heads; pruned weights of units that stay are zero. A branch that the masks make zero, the
    scale and shift of its last norm or its last bias among them, goes as a whole. A unit that is read stays, even if
    all its own weights are pruned, for its bias or its norm may still make it a constant that matters. A weight that is
    computed from parameters, as by a weight norm, becomes a parameter of its own where units of its layer go.

    Parameters
    ----------
    model
        The network, which is not changed: a module, or one as `topo.trace` has traced it.
    masks
        Parameter name -> bool tensor, True where a weight is kept; by default nothing is masked. Weights are always the
        model's: where an algorithm trained or adjusted them, write them into it first with `topo.Masks.install`.
    example
        The model's input, as for `topo.trace`; not needed with a traced network.
    channels
        The coupled channels of the model, where they are known; in place of `example`.
    verify
        Run the masked and the smaller network on random inputs and raise where they differ; off where the parameters
        hold something other than weights.

    Returns
    -------
    torch.fx.GraphModule
        Called with the arguments of the model itself. Its layers, norms and dropouts are modules of the model's own
        classes under the model's own names, in the model's mode, so that it can be trained on, saved, traced and
        compacted again.

    Raises
    ------
    InputError
        When the model cannot be traced, the masks do not fit, or the smaller network would compute something else.

    Warns
    -----
    UserWarning
        Where the masked model itself computes NaN, as of a row that is pruned whole and divided by its own norm.

    Examples
    --------
    >>> net = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    >>> masks = {"2.weight": torch.tensor([[True, False, True], [True, False, False]])}
    >>> small = compact(net, masks, torch.zeros(1, 4))
    >>> small.get_submodule("0")
    Linear(in_features=4, out_features=2, bias=True)
    """
    module = module_of(model, "topo.compact", values=True)
    if channels is None:
        channels = coupled_channels(traced(model, example, "topo.compact"))
    masks = checked_masks(channels.dag, masks)
    if verify:
        warn_of_undefined_weights(channels.dag, masks)
    alive = live_units(channels, masks)
    while True:
        try:
            small = Rebuilder(module, channels, alive, masks, are_weights=verify).build()
            break
        except Inseparable as refusal:
            # What is left of a tensor is no box that the next operation could take; exactness comes first.
            revived = torch.zeros_like(alive)
            revived[refusal.units] = True
            if not (revived & ~alive).any():
                raise InputError(f"cannot compact {refusal.where}; leave its units alive.") from None
            alive = _with_survivors(channels, alive | revived)
    if verify:
        verify_compaction(channels.dag, masks, small)
    hold_lengths(small, module, channels.dag)
    return small


def live_units(channels: CoupledChannels, masks: Mapping[str, Tensor]) -> Tensor:
    """Which units something reads that itself matters under masks, bool (count,); one of each layer stays, unless all
    that the layer writes fills slots of concatenations that others fill too.

    Parameters
    ----------
    channels
        The units of the network.
    masks
        Parameter name -> mask in the parameter's shape; parameters without one are kept.

    Returns
    -------
    Tensor
        bool, (count,).
    """
    alive = torch.ones(channels.count, dtype=torch.bool)
    while True:
        read = torch.zeros(channels.count, dtype=torch.bool)
        for name, axes in channels.axes.items():
            # What a grouped convolution reads and writes is one unit, and its own weights do not save it.
            used = channels.layers.get(name, ())
            mask = masks[name].cpu() if name in masks else torch.ones(channels.dag.state[name].shape, dtype=torch.bool)
            for reads, writes in {(layer.reads, layer.writes) for layer in used if layer.groups == 1}:
                written = channels.alive(name, alive)[writes]
                kept = mask.movedim((reads, writes), (0, 1))[:, written].flatten(1).any(dim=1)
                read[axes[reads][kept & (axes[reads] >= 0)]] = True
        if torch.equal(read & alive, alive):
            return _with_survivors(channels, alive)
        alive = alive & read


def _with_survivors(channels: CoupledChannels, alive: Tensor) -> Tensor:
    """One unit more wherever a layer would have none left: its weights are masked, so nothing changes but the shape."""
    alive = alive.clone()
    empty = find_empty_nodes(channels, alive)
    needed = {name for arc in channels.dag.arcs if arc.target not in empty for name in channels.dag.parameters(arc)}
    for name, axes in channels.axes.items():
        for index, kept in zip(axes, channels.alive(name, alive), strict=True):
            if not kept.any() and name in needed:
                alive[index[0]] = True
    return alive
