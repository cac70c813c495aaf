"""The baseline of structured pruning: the same network with fewer channels from the start."""

from __future__ import annotations

import warnings
from math import sqrt
from typing import Any

import torch
from torch import nn

from ...dag import Dag, compact, trace
from ...dag.channel_coupling import CoupledChannels, coupled_channels
from ...dag.costs import BUDGETS
from ...dag.example import Example
from ...dag.tracing import module_of
from ...errors import InputError
from ...masks import Masks
from ...parameter_names import copied, named_parameters
from ...validation import one_of, real_number
from ..api import prune
from .refilling import allowance

__all__ = ["narrowed"]


def narrowed(
    model: nn.Module | Dag, at_most: float, example: Example, *, budget: str = "macs", seed: int = 0
) -> nn.Module:
    """The same network with every group of channels narrowed alike, to be trained in the place of a pruned one.

    Of each group the channels with the largest norms stay, and the weights of a layer are scaled up by the root of how
    many times fewer inputs it reads, so that what it passes on is as large as before.

    Parameters
    ----------
    model
        With fresh weights, or as `topo.trace` has traced it; it is not changed.
    at_most
        What it may cost: that of the pruned network, as of `topo.cost`.
    example
        An input of the model, or its shape; see `topo.trace`.
    budget
        What is counted: ``"macs"``, multiply-accumulates of one sample, ``"parameters"`` or ``"weights"``.
    seed
        Of `topo.prune`.

    Returns
    -------
    Module
        A plain one, on the CPU, as wide as the cost allows: `topo.cost` says what is left where a channel more, with
        all that is coupled to it, costs much.

    Raises
    ------
    InputError
        When one channel of each group costs more, or a setting is unknown.

    References
    ----------
    Liu et al., Rethinking the Value of Network Pruning, ICLR 2019: networks of the size of pruned ones, trained from
    scratch as long or longer, are what a structured pruner has to be compared with.

    Examples
    --------
    >>> import topo
    >>> net = topo.models.build("digits-cnn", input_shape=(1, 8, 8))
    >>> small = topo.pruning.narrowed(net, 0.25 * topo.cost(net, (1, 8, 8))["macs"], (1, 8, 8))
    >>> topo.cost(net, (1, 8, 8))["macs"], topo.cost(small, (1, 8, 8))["macs"]
    (135840, 33424)
    """
    one_of("budget", budget, BUDGETS)
    at_most = real_number("at_most", at_most, above=0)
    model = copied(module_of(model, "topo.pruning.narrowed", values=True)).cpu()
    dag = trace(model, example)
    channels = coupled_channels(dag)
    full = channels.costs(torch.ones(channels.count, dtype=torch.bool))[budget]
    if allowance(1.0, at_most) >= full:
        return model
    options: dict[str, Any] = {"budget": budget, "scope": "group", "seed": seed, "device": "cpu"}
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "pruner 'l1-filter' leaves")  # the advice there is for sparsities
            masks = prune(dag, "l1-filter", sparsity=1 - at_most / full, example=example, **options)
    except InputError as error:
        raise InputError(f"the network cannot be narrowed to {at_most:g} {budget}, for {error}") from error
    _keep_size(model, channels, masks)
    return compact(masks.apply(model), masks, channels=channels)


@torch.no_grad()
def _keep_size(model: nn.Module, channels: CoupledChannels, masks: Masks) -> None:
    """Scale the weights of layers that read fewer inputs than before."""
    parameters = named_parameters(model)
    for name, layers in channels.layers.items():
        if name not in masks or name not in parameters:
            continue
        reads = layers[0].reads
        read = masks[name].amax([axis for axis in range(masks[name].ndim) if axis != reads])
        parameters[name].mul_(sqrt(len(read) / int(read.sum())))
