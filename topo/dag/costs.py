"""What a network costs: its parameters, and the multiply-accumulates of one sample."""

from __future__ import annotations

from typing import Any

import pandas as pd
import torch
from torch import nn

from .dag import Dag
from .tracing import trace
from .weighted_layers import layers

__all__ = ["cost", "cost_table"]


def cost(network: nn.Module | Dag, example: Any = None) -> dict[str, int]:
    """Parameters and multiply-accumulates of a network.

    Multiply-accumulates are those of the operations that have weights: convolutions and linear layers, attention
    projections among them, on one sample; a shared weight counts once as parameters and every time it is used.
    Additions of a bias, norms, and products of activations do not count.

    Parameters
    ----------
    network
        A model, with `example` inputs of one sample, or a `Dag`.

    Returns
    -------
    dict
        ``"parameters"``: all of them, biases and norms too; ``"macs"``.

    Examples
    --------
    >>> import torch, topo
    >>> cost(topo.models.build("resnet20"), torch.zeros(1, 3, 32, 32))
    {'parameters': 269722, 'macs': 40551040}
    """
    dag = (network if isinstance(network, Dag) else trace(network, example)).single()
    parameters = {id(value): value.numel() for value in dag.state.values() if isinstance(value, nn.Parameter)}
    if isinstance(network, nn.Module):
        parameters |= {id(value): value.numel() for value in network.parameters()}
    return {"parameters": sum(parameters.values()), "macs": int(cost_table(dag)["macs"].sum())}


def cost_table(network: nn.Module | Dag, example: Any = None) -> pd.DataFrame:
    """One row per layer in the order in which they run: name of the weight, its shape, weights, positions, macs."""
    dag = (network if isinstance(network, Dag) else trace(network, example)).single()
    rows = []
    values = dag.values()
    for _, layer in layers(dag):
        with torch.no_grad():
            shape = tuple(values[layer.weight].shape)
        weights = torch.Size(shape).numel()
        rows.append((layer.weight, shape, weights, layer.positions, weights * layer.positions))
    return pd.DataFrame(rows, columns=["weight", "shape", "weights", "positions", "macs"])
