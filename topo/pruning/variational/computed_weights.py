"""Weights that are computed from parameters, and which units gates on these parameters can close."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from ...dag.channel_coupling import CoupledChannels
from ...dag.derived_weights import constants_behind, is_view, main_parameter, values_without_nan
from ..dag_pruning.prunable_network import PrunableNetwork

__all__ = ["computed_weights", "units_bound_by_norms"]


def units_bound_by_norms(network: PrunableNetwork) -> Tensor:
    """The units that no gate on parameters can close, bool (units,), for a layer computes its weight from them.

    A gate multiplies the parameters behind the weights that read its unit. That closes it as pruning does, and what is
    closed can be cut out, unless

    - the weight that writes it changes in its other rows when the rows of a unit are cut, as where a norm runs over
      them;
    - the weight that reads it has its columns divided by their own norms, which leaves nothing of a factor on a column;
    - the weight that reads it is divided by something that training keeps up to date in buffers, as a spectral norm
      does, which a smaller network would no longer do.

    Parameters
    ----------
    network
        The full network.

    Returns
    -------
    Tensor
        bool, (units,).
    """
    channels = network.channels
    bound = torch.zeros(channels.count + 1, dtype=torch.bool)
    for weight, name in computed_weights(network):
        layer = channels.layers[name][0]
        axes = channels.axes[name]
        if not _is_cut_by_rows(channels, weight, name, layer.writes):
            bound[axes[layer.writes]] = True
        if not (
            _is_defined_without_columns(channels, weight, name, layer.reads)
            and _is_computed_from_parameters_alone(channels, weight, name)
        ):
            bound[axes[layer.reads]] = True
    return bound[:-1]


def computed_weights(network: PrunableNetwork) -> Iterator[tuple[str, str]]:
    """Weights that are more than parameters in another order, each with the parameter that holds its elements.

    Parameters
    ----------
    network
        The full network.

    Yields
    ------
    tuple
        Name of the weight, and of the parameter, which has units.
    """
    dag, channels = network.dag, network.channels
    used = dict.fromkeys(layer.weight for layers in network.layers for _, layer in layers)
    for weight in used:
        if weight not in dag.state and not is_view(dag, weight):
            name = main_parameter(dag, weight)
            if name is not None and name in channels.layers and name in channels.axes:
                yield weight, name


def _value(channels: CoupledChannels, weight: str, state: dict[str, Tensor]) -> Tensor:
    with torch.no_grad():
        return values_without_nan(channels.dag, state)[weight].detach()


def _is_cut_by_rows(channels: CoupledChannels, weight: str, name: str, axis: int) -> bool:
    """Whether the other rows of a weight stay as they are when some rows of its parameter are zero."""
    full, without = _value(channels, weight, {}), _value(channels, weight, _with_every_other_cut(channels, name, axis))
    return bool(((without == 0) | torch.isclose(without, full, rtol=1e-4)).all())


def _is_defined_without_columns(channels: CoupledChannels, weight: str, name: str, axis: int) -> bool:
    """Whether a weight is a number when some columns of its parameter are zero."""
    with torch.no_grad():
        value = channels.dag.values({**channels.dag.state, **_with_every_other_cut(channels, name, axis)})[weight]
    return bool(value.isfinite().all())


def _with_every_other_cut(channels: CoupledChannels, name: str, axis: int) -> dict[str, Tensor]:
    """A parameter, zero at every other index of an axis from the first on."""
    value = channels.dag.state[name].detach()
    cut = torch.arange(value.shape[axis], device=value.device) % 2 == 0
    return {name: value.masked_fill(cut.view([-1 if d == axis else 1 for d in range(value.ndim)]), 0.0)}


def _is_computed_from_parameters_alone(channels: CoupledChannels, weight: str, name: str) -> bool:
    """Whether no buffer takes part in a weight, or only as a factor of its elements, such as a mask."""
    dag = channels.dag
    values = [source for constant in constants_behind(dag, weight) for source in dag.constants[constant].values]
    if all(isinstance(dag.state[value], nn.Parameter) for value in values if value in dag.state):
        return True
    doubled = _value(channels, weight, {name: 2 * dag.state[name].detach()})
    return bool(torch.allclose(doubled, 2 * _value(channels, weight, {}), rtol=1e-4))
