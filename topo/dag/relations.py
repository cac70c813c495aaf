"""The relation of an arc: its map between elements, with matrix, products and edges."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from .dag import Arc, Dag, Step
from .derived_weights import kept_elements, values_without_nan
from .elements import Fixed
from .fixed_elements import fixed_elements, maps_along
from .maps import Chain, Gather, LinearMap, Weight
from .operators import is_parametric

__all__ = ["Relation", "WeightLookup", "map_of", "relation"]


@dataclass(frozen=True, eq=False)
class Relation:
    """What an arc means for elements: a non-negative linear map that no edge need be built for.

    Attributes
    ----------
    map
        The structural twin of the arc's operations.
    parametric
        Whether one of them has a weight; the others are identities, views, pools and products.
    """

    map: LinearMap
    parametric: bool

    @property
    def source_shape(self) -> tuple[int, ...]:
        return self.map.source_shape

    @property
    def target_shape(self) -> tuple[int, ...]:
        return self.map.target_shape

    @cached_property
    def is_bijective(self) -> bool:
        """Whether the elements are only renumbered."""
        steps = self.map.maps if isinstance(self.map, Chain) else (self.map,)
        return all(isinstance(step, Gather) and step.is_bijective for step in steps)

    def matrix(self) -> sparse.csr_array:
        """All edges, as CSR (source elements, target elements) with int32 indices and float32 weights."""
        return self.map.matrix()

    def edge_count(self) -> int:
        """An upper bound of the number of edges, exact for a single layer, found without building them."""
        return self.map.edge_count()

    def edges(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """All edges, as arrays (E,): source element, target element, weight."""
        matrix = self.matrix()
        rows = np.repeat(np.arange(matrix.shape[0], dtype=np.int32), np.diff(matrix.indptr))
        return rows, matrix.indices, matrix.data

    def matvec(self, x: Tensor) -> Tensor:
        """Sum of weight times x over the edges into each target element; no edge is built.

        `x` has `source_shape`, the result `target_shape`; dtype and device are those of `x`.

        Parameters
        ----------
        x
            Of `source_shape`.

        Returns
        -------
        Tensor
            Of `target_shape`, on the device and of the type of `x`.
        """
        return self.map.apply(x.reshape(self.source_shape)).reshape(self.target_shape)

    def rmatvec(self, y: Tensor) -> Tensor:
        """Sum of weight times y over the edges out of each source element: the exact transpose of `matvec`.

        Parameters
        ----------
        y
            Of `target_shape`.

        Returns
        -------
        Tensor
            Of `source_shape`, on the device and of the type of `y`.
        """
        with torch.enable_grad():
            x = torch.zeros(self.source_shape, dtype=y.dtype, device=y.device, requires_grad=True)
            (gradient,) = torch.autograd.grad(self.matvec(x), x, y.reshape(self.target_shape))
        return gradient


class WeightLookup:
    """Finds the absolute weights of a parameter, and which of them are kept.

    Kept are those that the mask of the parameter keeps, whatever their value; without a mask, the non-zeros. Of a
    weight that is computed from parameters, kept are those that what is kept of these does not force to zero.

    Parameters
    ----------
    dag
        The network.
    masks
        Parameter name -> mask in the parameter's shape.
    """

    def __init__(self, dag: Dag, masks: Mapping[str, Any] | None = None) -> None:
        self.dag = dag
        self.masks = {name: torch.as_tensor(mask).bool() for name, mask in (masks or {}).items()}
        self.known: dict[str, Weight] = {}
        masked = {}
        for name, mask in self.masks.items():
            value = dag.state[name].detach()
            masked[name] = value.masked_fill(~mask.to(value.device), 0.0)
        self.values = values_without_nan(dag, masked) if masked else dag.values()

    def __call__(self, name: str) -> Weight:
        if name not in self.known:
            self.known[name] = self.weight(name)
        return self.known[name]

    def weight(self, name: str) -> Weight:
        """The weights of a parameter or constant, computed each time.

        Parameters
        ----------
        name
            Its name.

        Returns
        -------
        Weight
            Absolute values, and which are kept.
        """
        value = self.values[name].detach().abs()
        kept = kept_elements(self.dag, name, self.masks).to(value.device)
        return Weight(value.masked_fill(~kept, 0.0), kept)

    def kept_by_masks(self, name: str) -> Tensor | None:
        """Which elements of a value masks do not force to zero, those that are zero without them counting as kept.

        Parameters
        ----------
        name
            A parameter, buffer or constant.

        Returns
        -------
        Tensor or None
            bool, in the value's shape; None where no mask reaches it.
        """
        behind = [name] if name in self.dag.state else self.dag.parameters_behind([name])
        if not any(parameter in self.masks for parameter in behind):
            return None
        every = {n: torch.ones_like(self.dag.state[n], dtype=torch.bool) for n in behind}
        return kept_elements(self.dag, name, {**every, **self.masks}).cpu()


def map_of(
    dag: Dag,
    steps: tuple[Step, ...],
    shape: Any,
    slot: int,
    lookup: WeightLookup,
    options: Mapping[str, Any],
    fixed: tuple[Fixed | None, ...] = (),
) -> LinearMap:
    """The map of consecutive steps that start at entry `slot` of a node of this `shape`.

    Parameters
    ----------
    dag
        The network, whose constants and free sizes the steps refer to.
    steps
        Consecutive operations; without any, the map is the identity.
    shape
        Shape of what they start from.
    slot
        The entry to start from when the node is a product node, else 0.
    lookup
        Finds the weights.
    options
        Options of the encoding, such as how attention is read.
    fixed
        What no input can change of each entry of the node.

    Returns
    -------
    LinearMap
        From elements of that entry to elements of the last result.

    Raises
    ------
    InputError
        For an operation without an element-level meaning.
    """
    maps = list(maps_along(dag, steps, slot, lookup, options, fixed))
    if not maps:
        return Gather(shape, shape)
    return maps[0] if len(maps) == 1 else Chain(tuple(maps))


def arc_map(dag: Dag, arc: Arc, slot: int, lookup: WeightLookup, options: Mapping[str, Any]) -> LinearMap:
    """The map of an arc, from entry `slot` of its source when that is a product node."""
    node = dag.nodes[arc.source]
    shape = node.shape[slot] if node.kind == "product" else node.shape
    return map_of(dag, arc.steps, shape, slot, lookup, options, fixed_elements(dag)[arc.source])


def relation(dag: Dag, arc: Arc, lookup: WeightLookup | None = None, slot: int = 0, **options: Any) -> Relation:
    """The relation of an arc of a Dag whose shapes are for one sample.

    Parameters
    ----------
    dag
        The network.
    arc
        One of its arcs.
    options
        Options of the encoding, such as how attention is read.
    lookup
        Finds the weights; by default the Dag's own, unmasked.
    slot
        The entry to start from when the arc leaves a product node.

    Returns
    -------
    Relation
        Between the elements of the arc's source and target.

    Raises
    ------
    InputError
        For an operation without an element-level meaning: names the module and the operation.
    """
    parametric = any(is_parametric(step) for step in arc.steps)
    return Relation(arc_map(dag, arc, slot, lookup or WeightLookup(dag), options), parametric)
