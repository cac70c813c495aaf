"""Writing the graph of a smaller network, node by node of the Dag."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.utils import _pytree as pytree

from ...errors import warn
from ..channel_coupling import CoupledChannels
from ..elements import Hole, Output, Step, place_of
from ..interpreter import Interpreter
from ..operators import aten, operator_of
from ..weighted_layers import layer_of
from .arguments import argument_tensors, identifier
from .empty_nodes import find_empty_nodes
from .graph_writer import GraphWriter
from .moved_elements import MovedElements
from .plain_modules import does_just
from .remaining import Remaining, inseparable
from .zero_branches import zero_arcs

__all__ = ["Rebuilder"]

Steps = tuple[Step, ...]


class Rebuilder(Interpreter):
    """Writes the graph of the smaller module: values are nodes of the new graph, in place of tensors.

    Parameters
    ----------
    model
        The module whose layers, norms and dropouts are taken over.
    channels
        Its coupled channels.
    alive
        Which of their units stay, bool (count,).
    masks
        Parameter name -> bool tensor, True where a weight is kept.
    are_weights
        Whether the parameters hold weights, so that values may be computed from them.
    """

    def __init__(
        self,
        model: nn.Module,
        channels: CoupledChannels,
        alive: Tensor,
        masks: Mapping[str, Tensor],
        are_weights: bool = True,
    ) -> None:
        super().__init__(channels.dag)
        self.model, self.channels, self.alive = model, channels, alive
        self.zero_arcs = zero_arcs(self.dag, masks)
        self.empty = find_empty_nodes(channels, alive)
        self.writer = GraphWriter(channels, alive, masks, are_weights)
        self.moved = MovedElements(self.writer)
        self.modules = dict(model.named_modules())
        self.parts = [
            tuple(Remaining(entry, alive) for entry in labels)
            if isinstance(labels, tuple)
            else (Remaining(labels, alive),)
            for labels in channels.nodes
        ]

    def build(self) -> fx.GraphModule:
        """The smaller module; raises `Inseparable` when an operation cannot do without units that go."""
        graph, root = self.writer.graph, self.writer.root
        if self.channels.dag.example is None:
            inputs = [graph.placeholder(identifier(self.dag.nodes[index].name)) for index in self.dag.inputs]
        else:
            inputs = argument_tensors(graph, self.model, self.channels.dag.example)
        for symbol, position in self.dag.symbols:
            self.writer.samples(symbol, inputs[position])
        graph.output(self._returned(self.evaluate(inputs)))
        self.writer.separate()
        name = f"Compact{type(self.model).__name__}"
        graph = fx.GraphModule(root, graph, class_name=name).graph
        # Random operations too, unlike the default: what is dead need draw nothing.
        graph.eliminate_dead_code(lambda node: node.op in ("placeholder", "output") or node.target is torch._assert)
        used = {node.target for node in graph.nodes if node.op in ("call_module", "get_attr")}
        _warn_of_copies({path: of for path, of in self.writer.copies.items() if path in used}, root)
        built = fx.GraphModule({path: root[path] for path in root if path in used}, graph, class_name=name)
        return built.train(self.model.training)

    def _returned(self, leaves: list[Any]) -> Any:
        """The outputs as the model returns them; in a class of its own they are put together when the module runs."""
        form = self.dag.output_spec
        if form is None or _is_plain(form):
            return self.dag.rebuilt_output(leaves)
        self.writer.root["output_form"] = form
        return self.writer.call(pytree.tree_unflatten, leaves, self.writer.graph.get_attr("output_form"))

    def places_into(self, node: int) -> Sequence[int]:
        """The arcs into a node that stays, from nodes that stay; into a sum, only those that add something."""
        if node in self.empty:
            return ()
        places = [place for place in super().places_into(node) if self.dag.arcs[place].source not in self.empty]
        if self.dag.nodes[node].kind != "sum":
            return places
        # Arcs whose value is zero add nothing, but where all are, the zeros must come from somewhere.
        return [place for place in places if self.dag.arcs[place] not in self.zero_arcs] or places

    def arc(self, place: int, operands: tuple[Any, ...]) -> Any:
        """What the operations of an arc become."""
        arc = self.dag.arcs[place]
        target = self.parts[arc.target][0] if self.dag.nodes[arc.target].kind == "sum" else None
        return self._written(arc.steps, operands, self.parts[arc.source], target)

    def join(self, node: int, arrived: Mapping[int, Any]) -> Any:
        """Sums, tuples of operands, and concatenations of what is left."""
        combine = self.dag.nodes[node].combine
        if combine is None:
            return super().join(node, arrived)
        places = sorted(arrived, key=lambda place: self.dag.arcs[place].slot or 0)
        (target,) = self.parts[node]
        parts = [part for place in places for part in self.parts[self.dag.arcs[place].source]]
        if any(part.box is None for part in (*parts, target)):
            raise inseparable(f"operation {self.dag.nodes[node].name!r}", *parts, target)
        return self.writer.step((self._combined(combine, places),), tuple(arrived[place] for place in places), target)

    def add(self, values: Sequence[Any]) -> Any:
        """The additions of values, in order."""
        total = values[0]
        for value in values[1:]:
            total = self.writer.call(aten.SUM, total, value)
        return total

    def output(self, output: Output) -> Any:
        """What the operations of an output become."""
        if output.node is None:
            return output.constant
        return self._written(output.steps, self.operands(output.node), self.parts[output.node], None)

    @staticmethod
    def _combined(combine: Step, places: Sequence[int]) -> Step:
        """A concatenation of the slots that are left."""
        if len(places) == len(combine.source_shapes):
            return combine
        holes = [Hole(slot) for slot in range(len(places))]
        return replace(combine, args=(holes, *combine.args[1:]))

    def _written(
        self, steps: Steps, slots: tuple[Any, ...], parts: tuple[Remaining, ...], target: Remaining | None
    ) -> Any:
        """Consecutive operations on what is left of some tensors."""
        position = 0
        while position < len(steps):
            step = steps[position]
            taken = 2 if not step.shape and position + 1 < len(steps) else 1
            run = steps[position : position + taken]
            # Between the steps of one arc only signs and broadcasts happen; outputs lose nothing.
            after = target if target is not None else Remaining(torch.full((), -1).expand(run[-1].shape), self.alive)
            slots, parts = (self._emit(run, slots, parts, after),), (after,)
            position += taken
        return slots[0] if len(slots) == 1 else slots

    def _emit(self, run: Steps, slots: tuple[Any, ...], parts: tuple[Remaining, ...], target: Remaining) -> fx.Node:
        step = run[0]
        named = self.modules.get(step.module)
        record = operator_of(step)
        owner = named if len(slots) == 1 and named is not None and does_just(named, record.modules) else None
        if owner is not None and record.silent:
            return self.writer.module(step.module, owner, slots)
        if record.view and len(slots) == 1 and not (target.complete and parts[0].complete):
            return self.moved.write(run, slots[0], parts[0], target)
        if any(part.box is None for part in (*parts, target)):
            flat = all(torch.equal(part.kept, target.kept) for part in parts if part.shape == target.shape)
            if step.values or not flat or any(part.shape != target.shape for part in parts):
                raise inseparable(f"operation {place_of(step)}", *parts, target)
            return self.writer.step(run, slots, target)
        layer = layer_of(self.dag, step) if len(slots) == 1 else None
        if layer is not None and layer.weight in self.dag.state:
            if owner is not None and layer.weight == f"{step.module}.weight":
                return self.writer.module(step.module, owner, slots)
            if layer.groups > 1 and not (target.complete and parts[0].complete):
                raise inseparable(f"operation {place_of(step)}", *parts, target)
        elif owner is not None and (record.norm or _reads_own_table(step, owner)):
            # A norm of groups without tensors of its own does not tell its size, so it is written as an operation.
            tells_size = target.complete or record.groups_at is None or owner.affine
            return self.writer.module(step.module, owner, slots) if tells_size else self.writer.step(run, slots, target)
        return self.writer.step(run, slots, target)


def _warn_of_copies(copies: Mapping[str, str], root: Mapping[str, Any]) -> None:
    """Say which parameters, used in several places of the model, the smaller network holds more than once."""
    trained = {
        path: of for path, of in copies.items() if isinstance(root[path], nn.Parameter) and root[path].requires_grad
    }
    if trained:
        names = ", ".join(f"{of!r} (also {path!r})" for path, of in trained.items())
        warn(
            "the smaller network holds parts of the same parameter apart, for places that use it have lost different "
            f"units: {names}. It computes what the masked model does; training it further unties them.",
        )


def _is_plain(form: pytree.TreeSpec) -> bool:
    """Whether outputs are tuples, lists and dicts only."""
    return form.type in (None, tuple, list, dict) and all(map(_is_plain, form.children()))


def _reads_own_table(step: Step, owner: nn.Module) -> bool:
    """Whether a step is what an embedding does with its own table and nothing else."""
    plain = isinstance(owner, nn.Embedding) and owner.max_norm is None
    return plain and operator_of(step).lookup and step.values == (f"{step.module}.weight",)
