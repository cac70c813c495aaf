"""From an `nn.Module` and example inputs to a `Dag`, through `torch.export`."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import sympy
import torch
from torch import Tensor, fx, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils import _pytree as pytree

from ..errors import InputError
from ..module_modes import evaluation_mode
from ..parameter_names import named_parameters
from .composition import NAME
from .dag import Arc, Dag, Hole, Node, Output, Size, Step, Value
from .example import Example, example_arguments
from .export import export
from .exported_nodes import PARAMETRISATIONS, filling, is_symbol, module_path
from .kept_traces import kept_trace, one_at_a_time
from .operators import aten, operator_called
from .unreadable_models import check_readable, check_traceable, check_values

__all__ = ["module_of", "trace", "traced"]

_ATTENTION_KERNELS = [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]


def trace(model: nn.Module | Dag, example: Example | None = None) -> Dag:
    """Trace a model, in evaluation mode and free of in-place operations, into a `Dag`.

    Parameters
    ----------
    model
        Any module that `torch.export` can follow; it is left as it was. A Dag is returned as it is.
    example
        The model's input: a tensor, a tuple of its arguments, a dict of its keyword arguments, or the shape of one
        sample such as ``(3, 32, 32)``, or a tuple of shapes; see `topo.dag.example.Example`. The first axis of every
        tensor counts samples. Shapes and types matter, and the values of masks: see `topo.encode`.

    Returns
    -------
    Dag
        With ``torch.equal(dag(x), model(x))`` for any number of samples, `model` in evaluation mode. (Without
        gradients, `nn.MultiheadAttention` itself may take a fused kernel that rounds differently;
        ``torch.backends.mha.set_fastpath_enabled(False)`` compares like with like. Recurrent layers, which are unrolled
        in time, have such kernels too.) Dataclasses that the model returns are registered with
        `torch.export.register_dataclass`; objects beside tensors that torch cannot look into, such as the caches of
        keys and values of language models, are returned as None.

    Raises
    ------
    InputError
        When the model cannot be traced: names the module and the operation.

    Examples
    --------
    >>> import torch
    >>> model = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.Flatten(), torch.nn.Linear(8, 3))
    >>> dag = trace(model, torch.zeros(1, 1, 4, 4))
    >>> x = torch.randn(5, 1, 4, 4)
    >>> torch.equal(dag(x), model(x))
    True
    """
    return traced(model, example, "topo.trace")


def traced(model: nn.Module | Dag, example: Example | None, verb: str) -> Dag:
    """The Dag of a model, or a Dag itself, for a verb that takes either; `verb` is who asks, for the errors.

    Parameters
    ----------
    model
        A network, or one that has been traced.
    example
        Form of its inputs; not needed for a Dag.
    verb
        Name of the function that asks, such as ``"topo.cost"``.

    Returns
    -------
    Dag
        The model's, with its free number of samples where the model allows it.

    Raises
    ------
    InputError
        When the model cannot be traced, or the example does not suit it.
    """
    if isinstance(model, Dag):
        return model
    check_traceable(module_of(model, verb), verb)
    args, kwargs = example_arguments(example, model, verb=verb)
    # Which kernels attention may run on changes no operation of the graph, and so must not tell two traces apart.
    with one_at_a_time, evaluation_mode(model), torch.no_grad(), sdpa_kernel(_ATTENTION_KERNELS):
        inputs = (args, kwargs)
        dag = kept_trace(model, inputs, lambda: _Reader(model, export(model, args, kwargs), inputs).read())
    dag = replace(dag, keywords=tuple(kwargs), model=model, example=pytree.tree_map_only(Tensor, _kept, kwargs or args))
    return dag if dag.symbols else replace(dag, retrace=_Retrace(model))


def _kept(given: Tensor) -> Tensor:
    """What a Dag keeps of an input: tokens and masks, and of other numbers zeros, in the memory of a single one."""
    is_mask = given.is_floating_point() and not given.is_meta and bool(given.isneginf().any())
    return given.clone() if is_mask or not given.is_floating_point() else given.new_zeros(()).expand(given.shape)


def module_of(model: nn.Module | Dag, verb: str, *, values: bool = False) -> nn.Module:
    """A model, or the one that a Dag was traced from, for a verb that works on modules; `verb` is who asks.

    Parameters
    ----------
    model
        A network, or one that has been traced.
    verb
        Name of the function that asks, such as ``"topo.compact"``.
    values
        Whether it reads the values of weights.

    Returns
    -------
    Module
        The model.

    Raises
    ------
    InputError
        When it is neither, or a coarse Dag, which holds no model; for TorchScript, sparse tensors as weights and, where
        it reads values, the meta device.
    """
    if isinstance(model, Dag):
        if model.model is None:
            raise InputError(
                f"{verb} works on the modules of the model, which a coarse Dag does not hold; give the model, or the "
                "Dag that topo.trace returns."
            )
        model = model.model
    if not isinstance(model, nn.Module):
        raise InputError(f"{verb} needs an nn.Module or a traced network; got {type(model).__name__}.")
    check_readable(model, verb)
    if values:
        check_values(dict(model.named_parameters()), verb)
    return model


class _Retrace:
    """Traces the same model for another number of samples, once for each number."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.known: dict[tuple[torch.Size, ...], Dag] = {}

    def __call__(self, *args: Any, **kwargs: Any) -> Dag:
        shapes = tuple(leaf.shape for leaf in pytree.tree_leaves((args, kwargs)) if isinstance(leaf, Tensor))
        if shapes not in self.known:
            self.known[shapes] = replace(trace(self.model, kwargs or args), retrace=self)
        return self.known[shapes]


class _Reader:
    """Turns the graph of an exported program into nodes and arcs, one operation after the other."""

    def __init__(self, model: nn.Module, program: torch.export.ExportedProgram, inputs: Any) -> None:
        self.model = model
        self.program = program
        self.nodes: list[Node] = []
        self.arcs: list[Arc] = []
        self.constants: dict[str, Step] = {}
        self.state: dict[str, Tensor] = {}
        self.symbols: list[tuple[Any, int]] = []
        self.names: set[str] = set()
        self.repeated: Counter[str] = Counter()
        # What each graph node stands for: Hole-free argument, or the index of a Dag node wrapped in _At,
        # or a tuple-valued result that is only read entry by entry.
        self.meaning: dict[fx.Node, Any] = {}
        leaves = [leaf for leaf in pytree.tree_leaves(inputs) if isinstance(leaf, Tensor)]
        self.samples = leaves[0].shape[0]

    def read(self) -> Dag:
        self._read_placeholders()
        for node in self.program.graph.nodes:
            if node.op == "call_function":
                self._read_call(node)
        outputs = self._read_outputs()
        spec = self.program.call_spec.out_spec
        single = pytree.tree_structure(0)
        return _trimmed(
            Dag(
                nodes=tuple(self.nodes),
                arcs=tuple(self.arcs),
                outputs=tuple(outputs),
                state=self.state,
                constants=self.constants,
                symbols=tuple(self.symbols),
                samples=1 if self.symbols else self.samples,
                output_spec=None if spec == single else spec,
            )
        )

    def _read_placeholders(self) -> None:
        signature = self.program.graph_signature
        parameters = dict(self.model.named_parameters(remove_duplicate=False))
        buffers = dict(self.model.named_buffers(remove_duplicate=False))
        aliases = {id(parameter): name for name, parameter in named_parameters(self.model).items()}
        lifted = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
        constants = getattr(signature, "inputs_to_lifted_tensor_constants", {})
        position = 0
        for node in self.program.graph.nodes:
            if node.op != "placeholder":
                continue
            if node.name in lifted:
                target = lifted[node.name]
                tensor = parameters.get(target, buffers.get(target))
                if tensor is None:
                    tensor = self.program.state_dict.get(target, self.program.constants.get(target))
                name = aliases.get(id(tensor), target)
                self.state[name] = tensor
                self.meaning[node] = Value(name)
            elif node.name in constants:
                self.state[constants[node.name]] = self.program.constants[constants[node.name]]
                self.meaning[node] = Value(constants[node.name])
            else:
                value: Any = node.meta.get("val")
                if not isinstance(value, Tensor):
                    self.meaning[node] = value
                    continue
                samples: Any = value.shape[0]
                if is_symbol(samples):
                    self.symbols.append((samples.node.expr, position))
                position += 1
                name = "input" if len(self._user_tensors()) == 1 else node.name
                self.meaning[node] = self._add_node(name, "input", 0, self._static(value.shape))

    def _user_tensors(self) -> list[fx.Node]:
        names = set(self.program.graph_signature.user_inputs)
        return [
            n
            for n in self.program.graph.nodes
            if n.op == "placeholder" and n.name in names and isinstance(n.meta.get("val"), Tensor)
        ]

    def _read_call(self, node: fx.Node) -> None:
        value: Any = node.meta.get("val")
        if not node.users:
            return
        self._check_sizes(node)
        if isinstance(value, torch.SymInt | torch.SymBool | torch.SymFloat | int | float | bool):
            self.meaning[node] = _symbolic(value)
            return
        if node.target is aten.ENTRY and isinstance(entries := self.meaning[_argument(node, 0)], _Entries):
            step = self._step(node, (Hole(0), node.args[1]), {}, ())
            self.meaning[node] = self._result(node, entries.source, (*entries.steps, step))
            return

        if (filled := filling(node)) is not None:
            sizes = [_symbolic(size) for size in value.shape]
            facts = {"dtype": value.dtype, "device": value.device}
            made = Step(aten.FULL, (sizes, filled), facts, module_path(node), (), self._static(value.shape))
            self.constants[node.name] = made
            self.meaning[node] = Value(node.name)
            return
        sources: list[int] = []
        count = 0

        def read(leaf: Any) -> Any:
            nonlocal count
            if not isinstance(leaf, fx.Node):
                return _symbolic(leaf)
            meant = self.meaning[leaf]
            if isinstance(meant, _Entries):
                raise InputError(
                    f"cannot trace module {module_path(node)!r}: operation {node.target} reads a whole tuple of "
                    "tensors; index its entries instead."
                )
            if not isinstance(meant, _At):
                return meant
            count += 1
            if meant.index not in sources:
                sources.append(meant.index)
            return Hole(sources.index(meant.index))

        args, kwargs = pytree.tree_map(read, (tuple(node.args), dict(node.kwargs)))
        if not sources:
            self.constants[node.name] = self._step(node, args, kwargs, ())
            self.meaning[node] = Value(node.name)
            return
        record = operator_called(node.target)
        fills_slots = record is not None and record.fills_slots
        if record is not None and record.addend and count == 2 and self._is_plain_sum(node, kwargs):
            self.meaning[node] = self._read_sum(node, negated=record.addend < 0)
            return
        if len(sources) > 1:
            shapes = tuple(self.nodes[s].shape for s in sources)
            combine = self._step(node, args, kwargs, shapes) if fills_slots else None
            kind = "product" if combine is None else "concat"
            label = self._name(node) + (".operands" if combine is None else "")
            shape = shapes if combine is None else self._static(value.shape)
            fused = self._add_node(label, kind, 1 + max(self.nodes[s].level for s in sources), shape, combine)
            for slot, source in enumerate(sources):
                self.arcs.append(Arc(source, fused.index, (), slot))
            if combine is not None:
                self.meaning[node] = fused
                return
            step = self._step(node, args, kwargs, shapes)
            self.meaning[node] = self._result(node, fused.index, (step,))
            return
        step = self._step(node, args, kwargs, (self.nodes[sources[0]].shape,))
        self.meaning[node] = self._result(node, sources[0], (step,))

    def _result(self, node: fx.Node, source: int, steps: tuple[Step, ...]) -> _At | _Entries:
        """A new node at the end of an arc with `steps`, or a note of a tuple whose entries become nodes when read."""
        value: Any = node.meta.get("val")
        if isinstance(value, list | tuple):
            return _Entries(source, steps)
        end = self._add_node(self._name(node), "sum", self.nodes[source].level + 1, self._static(value.shape))
        self.arcs.append(Arc(source, end.index, steps))
        return end

    def _is_plain_sum(self, node: fx.Node, kwargs: dict[str, Any]) -> bool:
        """Whether operands of one type and no factor are added, so that adding the arcs' values gives the same bits."""
        operands = [_argument(node, place).meta["val"] for place in (0, 1)]
        kinds = {operand.dtype for operand in operands} | {node.meta["val"].dtype}
        return len(node.args) == 2 and len(kinds) == 1 and kwargs.get("alpha", 1) == 1

    def _read_sum(self, node: fx.Node, negated: bool) -> _At:
        shape = self._static(node.meta["val"].shape)
        ends = [self.meaning[_argument(node, place)].index for place in (0, 1)]
        total = self._add_node(self._name(node), "sum", 1 + max(self.nodes[e].level for e in ends), shape)
        for position, end in enumerate(ends):
            steps: tuple[Step, ...] = ()
            before = self.nodes[end].shape
            if before != shape:
                sizes = [_symbolic(s) for s in node.meta["val"].shape]
                steps = (Step(aten.EXPAND, (Hole(0), sizes), {}, module_path(node), (before,), shape),)
            if negated and position == 1:
                steps += (Step(aten.NEGATE, (Hole(0),), {}, module_path(node), (shape,), shape),)
            self.arcs.append(Arc(end, total.index, steps))
        return total

    def _step(self, node: fx.Node, args: Any, kwargs: Any, source_shapes: tuple[Any, ...]) -> Step:
        value: Any = node.meta.get("val")
        shape = self._static(value.shape) if isinstance(value, Tensor) else ()
        if node.target is aten.ENTRY and not source_shapes:
            entries = _argument(node, 0).meta["val"]
            source_shapes = (tuple(self._static(v.shape) if isinstance(v, Tensor) else () for v in entries),)
        record = operator_called(node.target)
        # Export leaves out what makes a tensor contiguous where its example is so already.
        operation: Any = (record and record.any_layout) or node.target
        return Step(operation, args, kwargs, module_path(node), source_shapes, shape)

    def _static(self, shape: Any) -> tuple[int, ...]:
        one = {symbol: sympy.Integer(1) for symbol, _ in self.symbols}
        return tuple(int(s.node.expr.xreplace(one)) if isinstance(s, torch.SymInt) else int(s) for s in shape)

    def _check_sizes(self, node: fx.Node) -> None:
        """Refuse results whose size depends on the values of the input."""
        known = {symbol for symbol, _ in self.symbols}
        for leaf in pytree.tree_leaves(node.meta.get("val")):
            for size in leaf.shape if isinstance(leaf, Tensor) else ():
                if isinstance(size, torch.SymInt) and not size.node.expr.free_symbols <= known:
                    where = f"module {module_path(node)!r}" if module_path(node) else "the model"
                    raise InputError(
                        f"cannot trace {where}: the size of the result of {node.target} depends on the values of the "
                        "input; use an operation whose result has a fixed size, such as a product with a mask."
                    )

    def _add_node(self, name: str, kind: str, level: int, shape: Any, combine: Step | None = None) -> _At:
        unique = name
        while unique in self.names:
            self.repeated[name] += 1
            unique = f"{name}#{self.repeated[name] + 1}"
        self.names.add(unique)
        self.nodes.append(Node(unique, kind, level, shape, combine))
        return _At(len(self.nodes) - 1)

    def _name(self, node: fx.Node) -> str:
        """The module's path, with the operation's name where the module does more than one thing."""
        path = module_path(node)
        if own := node.meta.get(NAME):
            return f"{path}.{own}" if path else own
        target: Any = node.target
        operation = getattr(target, "overloadpacket", target).__name__
        if not path:
            return operation
        parts = [name for name, _ in self.model.get_submodule(path).named_children() if name != PARAMETRISATIONS]
        return f"{path}.{operation}" if parts else path

    def _read_outputs(self) -> list[Output]:
        (node,) = (n for n in self.program.graph.nodes if n.op == "output")
        kinds = [spec.kind.name for spec in self.program.graph_signature.output_specs]
        outputs = []
        for kind, leaf in zip(kinds, node.args[0], strict=True):
            if kind != "USER_OUTPUT":
                continue
            meant = self.meaning[leaf] if isinstance(leaf, fx.Node) else leaf
            if isinstance(meant, _At):
                outputs.append(Output(meant.index))
            elif isinstance(meant, Value):
                raise InputError(
                    "the model returns a tensor that does not depend on its input; leave it out to trace it."
                )
            else:
                outputs.append(Output(None, constant=meant))
        return outputs


class _At:
    """The tensor of the Dag node with this index."""

    def __init__(self, index: int) -> None:
        self.index = index


class _Entries:
    """The tuple that `steps` give from node `source`; its entries become nodes when they are read."""

    def __init__(self, source: int, steps: tuple[Step, ...]) -> None:
        self.source = source
        self.steps = steps


def _argument(node: fx.Node, place: int) -> fx.Node:
    """The node that an operation reads at this place of its arguments."""
    argument = node.args[place]
    assert isinstance(argument, fx.Node)
    return argument


def _symbolic(leaf: Any) -> Any:
    if isinstance(leaf, torch.SymInt | torch.SymFloat | torch.SymBool):
        return Size(leaf.node.expr)
    return leaf


def _trimmed(dag: Dag) -> Dag:
    """Without the nodes that reach no output; inputs stay."""
    alive = {o.node for o in dag.outputs}
    for index in reversed(range(len(dag.nodes))):
        if any(arc.target in alive for arc in dag.arcs_from[index]):
            alive.add(index)
    alive.update(dag.inputs)
    new = {old: i for i, old in enumerate(sorted(i for i in alive if i is not None))}
    arcs = [Arc(new[a.source], new[a.target], a.steps, a.slot) for a in dag.arcs if a.source in new and a.target in new]
    outputs = [Output(None if o.node is None else new[o.node], o.steps, o.constant) for o in dag.outputs]
    return replace(dag, nodes=tuple(dag.nodes[i] for i in new), arcs=tuple(arcs), outputs=tuple(outputs))
