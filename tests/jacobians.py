"""The oracle of the encodings: derivatives of the real operations, activations taken as the identity.

Every part of a graph is taken as an independent variable. The value of a part is computed from those of its
predecessors with torch's own operations, and differentiated by autograd. Only activations and normalisations
(identity) and max-pooling (average) are replaced, as the definition of the graphs says.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from topo.dag import Dag, Step, coarsen
from topo.dag.elements import Values
from topo.dag.operators import operator_of
from topo.encoding import MultipartiteGraph

AVERAGE = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}


def positive(model: nn.Module, seed: int = 0) -> nn.Module:
    """Weights in [0.5, 1.5], so that no derivative cancels; double precision."""
    generator = torch.Generator().manual_seed(seed)
    model.double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.rand(parameter.shape, generator=generator, dtype=torch.float64) + 0.5)
    return model


def random_masks(model: nn.Module, density: float, seed: int = 0) -> dict[str, Tensor]:
    """A random mask for every parameter with two axes or more that a layer multiplies by."""
    generator = torch.Generator().manual_seed(seed)
    layers = (nn.Linear, nn.modules.conv._ConvNd)
    names = [f"{n}.weight" for n, m in model.named_modules() if isinstance(m, layers)]
    known = dict(model.named_parameters())
    return {n: torch.rand(known[n].shape, generator=generator) < density for n in names if n in known}


def run(step: Step, slots: tuple[Tensor, ...], values: Values) -> Tensor:
    """One operation, made linear where it is an activation, a normalisation or max-pooling."""
    if len(slots) == 1 and operator_of(step).pointwise and isinstance(slots[0], Tensor):
        if step.shape == ():  # a normalisation whose first entry is read next
            return (slots[0],)
        if len([leaf for leaf in step.args if type(leaf).__name__ == "Hole"]) <= 1:
            return slots[0].expand(step.shape).contiguous()
    if "_pool" in step.name and not step.name.startswith(("adaptive", "_adaptive")):
        # Arguments of averages: kernel, stride, padding, ceil_mode; of maxima: dilation before ceil_mode.
        defaults = (None, None, 0, 1, False) if step.name.startswith("max") else (None, None, 0, False)
        given = step.args[1:]
        kernel, stride, padding, *_, ceil = (*given, *defaults[len(given) :])[: len(defaults)]
        dimensions = int(step.name.split("_pool")[1][0])
        return AVERAGE[dimensions](slots[0], kernel, stride or None, padding, ceil, count_include_pad=False)
    if step.name in ("view", "_unsafe_view"):  # the variables of a part are laid out row by row
        return slots[0].reshape(step.shape)
    if step.name == "amax":
        return slots[0].mean(*step.args[1:], **step.kwargs)
    return step.run(slots, values)


class Reference:
    """Values of the parts of `graph`, each computed from independent variables for all parts before it."""

    def __init__(self, dag: Dag, masks: dict[str, Tensor], graph: MultipartiteGraph, seed: int = 0) -> None:
        dag = coarsen(dag.single())
        generator = torch.Generator().manual_seed(seed)
        state = {n: (v * masks[n] if n in masks else v).detach() for n, v in dag.state.items()}
        values = dag.values(state)
        part = {p.name: i for i, p in enumerate(graph.parts)}
        self.leaves: dict[int, Tensor] = {}
        self.results: dict[int, Tensor] = {}
        z: dict[int, object] = {}
        for index, node in enumerate(dag.nodes):
            arrived = []
            for arc in dag.arcs_into[index]:
                value = z[arc.source]
                slots = value if isinstance(value, tuple) else (value,)
                for step in arc.steps:
                    value = run(step, slots, values)
                    slots = (value,)
                arrived.append((arc.slot, value))
            if node.kind == "sum":
                value = sum(v for _, v in arrived)
            elif node.kind != "input":
                entries = tuple(v for _, v in sorted(arrived, key=lambda pair: pair[0]))
                value = entries if node.combine is None else node.combine.run(entries, values)
            if node.name in part:
                i = part[node.name]
                if node.kind != "input":
                    self.results[i] = value.reshape(-1)
                leaf = torch.rand(graph.parts[i].size, generator=generator, dtype=torch.float64) + 0.5
                self.leaves[i] = leaf.requires_grad_()
                value = self.leaves[i].reshape(node.shape)
            z[index] = value

    def rows(self, target: int, elements: list[int]) -> dict[int, Tensor]:
        """Derivatives of these elements of part `target` with respect to every part: (elements, part size)."""
        sources = list(self.leaves)
        result = self.results[target]
        gradients = [
            torch.autograd.grad(result[e], [self.leaves[s] for s in sources], retain_graph=True, allow_unused=True)
            for e in elements
        ]
        zero = {s: torch.zeros(self.leaves[s].numel(), dtype=torch.float64) for s in sources}
        return {s: torch.stack([zero[s] if g[k] is None else g[k] for g in gradients]) for k, s in enumerate(sources)}
