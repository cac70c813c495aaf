"""A network as its metrics see it when no edge is built: degrees, sums of weights, paths and spectra from products."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property, partial
from math import prod
from typing import Any

import numpy as np
import torch

from ..dag import Dag
from ..dag.structure import Structure
from ..encoding.adjacency import Adjacency
from ..encoding.graph import MultipartiteGraph
from ..encoding.multipartite import weight_facts
from ..memory import available_memory, in_words
from .graph_view import GraphView
from .lanczos import VECTORS, Product
from .registry import Undefined

__all__ = ["BYTES_OF_AN_ITERATION", "StructuralView"]

BYTES_OF_AN_ITERATION = 8 * VECTORS
"""For a node, in float64."""
NEEDS_EDGES = "it needs the edges of the graph, which are not built with engine='structure'"


class StructuralView(GraphView):
    """The multipartite graph of a network without its edges, for the metrics that need only products with them.

    Metrics that look at single edges raise `Undefined`.

    Parameters
    ----------
    dag
        Of one sample.
    network
        Its structural twin under masks.
    options
        Of the encoding.
    device
        Where to compute the products.
    """

    def __init__(
        self, dag: Dag, network: Structure, options: Mapping[str, Any], device: torch.device | str = "cpu"
    ) -> None:
        self.adjacency = Adjacency(network, device)
        facts = weight_facts(dag, network, options["attention"])
        graph = MultipartiteGraph(self.adjacency.parts, [], {"encoding": "multipartite", "options": options}, facts)
        self._start(graph, "mean_degree")
        self.n_edges = int(self.in_degree.sum())

    @cached_property
    def out_degree(self) -> np.ndarray:
        """int64 (N,): edges that leave each node."""
        return _whole(self.adjacency.pattern.out_of(np.ones(self.n_nodes)))

    @cached_property
    def in_degree(self) -> np.ndarray:
        """int64 (N,): edges that enter each node."""
        return _whole(self.adjacency.pattern.into(np.ones(self.n_nodes)))

    @cached_property
    def total_weight(self) -> float:
        """Sum of the weights of all edges."""
        return float(self.adjacency.weighted.into(np.ones(self.n_nodes)).sum())

    @cached_property
    def weights_are_finite(self) -> bool:
        """Whether no weight is NaN or infinite."""
        return bool(np.isfinite(self.total_weight))

    @cached_property
    def edge_degree_product(self) -> int:
        """Sum over edges of the product of the two end degrees."""
        return int(self.degree @ _whole(self.adjacency.pattern.into(self.degree)))

    @cached_property
    def most_paths(self) -> int:
        """An upper bound on the number of paths from input to output nodes."""
        nodes = self.adjacency.network.nodes
        most = [int(node.role == "input") for node in nodes]
        for (source, target), degree in sorted(self.adjacency.most_in_degrees.items(), key=lambda item: item[0][1]):
            most[target] += most[source] * degree
        return sum(most[i] * prod(node.shape) for i, node in enumerate(nodes) if node.role == "output")

    def paths_modulo(self, moduli: np.ndarray) -> np.ndarray:
        """Number of paths from input to output nodes, modulo several numbers.

        Parameters
        ----------
        moduli
            int64, below 2**31.

        Returns
        -------
        array
            int64, one remainder each.

        Raises
        ------
        Undefined
            When a node has so many edges that sums are not exact in float64.
        """
        if int(moduli.max()) * int(self.in_degree.max()) >= 2**53:
            raise Undefined("a node has too many edges to count paths without building them")
        start = self.inputs.astype(np.float64)
        ends = [self.adjacency.pattern.sweep(start, partial(_remainder, int(modulus))) for modulus in moduli]
        return np.array([_whole(values[self.outputs]).sum() for values in ends], np.int64)

    @cached_property
    def edges_on_paths(self) -> int:
        """Edges on some path from an input node to an output node."""
        pattern = self.adjacency.pattern
        reached = pattern.sweep(self.inputs.astype(np.float64), _is_positive)
        reaching = pattern.sweep_back(self.outputs.astype(np.float64), _is_positive)
        return int(_whole(pattern.into(reached)) @ _whole(reaching))

    @cached_property
    def scaled_product(self) -> tuple[Product, int]:
        """The product of the undirected weighted adjacency with a vector, over a power of two, and that power.

        Raises
        ------
        Undefined
            When the vectors of an eigenvalue iteration do not fit into the memory that is left.
        """
        needed, free = BYTES_OF_AN_ITERATION * self.n_nodes, available_memory()
        if needed > free:
            raise Undefined(f"the iteration takes about {in_words(needed)}, and {in_words(free)} of memory are left")
        ones = np.ones((self.n_nodes, 1))
        exponent = int(np.frexp(self.adjacency.weighted.both(ones).max())[1])

        def product(x: np.ndarray, y: np.ndarray) -> None:
            # The vector is scaled, for float32 might not hold the weights times it.
            y[:] = self.adjacency.rounded.both(np.ldexp(x, -exponent)[:, None])[:, 0]

        return product, exponent

    @property
    def blocks(self) -> Any:  # type: ignore[override]
        """Not there."""
        raise Undefined(NEEDS_EDGES)

    directed = neighbours = undirected = connectivity = part_triangles = property(lambda self: self.blocks)


def _whole(values: np.ndarray) -> np.ndarray:
    return np.rint(values).astype(np.int64)


def _remainder(modulus: int, values: torch.Tensor) -> torch.Tensor:
    return values % modulus


def _is_positive(values: torch.Tensor) -> torch.Tensor:
    return (values > 0).to(values.dtype)
