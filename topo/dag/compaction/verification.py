"""Running the masked and the smaller network on the same inputs, so that a difference is raised and not returned."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from ...errors import InputError
from ..dag import Dag
from ..interpreter import Interpreter
from .computed_values import masked_values

__all__ = ["verify_compaction"]

# Largest difference, as a share of the largest output, that rounding explains: in float64, and where only the model's
# own type can be computed in.
ROUNDING = {torch.float64: 1e-9, torch.float32: 1e-2, torch.float16: 0.1, torch.bfloat16: 0.2}
# A smaller difference in the model's own type needs no second look.
CLOSE = 1e-5


def verify_compaction(dag: Dag, masks: Mapping[str, Tensor], small: nn.Module) -> None:
    """Raise where a smaller network computes something else than the masked one does on random inputs.

    Compared is in the type of the model, and where that leaves a doubt in float64. Networks that draw random numbers in
    evaluation are not compared.

    Parameters
    ----------
    dag
        The network as traced, with the example that it was traced with.
    masks
        Parameter name -> bool mask in the parameter's shape.
    small
        What takes its place, called with the same arguments; its mode is that of before afterwards.

    Raises
    ------
    InputError
        The outputs differ by more than rounding, or the smaller network fails.

    Examples
    --------
    >>> from topo.dag import trace
    >>> net = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    >>> verify_compaction(trace(net, torch.zeros(1, 4)), {}, net)
    >>> verify_compaction(trace(net, torch.zeros(1, 4)), {}, nn.Linear(4, 2))
    Traceback (most recent call last):
    topo.errors.InputError: the smaller network would not compute what the masked one does: ...
    """
    if dag.example is None or _draws(dag):
        return
    state = masked_values(dag, masks)
    inputs = _random_inputs(dag.example, {t.dtype for t in state.values() if t.is_floating_point()})
    modes = {module: module.training for module in small.modules()}
    small.eval()
    try:
        with torch.no_grad():
            difference, dtype = _compared(dag, state, small, inputs)
    except (RuntimeError, ValueError, IndexError, TypeError) as error:
        raise InputError(
            f"the smaller network cannot be compared with the masked one, for one of them does not run "
            f"({str(error).splitlines()[0]}). This model is beyond what can be made smaller; use it with its masks."
        ) from error
    finally:
        for module, training in modes.items():
            module.training = training
    if difference > ROUNDING.get(dtype, ROUNDING[torch.float32]):
        raise InputError(
            "the smaller network would not compute what the masked one does: on random inputs outputs differ by "
            f"{difference:.2g} of the largest. This model is beyond what can be made smaller; use it with its masks."
        )


def _draws(dag: Dag) -> bool:
    steps = [step for arc in dag.arcs for step in arc.steps]
    steps += [step for output in dag.outputs for step in output.steps]
    steps += [*dag.constants.values(), *(node.combine for node in dag.nodes if node.combine is not None)]
    return any(torch.Tag.nondeterministic_seeded in getattr(step.operation, "tags", ()) for step in steps)


def _random_inputs(example: Any, types: set[torch.dtype]) -> Any:
    """Normal numbers in place of an example's; of the one type that the network has, or else of the example's."""
    generator = torch.Generator().manual_seed(0)
    # The network may have been moved to another type since it was traced.
    only = next(iter(types)) if len(types) == 1 else None

    def drawn(tensor: Tensor) -> Tensor:
        if not tensor.is_floating_point():
            return tensor
        return torch.randn(tensor.shape, generator=generator).to(tensor.device, only or tensor.dtype)

    return pytree.tree_map_only(Tensor, drawn, example)


def _in_double(values: Any) -> Any:
    return pytree.tree_map_only(Tensor, lambda t: t.double() if t.is_floating_point() else t, values)


def _compared(dag: Dag, state: Mapping[str, Tensor], small: nn.Module, inputs: Any) -> tuple[float, torch.dtype]:
    """The difference in the type of the model or, where that leaves a doubt, in float64, and the type."""
    difference, dtype = _difference(dag, state, small, inputs)
    if difference <= CLOSE:
        return difference, dtype
    try:
        return _difference(dag, _in_double(state), copy.deepcopy(small).double(), _in_double(inputs))
    except (RuntimeError, TypeError):
        # Some operations fix a type, and some devices have no float64: the type of the model decides.
        return difference, dtype


def _difference(dag: Dag, state: Mapping[str, Tensor], small: nn.Module, inputs: Any) -> tuple[float, torch.dtype]:
    """Largest difference of any output as a share of the largest entry of that output, and the type of the outputs."""
    args, kwargs = ((), inputs) if isinstance(inputs, dict) else (inputs, {})
    wanted = pytree.tree_leaves(Interpreter(dag, state=state).run(*args, **kwargs))
    made = pytree.tree_leaves(small(*args, **kwargs))
    worst, dtype = 0.0, torch.float64
    for one, other in zip(wanted, made, strict=True):
        if not isinstance(one, Tensor) or one.numel() == 0:
            continue
        if one.shape != other.shape:
            return float("inf"), one.dtype
        apart = (one.double() - other.double()).abs()
        # Where both overflow or both are undefined there is nothing to compare.
        same = (one == other) | (one.isnan() & other.isnan())
        apart = torch.where(same, 0.0, apart).nan_to_num(torch.inf, torch.inf)
        scale = one.double().abs().nan_to_num(0.0, 0.0, 0.0).max().clamp(min=torch.finfo(torch.float32).tiny)
        worst = max(worst, float(apart.max() / scale))
        if one.is_floating_point() and torch.finfo(one.dtype).bits < torch.finfo(dtype).bits:
            dtype = one.dtype
    return worst, dtype
