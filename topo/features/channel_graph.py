"""The graph of channels, joined where any of their elements are: clusters, distances, modules, the narrowest place."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse
from scipy.sparse import csgraph

from ..encoding.parts import Part
from .graph_view import GraphView
from .registry import Undefined, metric

if TYPE_CHECKING:
    import igraph

__all__ = ["channel_edges", "channel_of"]


def channel_of(part: Part) -> np.ndarray:
    """The channel of each node of a part: its place along the first axis of the tensor.

    Parameters
    ----------
    part
        A part.

    Returns
    -------
    array
        int64, (size,).

    Examples
    --------
    >>> channel_of(Part("image", (2, 1, 3), 0, 0)).tolist()
    [0, 0, 0, 1, 1, 1]
    """
    channels = part.shape[0] if part.shape else 1
    return np.repeat(np.arange(channels), part.size // max(channels, 1))


def channel_edges(view: GraphView) -> tuple[int, np.ndarray]:
    """The number of channels of all parts, and the pairs of channels that an edge joins.

    Parameters
    ----------
    view
        A graph.

    Returns
    -------
    tuple
        The number, and int64 (edges, 2): from, to, in ascending order, each once.
    """
    channels, offsets, count = [], [], 0
    for part in view.parts:
        channels.append(channel_of(part))
        offsets.append(count)
        count += part.shape[0] if part.shape else 1
    pairs = [np.zeros((0, 2), np.int64)]
    for (source, target), matrix in view.blocks.items():
        rows = np.repeat(channels[source], np.diff(matrix.indptr)) + offsets[source]
        columns = channels[target][matrix.indices] + offsets[target]
        joined = np.unique(rows * count + columns)
        pairs.append(np.stack([joined // count, joined % count], axis=1))
    every = np.concatenate(pairs)
    return count, every[np.lexsort(every.T[::-1])]


@metric(
    "channel_clustering",
    category="channels",
    columns=("channel_clustering", "channel_square_clustering"),
    encodings="network",
    formula={
        "channel_clustering": r"\frac{1}{C} \sum_c \frac{2 t_c}{k_c (k_c - 1)}, \qquad "
        r"t_c \text{ triangles at channel } c, \; k_c \text{ neighbours}",
        "channel_square_clustering": r"\frac{4 \cdot \text{squares}}{\text{walks over four channels}}",
    },
    bounds=(0, 1),
    cost="O(sum of squared degrees of channels)",
    computed_by="igraph",
)
def channel_clustering(view: GraphView) -> dict[str, float | Undefined]:
    """Clustering of the channel graph, direction ignored: by triangles, and by squares.

    By triangles, the mean over channels of the share of pairs of neighbours that are joined (Watts & Strogatz, *Nature*
    393, 1998); You, Leskovec, He, Xie, *Graph structure of neural networks*, ICML 2020, relate it to accuracy. Layers
    in a row make none, so by squares too: the share of the walks over four channels that a fourth edge closes (Robins &
    Alexander, *Computational & Mathematical Organization Theory* 10, 2004).
    """
    graph = view.shared(_graph)
    neighbours = view.shared(_neighbours)
    degree = np.diff(neighbours.indptr)
    common = sparse.triu(neighbours @ neighbours, k=1).tocsr()
    squares = float((common.data * (common.data - 1) / 2).sum()) / 2
    triangles = float(neighbours.multiply(neighbours @ neighbours).sum()) / 6
    _, ends = view.shared(channel_edges)
    walks = float(((degree[ends[:, 0]] - 1) * (degree[ends[:, 1]] - 1)).sum()) - 3 * triangles
    return {
        "channel_clustering": graph.transitivity_avglocal_undirected(mode="zero"),
        "channel_square_clustering": 4 * squares / walks if walks else Undefined("no walk passes four channels"),
    }


@metric(
    "channel_path_length",
    category="channels",
    encodings="network",
    formula=r"\operatorname{mean}_{\{a, b\} \text{ connected}} \operatorname{dist}(a, b)",
    bounds=(1, "inf"),
    cost="O(C F), C channels and F edges between them",
    computed_by="igraph",
)
def channel_path_length(view: GraphView) -> float:
    """Mean number of edges between two channels that are connected, direction ignored (You et al. 2020)."""
    return view.shared(_graph).average_path_length(directed=False, unconn=True)


@metric(
    "channel_modularity",
    category="channels",
    encodings="network",
    formula=r"\frac{1}{2F} \sum_{a, b} \Big( [a \sim b] - \frac{k_a k_b}{2F} \Big) [m_a = m_b], \qquad "
    r"m \text{ the modules}",
    bounds=(-0.5, 1),
    cost="O(F h log C), C channels, F edges between them, merges h deep",
    computed_by="igraph",
)
def channel_modularity(view: GraphView) -> float:
    """Modularity of the channel graph, in the modules that merging greedily finds; direction ignored.

    Clauset, Newman, Moore, *Finding community structure in very large networks*, Physical Review E 70 (2004).
    """
    return view.shared(_graph).community_fastgreedy().as_clustering().modularity


@metric(
    "narrowest_channels",
    category="channels",
    encodings="network",
    formula=r"\min \{|X| : X \text{ hidden channels, every path from } I \text{ to } O \text{ meets } X\}",
    bounds=(0, "N"),
    cost="O(C^2 F) at worst (Dinic), C channels and F edges between them",
    computed_by="arrays",
)
def narrowest_channels(view: GraphView) -> float:
    """Hidden channels without which nothing of the input reaches the output, the fewest; 0 where nothing does anyway.

    The minimum vertex cut of the channel graph, by Menger's theorem as many as there are paths that share no hidden
    channel: the effective width of the network.
    """
    if not (view.inputs.any() and view.outputs.any()):
        raise Undefined("paths need parts of the roles input and output")
    count, edges = view.shared(channel_edges)
    roles = np.concatenate([np.repeat(part.role, part.shape[0] if part.shape else 1) for part in view.parts])
    into, out = roles == "input", roles == "output"
    if (into[edges[:, 0]] & out[edges[:, 1]]).any():
        raise Undefined("an edge joins the input to the output directly")
    # A channel is two nodes, in and out, with room for one path between them; the ends have room for all.
    plenty = count + 1
    channels = np.arange(count)
    source, sink = 2 * count, 2 * count + 1
    rows = np.concatenate([channels, edges[:, 0] + count, np.full(into.sum(), source), channels[out] + count])
    columns = np.concatenate([channels + count, edges[:, 1], channels[into], np.full(out.sum(), sink)])
    room = np.full(len(rows), plenty, np.int32)
    room[:count][~(into | out)] = 1
    network = sparse.csr_array((room, (rows, columns)), shape=(2 * count + 2,) * 2)
    return int(csgraph.maximum_flow(network, source, sink).flow_value)


def _neighbours(view: GraphView) -> sparse.csr_array:
    """int64 CSR of the channel graph, symmetric, of ones."""
    count, edges = view.shared(channel_edges)
    ends = np.concatenate([edges, edges[:, ::-1]]).T
    return sparse.csr_array((np.ones(ends.shape[1], np.int64), (ends[0], ends[1])), shape=(count, count))


def _graph(view: GraphView) -> igraph.Graph:
    count, edges = view.shared(channel_edges)
    if not len(edges):
        raise Undefined("the graph has no edge")
    import igraph  # here, for it loads matplotlib

    return igraph.Graph(n=count, edges=edges)
