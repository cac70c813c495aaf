"""Sums of products over axes, written as an einsum: products of matrices, and einsum itself.

Products of activations count as sums: an input reaches what it is multiplied into, whatever the other factors are,
unless these are zero whatever the input is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import prod
from typing import Any

import numpy as np
import torch

from ..contraction import Contraction
from ..elements import Hole, Step, Value
from ..maps import AxisMaps, Chain, Gather, LinearMap, Union, Weight
from .call import Call
from .record import Layer

__all__ = ["Labels", "contracted", "contraction_layer", "einsum_labels", "matrix_labels", "ones", "spread", "together"]

Labels = tuple[int, ...]


def ones(rows: int, columns: int) -> Weight:
    """A matrix of ones, all kept.

    Parameters
    ----------
    rows, columns
        Its shape.

    Returns
    -------
    Weight
        (rows, columns).
    """
    return Weight(torch.ones(rows, columns), torch.ones(rows, columns, dtype=torch.bool))


def contracted(call: Call, operands: Sequence[Any], labels: Sequence[Labels], target: Labels) -> LinearMap:
    """The map from one input to the result of an einsum.

    Parameters
    ----------
    call
        The step and the input that is meant.
    operands
        Its factors, `Hole` or `Value`.
    labels
        For each of them a label for each axis. Axes of one label have one length, or length one.
    target
        The labels of the result's axes.

    Returns
    -------
    LinearMap
        From the elements of that input to those of the result.
    """
    shapes = [call.shape_of(operand) for operand in operands]
    labels = _without_broadcasts(shapes, labels, target)
    maps: list[LinearMap] = []
    for place, operand in enumerate(operands):
        if isinstance(operand, Hole) and operand.slot == call.slot:
            others = [p for p in range(len(operands)) if p != place]
            factors = [(labels[p], weight) for p in others if (weight := _factor(call, operands[p])) is not None]
            maps.append(_from(call, labels[place], factors, target))
    return together(maps)


def contraction_layer(
    step: Step,
    weight: Value,
    shape: tuple[int, ...],
    operands: Sequence[Any],
    labels: Sequence[Labels],
    target: Labels,
    bias: str | None = None,
) -> Layer | None:
    """A sum of products of an input and a weight, as a layer.

    Parameters
    ----------
    step
        The operation.
    weight, shape
        The weight, and its shape.
    operands, labels, target
        As for `contracted`.
    bias
        Name of what is added, if anything is.

    Returns
    -------
    Layer or None
        By the last axis of the weight that it writes, with the layer by each other pair of axes as alternatives; None
        where there are other factors, or nothing is summed or nothing written.
    """
    if len(operands) != 2 or weight not in operands or not any(isinstance(given, Hole) for given in operands):
        return None
    source = step.source_shapes[0]
    shapes = [shape if given == weight else source for given in operands]
    labels = _without_broadcasts(shapes, labels, target)
    place = list(operands).index(weight)
    own, given = labels[place], labels[1 - place]
    if any(len(set(names)) < len(names) for names in (own, given)):
        return None
    summed = [label for label in own if label in given and label not in target]
    written = [label for label in own if label in target and label not in given]
    lengths = {**dict(zip(given, source, strict=True)), **dict(zip(own, shape, strict=True))}
    positions = prod(lengths.values()) // max(prod(shape), 1)
    found = [
        Layer(
            weight=weight.name,
            bias=bias,
            reads=own.index(read),
            writes=own.index(write),
            source_axis=given.index(read),
            target_axis=target.index(write),
            groups=1,
            positions=positions,
            uniform=len(own) == 2,
        )
        for write in reversed(written)
        for read in summed
    ]
    return replace(found[0], alternatives=tuple(found[1:])) if found else None


def together(maps: Sequence[LinearMap]) -> LinearMap:
    """The map of an input that is several arguments of one step.

    Parameters
    ----------
    maps
        From the input as each of these arguments to the result.

    Returns
    -------
    LinearMap
        With the edges of all.
    """
    return maps[0] if len(maps) == 1 else Union(tuple(maps))


def spread(call: Call, labels: Labels, target: Labels) -> LinearMap:
    """Every element reaches all places of the result that agree with it along the axes that both have.

    Parameters
    ----------
    call
        The step and the input that is meant.
    labels
        A label for each axis of the input, none twice.
    target
        The labels of the result's axes.

    Returns
    -------
    LinearMap
        From the elements of that input to those of the result.
    """
    return _without_factor(call.source_shape, labels, call.target_shape, target)


def _factor(call: Call, operand: Any) -> Weight | None:
    """A weight, or which elements of an activation are not zero for good; None where all count alike."""
    if isinstance(operand, Value):
        return call.lookup(operand.name)
    known = None if call.is_open else call.constant(operand)
    if known is None or (known != 0).all():
        return None
    return Weight((known != 0).double(), known != 0)


def _without_broadcasts(shapes: Sequence[tuple[int, ...]], labels: Sequence[Labels], target: Labels) -> list[Labels]:
    """The labels, with new ones for axes of length one that others of the same label are longer than."""
    lengths: dict[int, int] = {}
    for shape, named in zip(shapes, labels, strict=True):
        for length, label in zip(shape, named, strict=True):
            lengths[label] = max(length, lengths.get(label, 1))
    unused = 1 + max([*target, *lengths], default=0)
    renamed = []
    for shape, named in zip(shapes, labels, strict=True):
        given = []
        for length, label in zip(shape, named, strict=True):
            unused += 1
            given.append(unused if length < lengths[label] else label)
        renamed.append(tuple(given))
    return renamed


def _from(call: Call, labels: Labels, factors: list[tuple[Labels, Weight]], target: Labels) -> LinearMap:
    """From one operand to the result, the other factors that matter being these."""
    before, shape = [], call.source_shape
    if len(set(labels)) < len(labels):
        diagonal, labels = _diagonal(shape, labels)
        before, shape = [diagonal], diagonal.target_shape
    if not factors:
        after = _without_factor(shape, labels, call.target_shape, target)
    else:
        weight_labels, weight = _as_one(factors)
        after = _with_factor(shape, labels, weight, weight_labels, call.target_shape, target)
    return Chain((*before, after)) if before else after


def _diagonal(shape: tuple[int, ...], labels: Labels) -> tuple[Gather, Labels]:
    """The elements whose places along axes of the same label agree."""
    left = tuple(dict.fromkeys(labels))
    lengths = [shape[labels.index(label)] for label in left]
    grid = np.indices(lengths)
    places = tuple(grid[left.index(label)] for label in labels)
    return Gather.reading(shape, tuple(lengths), np.ravel_multi_index(places, shape)), left


def _without_factor(shape: tuple[int, ...], labels: Labels, target_shape: tuple[int, ...], target: Labels) -> LinearMap:
    """Summed axes reach one place; axes of other factors alone are filled."""
    summed = [axis for axis, label in enumerate(labels) if label not in target]
    short = tuple(1 if axis in summed else length for axis, length in enumerate(shape))
    reduced = AxisMaps(shape, short, tuple((axis, ones(1, shape[axis])) for axis in summed))
    numbers = np.arange(prod(short)).reshape(short).squeeze(tuple(summed))
    left = [label for label in labels if label in target]
    ordered = numbers.transpose([left.index(label) for label in target if label in left])
    spread = ordered[tuple(slice(None) if label in left else None for label in target)]
    placed = Gather.reading(short, target_shape, np.broadcast_to(spread, target_shape))
    return Chain((reduced, placed)) if summed else placed


def _as_one(factors: list[tuple[Labels, Weight]]) -> tuple[Labels, Weight]:
    """The product of several weights, as one; an axis that occurs twice in one is taken along its diagonal."""
    every = tuple(dict.fromkeys(label for labels, _ in factors for label in labels))
    if len(factors) == 1 and len(every) == len(factors[0][0]):
        return factors[0]
    small = {label: number for number, label in enumerate(every)}  # torch takes numbers below 52 alone
    magnitude, kept = (
        torch.einsum(
            *(part for labels, tensor in given for part in (tensor.double(), [small[label] for label in labels])),
            list(small.values()),
        )
        for given in (
            [(labels, weight.magnitude) for labels, weight in factors],
            [(labels, weight.kept) for labels, weight in factors],
        )
    )
    return every, Weight(magnitude, kept > 0)


def _with_factor(
    shape: tuple[int, ...],
    labels: Labels,
    weight: Weight,
    weight_labels: Labels,
    target_shape: tuple[int, ...],
    target: Labels,
) -> LinearMap:
    """One axis replaced by another where the weight is a matrix that does only that; else in full."""
    read = [label for label in weight_labels if label in labels and label not in target]
    written = [label for label in weight_labels if label in target and label not in labels]
    if len(weight_labels) == 2 and len(read) == len(written) == 1:
        replaced = tuple(written[0] if label == read[0] else label for label in labels)
        if replaced == target:
            turned = weight if weight_labels[0] == written[0] else Weight(weight.magnitude.T, weight.kept.T)
            return AxisMaps(shape, target_shape, ((labels.index(read[0]), turned),))
    return Contraction(shape, target_shape, weight, labels, weight_labels, target)


def matrix_labels(left: int, right: int) -> tuple[Labels, Labels, Labels]:
    """Labels for a product of matrices, or of vectors, as `torch.matmul` takes them.

    Parameters
    ----------
    left, right
        Numbers of axes of the factors.

    Returns
    -------
    tuple
        Labels of the left factor, of the right one and of the result.
    """
    batch = tuple(range(3, 3 + max(left, right) - 2))
    first = (*batch[len(batch) - max(left - 2, 0) :], 0, 1) if left > 1 else (1,)
    second = (*batch[len(batch) - max(right - 2, 0) :], 1, 2) if right > 1 else (1,)
    return first, second, (*batch, *((0,) if left > 1 else ()), *((2,) if right > 1 else ()))


def einsum_labels(equation: str, ranks: Sequence[int]) -> tuple[list[Labels], Labels]:
    """Labels for the axes of the operands and of the result of an einsum, ellipses and a missing result included.

    Parameters
    ----------
    equation
        As `torch.einsum` takes it.
    ranks
        Numbers of axes of the operands.

    Returns
    -------
    tuple
        The labels of each operand, and those of the result.

    Examples
    --------
    >>> einsum_labels("...ij,jk", [3, 2])
    ([(0, 105, 106), (106, 107)], (0, 105, 107))
    """
    inputs, arrow, result = equation.replace(" ", "").partition("->")
    terms = inputs.split(",")
    hidden = [rank - len(term.replace("...", "")) for term, rank in zip(terms, ranks, strict=True)]
    # Axes under an ellipsis are counted from the last, as they broadcast.
    most = max((count for term, count in zip(terms, hidden, strict=True) if "..." in term), default=0)
    every = tuple(range(most))

    def labels(term: str, count: int) -> Labels:
        before, dots, after = term.partition("...")
        return (*map(ord, before), *(every[most - count :] if dots and count else ()), *map(ord, after))

    if not arrow:
        letters = inputs.replace("...", "").replace(",", "")
        result = "..." * ("..." in inputs) + "".join(sorted(c for c in set(letters) if letters.count(c) == 1))
    return [labels(term, count) for term, count in zip(terms, hidden, strict=True)], labels(result, most)
