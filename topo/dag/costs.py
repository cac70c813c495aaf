"""What a network costs: its parameters, and the multiply-accumulates of one sample."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from itertools import chain
from math import prod

import pandas as pd
import torch
from torch import nn

from .additive_graph import AdditiveGraph
from .dag import Dag
from .derived_weights import main_parameter
from .example import Example
from .parameter_axes import shape_of
from .tracing import traced
from .weight_table import weight_names
from .weighted_layers import Layer, layers_by_arc

__all__ = ["BUDGETS", "ElementCosts", "WeightUse", "cost", "cost_table"]

BUDGETS = ("weights", "parameters", "macs")
"""What networks may be allowed to cost: weights of layers, all parameters, or multiply-accumulates of one sample."""


@dataclass(frozen=True)
class WeightUse:
    """That an arc, by its place in ``dag.arcs``, multiplies by a weight, every element `positions` times a sample.

    Attributes
    ----------
    place
        Place of the arc.
    positions
        How often; on average, where it multiplies by a part of a parameter.
    """

    place: int
    positions: float


def cost(model: nn.Module | Dag, example: Example | None = None) -> dict[str, int]:
    """Parameters and multiply-accumulates of a network.

    Multiply-accumulates are those of the operations that have weights: convolutions and linear layers, attention
    projections among them, on one sample; a shared weight counts once as parameters and every time it is used.
    Additions of a bias, norms, and products of activations do not count.

    Parameters
    ----------
    model
        A module, or a traced network.
    example
        The model's input, as for `topo.trace`; not needed with a traced network.

    Returns
    -------
    dict
        ``"parameters"``: all of them, biases and norms too; ``"macs"``.

    Raises
    ------
    InputError
        When the model cannot be traced.

    Examples
    --------
    >>> import topo
    >>> cost(topo.models.build("resnet20"), (3, 32, 32))
    {'parameters': 269722, 'macs': 40551040}
    """
    dag = traced(model, example, "topo.cost").single()
    parameters = {id(value): value.numel() for value in dag.state.values() if isinstance(value, nn.Parameter)}
    module = model if isinstance(model, nn.Module) else dag.model
    if module is not None:
        parameters |= {id(value): value.numel() for value in module.parameters()}
    return {"parameters": sum(parameters.values()), "macs": int(cost_table(dag)["macs"].sum())}


def cost_table(model: nn.Module | Dag, example: Example | None = None) -> pd.DataFrame:
    """One row per layer in the order in which they run: name of the weight, its shape, weights, positions, macs.

    A weight that is computed has the name of the parameter that it is computed from.

    Parameters
    ----------
    model, example
        As for `cost`.

    Returns
    -------
    DataFrame
        weight, shape, weights, positions (at which the layer runs on one sample), macs.

    Examples
    --------
    >>> model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(8, 3))
    >>> cost_table(model, (1, 4, 4))[["weight", "weights", "macs"]].values.tolist()
    [['0.weight', 18, 72], ['2.weight', 24, 24]]
    """
    dag = traced(model, example, "topo.dag.cost_table").single()
    values = dag.values()
    rows = []
    for _, layer in chain.from_iterable(layers_by_arc(dag)):
        with torch.no_grad():
            shape = tuple(values[layer.weight].shape)
        weights = torch.Size(shape).numel()
        rows.append(
            (
                main_parameter(dag, layer.weight) or layer.weight,
                shape,
                weights,
                layer.positions,
                weights * layer.positions,
            )
        )
    return pd.DataFrame(rows, columns=["weight", "shape", "weights", "positions", "macs"])


class ElementCosts:
    """What every element of each parameter costs, whichever of them are left.

    Parameters
    ----------
    dag
        Its shapes those of one sample.

    Attributes
    ----------
    uses
        Parameter -> where layers multiply by it or by what is computed from it, in the order in which they run. A
        weight that no parameter is behind appears under its own name.

    Examples
    --------
    >>> import topo
    >>> from torch import nn
    >>> costs = ElementCosts(topo.trace(nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2)), (1, 8, 8)))
    >>> costs.of("macs"), sorted(costs.of("parameters"))
    ({'0.weight': 36}, ['0.bias', '0.weight', '1.bias', '1.weight'])
    """

    def __init__(self, dag: AdditiveGraph) -> None:
        uses: dict[str, list[WeightUse]] = {}
        for place, layers in enumerate(layers_by_arc(dag)):
            for _, layer in layers:
                name = main_parameter(dag, layer.weight) or layer.weight
                uses.setdefault(name, []).append(WeightUse(place, _positions(dag, name, layer)))
        self.uses = {name: tuple(where) for name, where in uses.items()}
        self._parameters = [name for name, value in dag.state.items() if isinstance(value, nn.Parameter)]
        pruned = weight_names(dag)
        self._weights = [name for name in self._parameters if name in pruned]

    def of(self, budget: str, live: Collection[int] | None = None) -> dict[str, float]:
        """Parameter -> what each of its elements costs, of those that cost anything.

        Parameters
        ----------
        budget
            One of `BUDGETS`. An element costs one of the parameters, one of the weights if it is pruned by default (see
            `topo.weights`), and as many multiply-accumulates as layers use it on one sample.
        live
            The places of the arcs that run, for ``"macs"``; all by default.

        Returns
        -------
        dict
            Name of a parameter -> cost of one element.
        """
        if budget == "parameters":
            return dict.fromkeys(self._parameters, 1)
        if budget == "weights":
            return dict.fromkeys(self._weights, 1)
        return {
            name: sum(use.positions for use in self.uses[name] if live is None or use.place in live)
            for name in self._parameters
            if name in self.uses
        }


def _positions(dag: AdditiveGraph, parameter: str, layer: Layer) -> float:
    """How often an element of a parameter is used by a layer on one sample."""
    if parameter == layer.weight:
        return layer.positions
    total, own = prod(shape_of(dag, layer.weight)) * layer.positions, prod(shape_of(dag, parameter))
    return total // own if total % own == 0 else total / own
