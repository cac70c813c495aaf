"""Norms that a model writes out, such as ``x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + eps)``, as one step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn
from torch.utils import _pytree as pytree

from .dag import Arc, Dag, Step
from .elements import Hole, Size, Value, Values
from .operators import Operator, operator_called, operator_of

__all__ = ["written_norms"]

NORM = operator_called(nn.functional.rms_norm) or Operator(("",))
NONE = Values({}, {}, {})


class WrittenNorm:
    """What the operations of a norm that is written out compute, as one operation.

    Parameters
    ----------
    statistic
        From the input to what it is multiplied or divided by.
    product
        Their product or quotient.
    slot
        Which of its operands is the input.
    """

    __name__ = NORM.names[0]

    def __init__(self, statistic: Sequence[Step], product: Step, slot: int) -> None:
        self._statistic = tuple(statistic)
        self._product = product
        self._slot = slot

    def __call__(self, values: Tensor, sizes: Sequence[int]) -> Any:
        """The normalised values; `sizes` are those of the last axes, over which the statistic is taken."""
        scale: Any = values
        for step in self._statistic:
            scale = step.run((scale,), NONE)
        operands = (values, scale) if self._slot == 0 else (scale, values)
        return self._product.run(operands, NONE)


def written_norms(dag: Dag) -> dict[int, tuple[Arc, frozenset[int]]]:
    """The norms over last axes that a network writes out.

    Such a norm is a product, or a quotient, of values and a statistic of them alone, a power of a mean, a sum or a norm
    over axes, such that it does not change with the size of the values. Like other norms it is taken as element-wise.

    Parameters
    ----------
    dag
        The network, fine.

    Returns
    -------
    dict
        Place of the node that holds the normalised values -> the arc to it from the values, of one step, and the places
        of the nodes that only serve the statistic.

    Examples
    --------
    >>> import torch, topo
    >>> class Norm(torch.nn.Module):
    ...     def forward(self, x):
    ...         return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6)
    >>> [arc.steps[0].name for arc, _ in written_norms(topo.trace(Norm(), (4,))).values()]
    ['rms_norm']
    """
    found = {}
    for place, node in enumerate(dag.nodes):
        arcs = dag.arcs_from[place]
        if node.kind == "product" and len(node.shape) == 2 and len(arcs) == 1 and len(arcs[0].steps) == 1:
            norm = _norm(dag, place, arcs[0])
            if norm is not None:
                found[arcs[0].target] = norm
    return found


def _norm(dag: Dag, place: int, product: Arc) -> tuple[Arc, frozenset[int]] | None:
    step = product.steps[0]
    wanted = operator_of(step).balanced_by
    if not wanted or not _is_plain(step) or set(map(type, step.args)) != {Hole}:
        return None
    by_slot = {arc.slot: arc.source for arc in dag.arcs_into[place] if not arc.steps}
    for slot in (0, 1) if wanted < 0 else (step.args[0].slot,):
        if len(by_slot) < 2:
            return None
        statistic: list[Step] = []
        nodes: list[int] = []
        source, at = by_slot[slot], by_slot[1 - slot]
        while at != source and dag.nodes[at].kind == "sum" and len(dag.arcs_into[at]) == 1:
            (arc,) = dag.arcs_into[at]
            statistic[:0] = arc.steps
            nodes.append(at)
            at = arc.source
        if at != source or not all(map(_is_plain, statistic)):
            continue
        shape = dag.nodes[source].shape
        axes = _axes(statistic, len(shape))
        if axes and _power(statistic) == wanted and dag.nodes[product.target].shape == shape:
            norm: Any = WrittenNorm(statistic, step, slot)
            whole = Step(norm, (Hole(0), list(shape[-axes:])), {}, step.module, (shape,), shape)
            alone = {place} | {n for n in nodes if all(a.target in (place, *nodes) for a in dag.arcs_from[n])}
            return Arc(source, product.target, (whole,)), frozenset(alone - {o.node for o in dag.outputs})
    return None


def _is_plain(step: Step) -> bool:
    """Whether a step reads nothing but numbers beside what flows in."""
    return not any(isinstance(leaf, Value | Size) for leaf in pytree.tree_leaves((step.args, dict(step.kwargs))))


def _power(steps: Sequence[Step]) -> float | None:
    """To which power the result grows with what the steps read, numbers that are added aside; None where to none."""
    power = 1.0
    for step in steps:
        grows = operator_of(step).grows
        if grows is None:
            return None
        factor = grows(step)
        if factor is None:
            return None
        power *= factor
    return power


def _axes(steps: Sequence[Step], ndim: int) -> int:
    """Over how many last axes the one step that takes a statistic takes it; 0 where there is none, or others."""
    reductions = [step for step in steps if operator_of(step).reduced_axes is not None]
    if len(reductions) != 1:
        return 0
    reduced = operator_of(reductions[0]).reduced_axes
    axes = sorted(axis % ndim for axis in (reduced(reductions[0]) if reduced else ()))
    return len(axes) if axes == list(range(ndim - len(axes), ndim)) else 0
