"""Graphs as arrays: those of whole networks, of layers, and of all layers of a network."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

from ..errors import InputError, counted
from ..validation import one_of
from .drawers import DRAWERS
from .graph_files import read_graph, read_layers, write_graph, write_layers
from .parts import Block, Part

if TYPE_CHECKING:
    import igraph
    import networkx

__all__ = ["BipartiteGraph", "Block", "LayerGraphs", "MultipartiteGraph", "Part"]

INDEX_LIMIT = np.iinfo(np.int32).max


class MultipartiteGraph:
    """A directed graph whose nodes come in parts and whose edges come in blocks between parts.

    Parameters
    ----------
    parts
        In order of their offsets, which must follow each other without gaps.
    blocks
        Edges from a part to a part of a higher level; several blocks may join the same two parts.
    attributes
        JSON-serialisable facts that travel with the graph (encoding, options, weight counts).
    pending
        Finds more attributes, when they are first read.

    Raises
    ------
    InputError
        When parts do not follow each other, or a block does not fit its parts or does not rise in level.

    Examples
    --------
    >>> import numpy as np
    >>> from scipy import sparse
    >>> parts = [Part("input", (2,), 0, 0, "input"), Part("fc", (1,), 1, 2, "output")]
    >>> weights = sparse.csr_array(np.array([[0.5], [2.0]], dtype=np.float32))
    >>> graph = MultipartiteGraph(parts, [Block(0, 1, weights, "fc")])
    >>> graph.n_nodes, graph.n_edges, graph.edges()[0].tolist()
    (3, 2, [0, 1])
    """

    def __init__(
        self,
        parts: list[Part],
        blocks: list[Block],
        attributes: Mapping[str, Any] | None = None,
        pending: Callable[[], Mapping[str, Any]] | None = None,
    ) -> None:
        self.parts = tuple(parts)
        self.blocks = tuple(blocks)
        self._attributes = dict(attributes or {})
        self._pending = pending
        offset = 0
        for part in self.parts:
            if part.offset != offset:
                raise InputError(f"part {part.name!r} starts at node {part.offset}; expected {offset}.")
            offset += part.size
        for block in self.blocks:
            source, target = self.parts[block.source], self.parts[block.target]
            if block.matrix.shape != (source.size, target.size):
                raise InputError(
                    f"the block from {source.name!r} to {target.name!r} has shape {block.matrix.shape}; "
                    f"its parts have {source.size} and {counted(target.size, 'node')}."
                )
            if source.level >= target.level:
                raise InputError(f"the block from {source.name!r} to {target.name!r} does not rise in level.")

    def __repr__(self) -> str:
        counts = (len(self.parts), "part"), (self.n_nodes, "node"), (self.n_edges, "edge")
        return f"{type(self).__name__}({', '.join(counted(*pair) for pair in counts)})"

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_attributes": self.attributes, "_pending": None}

    @property
    def attributes(self) -> dict[str, Any]:
        """Facts that travel with the graph: encoding, options, numbers of weights."""
        if self._pending is not None:
            pending, self._pending = self._pending, None
            self._attributes.update(pending())
        return self._attributes

    def annotate(self, facts: Mapping[str, Any]) -> None:
        """Add to the attributes.

        Parameters
        ----------
        facts
            Name -> what can be written as JSON.
        """
        self._attributes = {**self._attributes, **facts}

    @property
    def n_nodes(self) -> int:
        return sum(p.size for p in self.parts)

    @property
    def n_edges(self) -> int:
        return sum(b.matrix.nnz for b in self.blocks)

    def nodes_with_role(self, role: str) -> np.ndarray:
        """Bool array over all nodes: True in the parts of that role.

        Parameters
        ----------
        role
            ``"input"``, ``"hidden"`` or ``"output"``.

        Returns
        -------
        array
            bool, (n_nodes,).
        """
        member = np.zeros(self.n_nodes, dtype=bool)
        for part in self.parts:
            if part.role == role:
                member[part.nodes] = True
        return member

    def edges(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Global node numbers of sources and targets, int32 (E,), and weights, float32 (E,), block by block."""
        self._require_int32()
        source, target = np.empty(self.n_edges, np.int32), np.empty(self.n_edges, np.int32)
        weight = np.empty(self.n_edges, np.float32)
        start = 0
        for block in self.blocks:
            matrix, here = block.matrix, slice(start, start + block.matrix.nnz)
            first = self.parts[block.source].offset
            rows = np.arange(first, first + matrix.shape[0], dtype=np.int32)
            source[here] = np.repeat(rows, np.diff(matrix.indptr))
            np.add(matrix.indices, self.parts[block.target].offset, out=target[here], casting="unsafe")
            weight[here] = matrix.data
            start = here.stop
        return source, target, weight

    def adjacency(self) -> sparse.csr_array:
        """Weighted adjacency (N, N), ``A[source, target] = weight``; parallel edges are merged, weights added."""
        source, target, weight = self.edges()
        matrix = sparse.csr_array((weight, (source, target)), shape=(self.n_nodes, self.n_nodes))
        return matrix

    to_scipy = adjacency

    def to_igraph(self) -> igraph.Graph:
        """Directed `igraph.Graph` whose edge i is edge i of `edges()`.

        Weights stay in the arrays of `edges()`: as igraph attributes they would be Python objects.
        Vertex attribute ``part`` holds the index of the part.
        """
        import igraph

        source, target, _ = self.edges()
        graph = igraph.Graph(n=self.n_nodes, directed=True)
        chunk = 1 << 20
        for start in range(0, len(source), chunk):
            piece = slice(start, start + chunk)
            graph.add_edges(zip(source[piece].tolist(), target[piece].tolist(), strict=True))
        graph.vs["part"] = np.repeat(np.arange(len(self.parts)), [p.size for p in self.parts]).tolist()
        return graph

    def to_networkx(self) -> networkx.MultiDiGraph:
        """Directed networkx multigraph, edge attribute ``weight``, node attribute ``part``; for small graphs."""
        import networkx

        graph = networkx.MultiDiGraph()
        for part in self.parts:
            graph.add_nodes_from(range(part.nodes.start, part.nodes.stop), part=part.name)
        graph.add_weighted_edges_from(zip(*(array.tolist() for array in self.edges()), strict=True))
        return graph

    def save(self, path: str | Path) -> Path:
        """Write the graph as one safetensors file (arrays, with parts and attributes as JSON metadata).

        Parameters
        ----------
        path
            The file to write or replace.

        Returns
        -------
        Path
            The file.

        Raises
        ------
        InputError
            When the file cannot be written, or the graph is none that `load` would read.
        """
        return write_graph(path, type(self).__name__, self.parts, self.blocks, self.attributes)

    @classmethod
    def load(cls, path: str | Path) -> MultipartiteGraph:
        """Read a graph written by `save`.

        Parameters
        ----------
        path
            The file.

        Returns
        -------
        MultipartiteGraph
            A `BipartiteGraph` where one was written.

        Raises
        ------
        InputError
            When the file is none of a graph, or is damaged: an index outside its part, an edge twice, a weight that is
            no number.
        """
        kind, parts, blocks, attributes = read_graph(path)
        of = BipartiteGraph if kind == "BipartiteGraph" else MultipartiteGraph
        graph = of.__new__(of)
        MultipartiteGraph.__init__(graph, parts, blocks, attributes)
        return graph

    def degrees(self, direction: str = "all") -> np.ndarray:
        """Number of edges at every node.

        Parameters
        ----------
        direction
            ``"all"``, or only those that come ``"in"`` or go ``"out"``.

        Returns
        -------
        array
            int64, (n_nodes,), in the order of the parts.

        Examples
        --------
        >>> graph = BipartiteGraph(sparse.csr_array(np.eye(2, 3, dtype=np.float32)))
        >>> graph.degrees().tolist(), graph.degrees("in").tolist()
        ([1, 1, 1, 1, 0], [0, 0, 1, 1, 0])
        """
        one_of("direction", direction, ("all", "in", "out"))
        degree = np.zeros(self.n_nodes, dtype=np.int64)
        for block in self.blocks:
            source, target = self.parts[block.source], self.parts[block.target]
            if direction != "in":
                degree[source.nodes] += np.diff(block.matrix.indptr)
            if direction != "out":
                degree[target.nodes] += np.bincount(block.matrix.indices, minlength=target.size)
        return degree

    def draw(self, drawer: str = "matplotlib", **options: Any) -> Any:
        """Draw the graph.

        Parameters
        ----------
        drawer
            One of `topo.encoding.DRAWERS`; ``"matplotlib"`` is `topo.plots.draw_graph`, which returns the Axes.
        options
            Those of the drawer, such as `title` and `ax`.

        Returns
        -------
        object
            What the drawer returns.
        """
        return DRAWERS[drawer](self, **options)

    def _require_int32(self) -> None:
        if max(self.n_nodes, self.n_edges) > INDEX_LIMIT:
            raise InputError(
                f"the graph has {self.n_nodes:,} nodes and {self.n_edges:,} edges, more than 32-bit indices hold; "
                "work on its blocks one at a time."
            )


class BipartiteGraph(MultipartiteGraph):
    """A graph of two parts and one block: the encoding of a single layer.

    Parameters
    ----------
    matrix
        CSR (left size, right size), weights as in `Block`.
    name
        The layer's.
    left_shape, right_shape
        Shapes of the two parts; one axis when left out.
    attributes
        JSON-serialisable facts about the layer.
    """

    def __init__(
        self,
        matrix: sparse.csr_array,
        name: str = "",
        left_shape: tuple[int, ...] | None = None,
        right_shape: tuple[int, ...] | None = None,
        attributes: Mapping[str, Any] | None = None,
    ) -> None:
        left = Part("left", left_shape or (matrix.shape[0],), 0, 0, "input")
        right = Part("right", right_shape or (matrix.shape[1],), 1, left.size, "output")
        super().__init__([left, right], [Block(0, 1, matrix, name)], attributes)

    @property
    def left(self) -> Part:
        return self.parts[0]

    @property
    def right(self) -> Part:
        return self.parts[1]

    @property
    def matrix(self) -> sparse.csr_array:
        return self.blocks[0].matrix


class LayerGraphs(Mapping[str, BipartiteGraph]):
    """The bipartite graphs of a network's layers, by layer name, in network order.

    `attributes` holds JSON-serialisable facts about the whole network, as in `MultipartiteGraph`.

    Parameters
    ----------
    graphs
        Layer name -> graph, in network order.
    attributes
        JSON-serialisable facts about the network.
    """

    def __init__(self, graphs: Mapping[str, BipartiteGraph], attributes: Mapping[str, Any] | None = None) -> None:
        self._graphs = dict(graphs)
        self.attributes = dict(attributes or {})
        for name, graph in self._graphs.items():
            if not isinstance(graph, BipartiteGraph):
                raise InputError(f"layer {name!r} is a {type(graph).__name__}; every layer must be a BipartiteGraph.")

    def annotate(self, facts: Mapping[str, Any]) -> None:
        """Add to the attributes.

        Parameters
        ----------
        facts
            Name -> what can be written as JSON.
        """
        self.attributes = {**self.attributes, **facts}

    def __getitem__(self, name: str) -> BipartiteGraph:
        return self._graphs[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._graphs)

    def __len__(self) -> int:
        return len(self._graphs)

    def __repr__(self) -> str:
        counts = (len(self), "layer"), (self.n_nodes, "node"), (self.n_edges, "edge")
        return f"LayerGraphs({', '.join(counted(*pair) for pair in counts)})"

    @property
    def n_nodes(self) -> int:
        """Nodes of all layers; what one layer writes and the next one reads counts in both."""
        return sum(graph.n_nodes for graph in self.values())

    @property
    def n_edges(self) -> int:
        """Edges of all layers."""
        return sum(graph.n_edges for graph in self.values())

    def save(self, folder: str | Path) -> Path:
        """Write one file a layer and an index into `folder`, which is made if need be.

        Parameters
        ----------
        folder
            Where to write.

        Returns
        -------
        Path
            The folder.
        """
        return write_layers(folder, self, self.attributes)

    @classmethod
    def load(cls, folder: str | Path) -> LayerGraphs:
        """Read what `save` wrote.

        Parameters
        ----------
        folder
            What `save` has written.

        Returns
        -------
        LayerGraphs
            In the order of the layers.

        Raises
        ------
        InputError
            When `folder` holds no layer graphs, or a file of them is damaged.
        """
        files, attributes = read_layers(folder)
        graphs: dict[str, BipartiteGraph] = {}
        for name, file in files.items():
            graph = BipartiteGraph.load(file)
            if not isinstance(graph, BipartiteGraph):
                raise InputError(f"{file} is not the graph of a layer.")
            graphs[name] = graph
        return cls(graphs, attributes)
