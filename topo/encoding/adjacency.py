"""A network's adjacency as an operator: products with it without building an edge, on any device."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from ..dag.maps import AxisMaps, Chain, Convolution, LinearMap, Union, Weight
from ..dag.matrices import compose, merge
from ..dag.structure import Structure
from .parts import Part
from .routes import last_arcs_to_build, ordered_parts, sequences_of, unweighted

__all__ = ["Adjacency", "Products"]


@dataclass(frozen=True, eq=False)
class _Arc:
    source: int
    target: int
    map: LinearMap


class Adjacency:
    """Products with the adjacency of a network's multipartite graph, of which no edge is built where it is avoidable.

    Where elements are joined in several ways, such as by a convolution and the skip around it, the edges of these
    blocks are built and merged, so that every edge counts once and weighs the sum.

    Parameters
    ----------
    network
        The structural twin.
    device
        Where to compute.

    Attributes
    ----------
    parts
        As of the multipartite graph: nodes are numbered alike.
    """

    def __init__(self, network: Structure, device: torch.device | str = "cpu") -> None:
        self.network = network
        self.device = torch.device(device)
        sequences = sequences_of(network)
        built = last_arcs_to_build(network, sequences)
        self.arcs = [
            _Arc(arc.source, arc.target, _on(arc.relation.map, self.device))
            for number, arc in enumerate(network.arcs)
            if number not in built
        ]
        self.parts, self._part_of = ordered_parts(network, (pair for pair, _ in sequences))
        self.n_nodes = self.parts[-1].offset + self.parts[-1].size if self.parts else 0
        blocks: dict[tuple[int, int], list[sparse.csr_array]] = {}
        for (source, target), arcs in sequences:
            if arcs[-1] in built:
                matrix = network.arcs[arcs[0]].relation.matrix()
                for arc in arcs[1:]:
                    matrix = compose(matrix, network.arcs[arc].relation.matrix())
                blocks.setdefault((source, target), []).append(matrix)
        self.blocks = {pair: merge(matrices) for pair, matrices in blocks.items()}

    @cached_property
    def pattern(self) -> Products:
        """Products with the adjacency, weight one on every edge."""
        ones = {
            pair: sparse.csr_array((np.ones(m.nnz), m.indices, m.indptr), shape=m.shape)
            for pair, m in self.blocks.items()
        }
        return Products(self, [replace(arc, map=unweighted(arc.map)) for arc in self.arcs], ones)

    @cached_property
    def weighted(self) -> Products:
        """Products with the weighted adjacency."""
        return Products(self, self.arcs, {pair: m.astype(np.float64) for pair, m in self.blocks.items()})

    @cached_property
    def rounded(self) -> Products:
        """Products with the weighted adjacency in float32, several times as fast on a CPU."""
        return Products(self, self.arcs, {pair: m.astype(np.float64) for pair, m in self.blocks.items()}, torch.float32)

    def part(self, node: int) -> Part | None:
        """The part of a node of the structure; None of a relay."""
        return self.parts[self._part_of[node]] if node in self._part_of else None

    @cached_property
    def most_in_degrees(self) -> dict[tuple[int, int], int]:
        """Arc or block, by its ends in the structure -> the largest number of edges into one element of its target."""
        most: dict[tuple[int, int], int] = {}
        for arc in self.arcs:
            most[arc.source, arc.target] = most.get((arc.source, arc.target), 0) + arc.map.fan_in()
        for pair, matrix in self.blocks.items():
            most[pair] = most.get(pair, 0) + int(np.bincount(matrix.indices, minlength=1).max())
        return most


class Products:
    """Products of one adjacency with vectors over all nodes.

    Parameters
    ----------
    adjacency
        Whose parts and device.
    arcs
        Maps between nodes of the structure.
    blocks
        Matrices between them.
    dtype
        What maps compute in.
    """

    def __init__(
        self,
        adjacency: Adjacency,
        arcs: Sequence[_Arc],
        blocks: Mapping[tuple[int, int], sparse.csr_array],
        dtype: torch.dtype = torch.float64,
    ) -> None:
        self.dtype = dtype
        self.adjacency = adjacency
        self.arcs = arcs
        self.blocks = blocks
        self._graph: tuple[dict[int, Tensor], dict[int, Tensor]] | None = None

    def into(self, x: np.ndarray) -> np.ndarray:
        """For each node, the sum of weight times x over the edges into it.

        Parameters
        ----------
        x
            (nodes,).

        Returns
        -------
        array
            float64 (nodes,).
        """
        with _exact():
            return self._add_blocks(self._gathered(self._run(self._scattered(x))), x, transposed=False)

    def out_of(self, x: np.ndarray) -> np.ndarray:
        """For each node, the sum of weight times x over the edges out of it.

        Parameters
        ----------
        x
            (nodes,).

        Returns
        -------
        array
            float64 (nodes,).
        """
        nodes = list(self._scattered(x))
        with _exact(gradients=True):
            if self._graph is None:
                leaves = {node: v.requires_grad_() for node, v in self._scattered(np.zeros(len(x))).items()}
                self._graph = leaves, self._run(leaves)
            leaves, arrived = self._graph
            ends = [(arrived[node], v) for node, v in self._scattered(x).items() if node in arrived]
            ends = [(result, v) for result, v in ends if result.requires_grad]
            gradients: Any = ()
            if ends:
                results, values = zip(*ends, strict=True)
                gradients = torch.autograd.grad(results, list(leaves.values()), values, True, allow_unused=True)
            found = {node: v for node, v in zip(nodes, gradients, strict=False) if v is not None}
            return self._add_blocks(self._gathered(found), x, transposed=True)

    def both(self, x: np.ndarray) -> np.ndarray:
        """The product of the undirected adjacency with each column of x.

        Parameters
        ----------
        x
            (nodes, vectors).

        Returns
        -------
        array
            float64 (nodes, vectors).
        """
        return np.stack([self.into(column) + self.out_of(column) for column in np.ascontiguousarray(x.T)], axis=1)

    def sweep(self, start: np.ndarray, finish: Callable[[Tensor], Tensor]) -> np.ndarray:
        """Values node by node along the edges: what a node starts with and what arrives, finished, goes on.

        Parameters
        ----------
        start
            (nodes,).
        finish
            Applied to the values of a part, float64, before they are passed on.

        Returns
        -------
        array
            The finished values, float64 (nodes,).
        """
        own, values = self._scattered(start), dict[int, Tensor]()
        with _exact():
            for index, node in enumerate(self.adjacency.network.nodes):
                total = own.get(index, torch.zeros(node.shape, dtype=self.dtype, device=self.adjacency.device))
                for arc in self._arcs_into[index]:
                    total = total + arc.map.apply(values[arc.source].reshape(arc.map.source_shape)).reshape(node.shape)
                for source, matrix in self._blocks_into[index]:
                    total = total + self._times(matrix.T, values[source]).reshape(node.shape)
                values[index] = finish(total)
        return self._gathered(values)

    def sweep_back(self, start: np.ndarray, finish: Callable[[Tensor], Tensor]) -> np.ndarray:
        """As `sweep`, against the edges.

        Parameters
        ----------
        start, finish
            As for `sweep`.

        Returns
        -------
        array
            float64 (nodes,).
        """
        nodes = self.adjacency.network.nodes
        own = self._scattered(start)
        totals = [
            own.get(index, torch.zeros(node.shape, dtype=self.dtype, device=self.adjacency.device))
            for index, node in enumerate(nodes)
        ]
        with _exact(gradients=True):
            for index in reversed(range(len(nodes))):
                totals[index] = finish(totals[index])
                for arc in self._arcs_into[index]:
                    x = torch.zeros_like(totals[arc.source], requires_grad=True)
                    result = arc.map.apply(x.reshape(arc.map.source_shape))
                    if result.requires_grad:
                        (gradient,) = torch.autograd.grad(result, x, totals[index].reshape(result.shape))
                        totals[arc.source] = totals[arc.source] + gradient
                for source, matrix in self._blocks_into[index]:
                    passed = self._times(matrix, totals[index])
                    totals[source] = totals[source] + passed.reshape(nodes[source].shape)
        return self._gathered(dict(enumerate(totals)))

    @cached_property
    def _arcs_into(self) -> list[list[_Arc]]:
        into: list[list[_Arc]] = [[] for _ in self.adjacency.network.nodes]
        for arc in self.arcs:
            into[arc.target].append(arc)
        return into

    @cached_property
    def _blocks_into(self) -> list[list[tuple[int, sparse.csr_array]]]:
        into: list[list[tuple[int, sparse.csr_array]]] = [[] for _ in self.adjacency.network.nodes]
        for (source, target), matrix in self.blocks.items():
            into[target].append((source, matrix))
        return into

    def _times(self, matrix: Any, values: Tensor) -> Tensor:
        product = matrix @ values.reshape(-1).cpu().numpy()
        return torch.from_numpy(product).to(self.adjacency.device, self.dtype)

    def _run(self, values: dict[int, Tensor]) -> dict[int, Tensor]:
        """What arrives at each node of the structure; relays pass on what arrives."""
        arrived: dict[int, Tensor] = {}
        for arc in self.arcs:
            source = values.get(arc.source, arrived.get(arc.source))
            if source is None:
                continue
            result = arc.map.apply(source.reshape(arc.map.source_shape))
            shape = self.adjacency.network.nodes[arc.target].shape
            before = arrived.get(arc.target)
            arrived[arc.target] = result.reshape(shape) if before is None else before + result.reshape(shape)
        return arrived

    def _scattered(self, x: np.ndarray) -> dict[int, Tensor]:
        whole = torch.from_numpy(np.ascontiguousarray(x, dtype=np.float64)).to(self.adjacency.device, self.dtype)
        nodes = self.adjacency.network.nodes
        pieces = {}
        for index, node in enumerate(nodes):
            part = self.adjacency.part(index)
            if part is not None:
                pieces[index] = whole[part.offset : part.offset + part.size].reshape(node.shape)
        return pieces

    def _gathered(self, values: Mapping[int, Tensor]) -> np.ndarray:
        whole = np.zeros(self.adjacency.n_nodes)
        for index, value in values.items():
            part = self.adjacency.part(index)
            if part is not None:
                whole[part.nodes] = value.detach().reshape(-1).cpu().numpy()
        return whole

    def _add_blocks(self, result: np.ndarray, x: np.ndarray, *, transposed: bool) -> np.ndarray:
        for (source, target), matrix in self.blocks.items():
            rows, columns = self.adjacency.part(source), self.adjacency.part(target)
            assert rows is not None and columns is not None
            if transposed:
                result[rows.nodes] += matrix @ x[columns.nodes]
            else:
                result[columns.nodes] += matrix.T @ x[rows.nodes]
        return result


@contextmanager
def _exact(*, gradients: bool = False) -> Iterator[None]:
    """Sums of products without transforms that round, also on a GPU; with gradients, whatever the caller has set."""
    with (
        torch.inference_mode(False),
        torch.set_grad_enabled(gradients),
        torch.backends.cudnn.flags(enabled=False),
    ):
        yield


def _on(linear_map: LinearMap, device: torch.device) -> LinearMap:
    if isinstance(linear_map, Chain | Union):
        return replace(linear_map, maps=tuple(_on(part, device) for part in linear_map.maps))
    if isinstance(linear_map, AxisMaps):
        return replace(linear_map, maps=tuple((axis, _moved(weight, device)) for axis, weight in linear_map.maps))
    if isinstance(linear_map, Convolution):
        return replace(linear_map, weight=_moved(linear_map.weight, device))
    return linear_map


def _moved(weight: Weight, device: torch.device) -> Weight:
    return Weight(weight.magnitude.detach().to(device), weight.kept.to(device))
