"""The oracle of the encodings: derivatives of the real operations, activations taken as the identity.

Every part of a graph is taken as an independent variable. The value of a part is computed from those of its
predecessors with torch's own operations, and differentiated by autograd. Only activations and normalisations
(identity), max-pooling (average), softmax (identity, zero where a mask forbids) and tables of tokens (the norm of a
column times the token) are replaced, as the definition of the graphs says. An input that is no part only selects: it
has the values that it was traced with.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from topo.dag import Dag, Step, coarsen
from topo.dag.elements import Value, Values
from topo.dag.operators import operator_of
from topo.encoding import MultipartiteGraph

FORBIDDEN = -1e4
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
    """One operation, made linear where it is an activation, a normalisation, max-pooling, softmax or a table."""
    if not any(slot.requires_grad for slot in slots if isinstance(slot, Tensor)):
        return step.run(slots, values)
    if step.name == "embedding" and not isinstance(step.args[1], Value):
        return slots[0][..., None] * values[step.args[0].name].norm(dim=0)
    if step.name == "softmax":
        return shares(slots[0], slots[0] > FORBIDDEN, step.args[1])
    if step.name == "scaled_dot_product_attention":
        return attention(step, slots, values)
    if len(slots) == 1 and step.name in ("add", "sub", "where", "masked_fill"):
        return step.run(slots, values)
    if len(slots) == 1 and step.name == "mul" and step.values:
        return slots[0] * (values[step.values[0]] != 0)
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


def attention(step: Step, slots: tuple[Tensor, ...], values: Values) -> Tensor:
    """Scores that are not forbidden times values."""
    query, key, value, mask = (
        values[given.name] if isinstance(given, Value) else None if given is None else slots[given.slot]
        for given in (*step.args, None)[:4]
    )
    scores = query @ key.transpose(-2, -1)
    if mask is not None and mask.dtype != torch.bool:
        scores, mask = scores + mask, mask > FORBIDDEN
    allowed = torch.ones_like(scores, dtype=torch.bool) if mask is None else mask.expand(scores.shape)
    if len(step.args) > 5 and step.args[5]:
        allowed = allowed.tril()
    return shares(scores, allowed, -1) @ value


def shares(scores: Tensor, allowed: Tensor, axis: int) -> Tensor:
    """Scores where they are allowed, and 1 where no other is."""
    alone = allowed.sum(axis, keepdim=True) == 1
    return torch.where(allowed, torch.where(alone, 1.0, scores), 0.0)


class Reference:
    """Values of the parts of `graph`, each computed from independent variables for all parts before it."""

    def __init__(self, dag: Dag, masks: dict[str, Tensor], graph: MultipartiteGraph, seed: int = 0) -> None:
        dag = coarsen(dag.single())
        generator = torch.Generator().manual_seed(seed)
        state = {n: (v * masks[n] if n in masks else v).detach() for n, v in dag.state.items()}
        values = dag.values(state)
        part = {p.name: i for i, p in enumerate(graph.parts)}
        names = [dag.nodes[i].name for i in dag.inputs]
        inputs = dict(zip(names, [leaf for leaf in tree_leaves(dag.example) if isinstance(leaf, Tensor)], strict=True))
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
                given = [v for _, v in arrived if not v.requires_grad]
                if given:  # what is added to a mask is lost where that forbids
                    value = torch.where(sum(given) <= FORBIDDEN, sum(given), value)
            elif node.kind == "input":
                value = None if node.name in part else inputs[node.name][:1]
            else:
                entries = tuple(v for _, v in sorted(arrived, key=lambda pair: pair[0]))
                value = entries if node.combine is None else node.combine.run(entries, values)
            if node.name in part:
                i = part[node.name]
                if node.kind != "input":
                    self.results[i] = value.reshape(-1)
                leaf = torch.rand(graph.parts[i].size, generator=generator, dtype=torch.float64) + 0.5
                if node.kind != "input":  # what is forbidden stays so
                    leaf = torch.where(self.results[i].detach() <= FORBIDDEN, FORBIDDEN, leaf)
                self.leaves[i] = leaf.requires_grad_()
                value = self.leaves[i].reshape(node.shape)
            z[index] = value

    def rows(self, target: int, elements: list[int]) -> dict[int, Tensor]:
        """Derivatives of these elements of part `target` with respect to every part: (elements, part size)."""
        sources = list(self.leaves)
        leaves = [self.leaves[s] for s in sources]
        chosen = torch.zeros(len(elements), self.results[target].numel(), dtype=torch.float64)
        chosen[torch.arange(len(elements)), torch.as_tensor(elements)] = 1.0
        gradients = torch.autograd.grad(
            self.results[target], leaves, chosen, retain_graph=True, allow_unused=True, is_grads_batched=True
        )
        zeros = [torch.zeros(len(elements), leaf.numel(), dtype=torch.float64) for leaf in leaves]
        return {s: z if g is None else g for s, g, z in zip(sources, gradients, zeros, strict=True)}
