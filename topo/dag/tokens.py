"""Tokens: which rows of tables an example looks up, and inputs as one-hot vectors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from .dag import Arc, Dag, Step
from .elements import Hole
from .interpreter import Interpreter
from .maps import AxisMaps, Chain, Gather, LinearMap, Weight
from .operators import is_lookup
from .relations import WeightLookup, arc_map, map_of

__all__ = ["looked_up_rows", "one_hot_map", "one_hot_vocabularies"]


class _Rows(Interpreter):
    """Notes the rows that every table is asked for."""

    def __init__(self, dag: Dag) -> None:
        super().__init__(dag)
        self.rows: dict[Step, Tensor] = {}

    def step(self, step: Step, operands: tuple[Any, ...]) -> Any:
        if is_lookup(step) and isinstance(index := step.args[1], Hole):
            found = operands[index.slot].unique().cpu()
            self.rows[step] = torch.cat([self.rows.get(step, found), found]).unique()
        return super().step(step, operands)


def looked_up_rows(dag: Dag) -> dict[Step, Tensor]:
    """The rows of its tables that a network looks up for the example that it was traced with.

    Parameters
    ----------
    dag
        Of one sample; all samples of the example are run.

    Returns
    -------
    dict
        Operation that looks up -> numbers of rows, ascending.
    """
    noted = _Rows(dag)
    leaves = [leaf for leaf in pytree.tree_leaves(dag.example) if isinstance(leaf, Tensor)]
    with torch.no_grad():
        for sample in range(len(leaves[0])):
            noted.evaluate([leaf[sample : sample + 1] for leaf in leaves])
    return noted.rows


def one_hot_vocabularies(dag: Dag, rows: Mapping[Step, Tensor] | None = None) -> dict[int, Tensor]:
    """The tokens that each input may hold, of those inputs that are looked up as they are.

    Parameters
    ----------
    dag
        The network.
    rows
        Rows that are looked up, as from `looked_up_rows`; all rows of the tables by default.

    Returns
    -------
    dict
        Place of the input node -> numbers of tokens, ascending.
    """
    found: dict[int, Tensor] = {}
    for arc in dag.arcs:
        place = _lookup_place(dag, arc)
        if place is None:
            continue
        step = arc.steps[place]
        table = dag.values()[step.args[0].name]
        tokens = torch.arange(len(table)) if rows is None else rows[step]
        found[arc.source] = torch.cat([found.get(arc.source, tokens), tokens]).unique()
    return found


def one_hot_map(dag: Dag, arc: Arc, vocabulary: Tensor, lookup: WeightLookup, options: Mapping[str, Any]) -> LinearMap:
    """The map of an arc from the one-hot vectors of an input, one after the other.

    Parameters
    ----------
    dag
        The network.
    arc
        One that starts at an input.
    vocabulary
        The tokens that the input may hold.
    lookup
        Finds the weights.
    options
        Of the encoding.

    Returns
    -------
    LinearMap
        From (*positions, tokens). Where the tokens are not looked up as they are, all of a position count alike.
    """
    shape, count = dag.nodes[arc.source].shape, len(vocabulary)
    place = _lookup_place(dag, arc)
    if place is None:
        every = Weight(torch.ones(1, count), torch.ones(1, count, dtype=torch.bool))
        return Chain((AxisMaps((*shape, count), shape, ((len(shape), every),)), arc_map(dag, arc, 0, lookup, options)))
    moved = _moved(dag, arc.steps[:place], shape, lookup)
    after = arc.steps[place].source_shapes[0]
    table = map_of(dag, arc.steps[place:], after, 0, lookup, {**options, "vocabulary": vocabulary})
    if moved is None or moved.index is None:
        return table
    index = torch.from_numpy(moved.index).reshape(*after, 1)
    each = torch.where(index < 0, -1, index * count + torch.arange(count))
    return Chain((Gather((*shape, count), (*after, count), each.numpy()), table))


def _lookup_place(dag: Dag, arc: Arc) -> int | None:
    """Which step of an arc looks up the tokens of an input as they are; None where none does."""
    if dag.nodes[arc.source].kind != "input":
        return None
    places = [n for n, step in enumerate(arc.steps) if is_lookup(step) and isinstance(step.args[1], Hole)]
    if not places or len(arc.steps[places[0]].source_shapes) > 1:
        return None
    before, shape = arc.steps[: places[0]], dag.nodes[arc.source].shape
    values = dag.values()
    for token in (1, 2):
        tokens = torch.full(shape, token)
        for step in before:
            tokens = step.run((tokens,), values)
        if not bool((tokens == token).all()):
            return None
    return places[0]


def _moved(dag: Dag, steps: tuple[Step, ...], shape: tuple[int, ...], lookup: WeightLookup) -> Gather | None:
    """Which position every index of a table is read from; None where they are the same in the same order."""
    if not steps:
        return None
    numbers = torch.arange(1, 1 + torch.Size(shape).numel(), dtype=torch.float64).reshape(shape)
    read = map_of(dag, steps, shape, 0, lookup, {}).apply(numbers)
    return Gather.reading(shape, tuple(read.shape), (read.long() - 1).numpy())
