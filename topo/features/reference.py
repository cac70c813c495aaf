"""The plain route: every metric by igraph and dense algebra on the whole graph, to check the fast route with.

It builds Python objects and dense matrices, so it is for graphs of some thousands of edges.
"""

from __future__ import annotations

from math import nan, sqrt

import igraph
import numpy as np

from ..encoding.graph import BipartiteGraph, MultipartiteGraph

__all__ = ["measure_plainly"]


def measure_plainly(graph: MultipartiteGraph) -> dict[str, float]:
    """Raw metrics of a graph by column name; NaN where undefined.

    Sparsities of weights are left out: they are counts that the encoder hands over.

    Parameters
    ----------
    graph
        Some thousands of edges at most.

    Returns
    -------
    dict
        Column -> value; the Ramanujan metrics only for bipartite graphs.

    Examples
    --------
    >>> import numpy as np
    >>> from scipy import sparse
    >>> values = measure_plainly(BipartiteGraph(sparse.csr_array(np.ones((2, 3), dtype=np.float32))))
    >>> values["motifs"], values["k_core"], values["n_paths"]
    (5, 2.0, 6)
    """
    directed = graph.to_igraph()
    directed.es["weight"] = graph.edges()[2].astype(float).tolist()
    directed.simplify(combine_edges="sum")
    plain = directed.as_undirected(mode="each")
    inputs, outputs = graph.nodes_with_role("input"), graph.nodes_with_role("output")
    into, out = np.array(directed.indegree()), np.array(directed.outdegree())
    sinks = (out == 0) & (into > 0) & ~outputs
    sources = (into == 0) & (out > 0) & ~inputs
    components = plain.connected_components()
    degree = np.array(plain.degree())
    values = {
        "nodes": plain.vcount(),
        "edges": plain.ecount(),
        "density": _density(graph, directed),
        "mean_degree": degree.mean(),
        "std_degree": degree.std(),
        "min_degree": degree.min(),
        "max_degree": degree.max(),
        "max_in_degree": into.max(),
        "max_out_degree": out.max(),
        "assortativity": plain.assortativity_degree(directed=False) if plain.ecount() else nan,
        "strong_components": len(directed.connected_components(mode="strong")),
        "sink_nodes": sinks.sum() if outputs.any() else nan,
        "source_nodes": sources.sum() if inputs.any() else nan,
        "disconnected_nodes": (degree == 0).sum(),
        "removable_out": into[sinks].sum() if outputs.any() else nan,
        "removable_in": out[sources].sum() if inputs.any() else nan,
        "one_hop": np.mean(directed.neighborhood_size(order=1, mode="out")),
        "two_hop": np.mean(directed.neighborhood_size(order=2, mode="out")),
        "motifs": int(np.nansum(plain.motifs_randesu(size=4))),
        "strength": np.mean(directed.strength(weights="weight", mode="all")) if plain.ecount() else 0.0,
        "k_core": np.mean(plain.coreness()),
        "cut_edges": len(plain.bridges()),
        "cut_nodes": len(plain.articulation_points()),
        "connected_components": len(components),
        "mean_component_size": np.mean(components.sizes()),
    }
    values |= _spectra(plain) | _paths(directed, inputs, outputs)
    if isinstance(graph, BipartiteGraph):
        values |= _ramanujan(plain, graph.left.size)
    return {name: value if isinstance(value, int) else float(value) for name, value in values.items()}


def _density(graph: MultipartiteGraph, directed: igraph.Graph) -> float:
    if isinstance(graph, BipartiteGraph):
        return directed.ecount() / (graph.left.size * graph.right.size)
    return directed.density()


def _adjacency(plain: igraph.Graph, weighted: bool) -> np.ndarray:
    matrix = np.zeros((plain.vcount(), plain.vcount()))
    for edge in plain.es:
        matrix[edge.source, edge.target] = matrix[edge.target, edge.source] = edge["weight"] if weighted else 1.0
    return matrix


def _magnitudes(matrix: np.ndarray) -> np.ndarray:
    return np.sort(np.abs(np.linalg.eigvalsh(matrix)))[::-1]


def _spectra(plain: igraph.Graph) -> dict[str, float]:
    if not plain.ecount():
        return {"spectral_gap": nan, "spectral_radius": nan}
    matrix = _adjacency(plain, weighted=True)
    magnitudes = _magnitudes(matrix)
    laplacian = np.diag(matrix.sum(axis=0)) - matrix
    gap = magnitudes[0] - magnitudes[2] if len(magnitudes) > 2 else nan
    return {"spectral_gap": gap, "spectral_radius": np.linalg.eigvalsh(laplacian)[-1]}


def _paths(directed: igraph.Graph, inputs: np.ndarray, outputs: np.ndarray) -> dict[str, float]:
    if not inputs.any() or not outputs.any():
        return {"n_paths": nan, "log10_paths": nan, "effective_edges": nan}
    count = [int(is_input) for is_input in inputs]
    reached, reaching = inputs.copy(), outputs.copy()
    order = directed.topological_sorting()
    for node in order:
        for before in directed.predecessors(node):
            count[node] += count[before]
            reached[node] |= reached[before]
    for node in reversed(order):
        reaching[node] |= any(reaching[after] for after in directed.successors(node))
    total = sum(n for n, is_output in zip(count, outputs, strict=True) if is_output)
    effective = sum(bool(reached[edge.source] and reaching[edge.target]) for edge in directed.es)
    return {
        "n_paths": total,
        "log10_paths": np.log10(float(total)) if total else nan,
        "effective_edges": effective,
    }


def _ramanujan(plain: igraph.Graph, left_size: int) -> dict[str, float]:
    degree = plain.degree()
    left = [node for node in range(left_size) if degree[node]]
    values = dict.fromkeys(("delta_r", "delta_s", "delta_s_relative", "imdb", "iwsg"), nan)
    right = [node for node in range(left_size, plain.vcount()) if degree[node]]
    if len(left) < 2 or len(right) < 2:
        return values
    bound, _, _, magnitudes = _expander(plain, left, right)
    if bound > 0:
        values["delta_r"] = (bound - magnitudes[2]) / bound
    if magnitudes[0] > 1 + 1e-9:
        ideal = 2 * sqrt(magnitudes[0] - 1)
        values["delta_s"] = ideal - magnitudes[2]
        values["delta_s_relative"] = values["delta_s"] / ideal
    expanders = []
    for d in {degree[node] for node in left if degree[node] >= 3}:
        chosen = [node for node in left if degree[node] == d]
        reached = sorted(set().union(*(plain.neighbors(node) for node in chosen)))
        if len(chosen) >= 2 and len(reached) >= 2:
            bound, mean_right, gap, magnitudes = _expander(plain, chosen, reached)
            if mean_right >= 3:
                expanders.append(((bound - magnitudes[2]) / bound, gap))
    if expanders:
        values["imdb"], values["iwsg"] = np.mean(expanders, axis=0)
    return values


def _expander(plain: igraph.Graph, left: list[int], right: list[int]) -> tuple[float, float, float, np.ndarray]:
    part = plain.induced_subgraph(left + right)
    mean_left, mean_right = part.ecount() / len(left), part.ecount() / len(right)
    weighted = _magnitudes(_adjacency(part, weighted=True))
    bound = sqrt(mean_left - 1) + sqrt(mean_right - 1)
    return bound, mean_right, weighted[0] - weighted[2], _magnitudes(_adjacency(part, weighted=False))
