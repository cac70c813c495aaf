"""Where every result of a softmax depends on all along its axis, and where their sum counts as a constant."""

from __future__ import annotations

from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from ..errors import InputError
from .dag import Arc, Dag, Step
from .maps import Chain, LinearMap
from .operators import is_parametric, normalised_axes
from .relations import WeightLookup, map_of

__all__ = ["dense_steps"]

# So many elements of a result are asked what they read.
ASKED = 8
_KNOWN: WeakKeyDictionary[Dag, frozenset[Step]] = WeakKeyDictionary()


def dense_steps(dag: Dag) -> frozenset[Step]:
    """The steps such as softmax whose results along their axis are not read together.

    Attention sums over the axis that it normalises, so that what reads one place reads all, and the network's own
    output is asked about element by element: there the sum of a softmax counts as a constant, as statistics of norms
    do. Everywhere else, as before a product with fixed numbers or of gates, one result depends on all scores.

    Parameters
    ----------
    dag
        A coarse Dag of one sample; what is found is kept as long as it.

    Returns
    -------
    frozenset
        Of steps.
    """
    if dag not in _KNOWN:
        lookup = WeightLookup(dag)
        _KNOWN[dag] = frozenset(
            step
            for arc in dag.arcs
            for place, step in enumerate(arc.steps)
            if normalised_axes(step) and not _is_read_together(dag, arc, place, lookup)
        )
    return _KNOWN[dag]


def _is_read_together(dag: Dag, arc: Arc, place: int, lookup: WeightLookup) -> bool:
    step, rest = arc.steps[place], arc.steps[place + 1 :]
    if any(is_parametric(later) for later in rest):
        return False
    readers = dag.arcs_from[arc.target]
    if not readers:
        return True
    try:
        after = map_of(dag, rest, step.shape, 0, lookup, {"probe": False})
        if dag.nodes[arc.target].kind != "product":
            return bool(rest) and _reads_all_or_none(after, step)
        slot = arc.slot or 0
        ends = [map_of(dag, reader.steps[:1], (), slot, lookup, {"probe": False}) for reader in readers]
    except InputError:
        return False
    return all(_reads_all_or_none(Chain((after, end)), step) for end in ends)


def _reads_all_or_none(after: LinearMap, step: Step) -> bool:
    """Whether elements of the result read all places along the axes of a step, or none."""
    size = torch.Size(after.target_shape).numel()
    for element in sorted({int(size * k / ASKED) for k in range(ASKED)} | {size - 1}):
        read = _read_by(after, element, step.shape)
        for axis in normalised_axes(step):
            some, every = read.any(axis), read.all(axis)
            if not torch.equal(some, every):
                return False
    return True


def _read_by(after: LinearMap, element: int, shape: tuple[int, ...]) -> Tensor:
    with torch.enable_grad():
        x = torch.zeros(after.source_shape, requires_grad=True)
        (gradient,) = torch.autograd.grad(after.apply(x).reshape(-1)[element], x, allow_unused=True)
    return (torch.zeros(shape) if gradient is None else gradient.reshape(shape)) > 0
