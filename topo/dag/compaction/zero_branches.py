"""Branches that masks have silenced: what they pass on is zero, whatever the input."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from ..dag import Arc, Dag, Step
from ..elements import Values
from ..operators import keeps_zero, operator_of
from ..weighted_layers import layer_of

__all__ = ["Silence", "silent_arcs"]


def silent_arcs(dag: Dag, masks: Mapping[str, Tensor]) -> set[Arc]:
    """The arcs whose value is exactly zero under masks, for every input and whatever the kept weights become.

    A layer is silent when all its weights are masked and it has no bias or a masked one, a norm when its scale and
    its shift are masked; what maps zero to zero passes silence on.

    Examples
    --------
    >>> from topo.dag import trace
    >>> dag = trace(torch.nn.Sequential(torch.nn.Linear(2, 2, bias=False), torch.nn.ReLU()), torch.zeros(1, 2))
    >>> len(silent_arcs(dag, {"0.weight": torch.zeros(2, 2, dtype=torch.bool)}))
    2
    """
    gone = {name for name, mask in masks.items() if not mask.any()}
    if not gone:
        return set()
    along = Silence(dag).along
    silent: set[Arc] = set()
    quiet_nodes: list[bool] = []
    for index, node in enumerate(dag.nodes):
        arcs = dag.arcs_into[index]
        for arc in arcs:
            if along(arc, quiet_nodes[arc.source], gone):
                silent.add(arc)
        quiet_nodes.append(node.kind == "sum" and all(arc in silent for arc in arcs))
    return silent


class Silence:
    """Says of single arcs of a `Dag` whether their value is zero."""

    def __init__(self, dag: Dag) -> None:
        self.dag = dag
        self.values = dag.values()

    def along(self, arc: Arc, quiet: bool, gone: set[str]) -> bool:
        """Whether an arc brings zero when the parameters `gone` are masked; `quiet` says whether its source is zero."""
        for step in arc.steps:
            quiet = _passes_zero(self.dag, step, quiet, gone, self.values)
        return quiet


def _passes_zero(dag: Dag, step: Step, quiet: bool, gone: set[str], values: Values) -> bool:
    """Whether the result of a step is zero, where `quiet` says whether its input is."""
    layer = layer_of(dag, step)
    if layer is not None:
        return (quiet or layer.weight in gone) and (layer.bias is None or layer.bias in gone)
    affine = [name for name in step.values if isinstance(dag.state.get(name), torch.nn.Parameter)]
    if operator_of(step).norm and len(affine) == 2:
        return set(affine) <= gone
    return quiet and keeps_zero(step, values)
