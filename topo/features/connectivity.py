"""Global metrics: what falls apart when one edge or one node goes."""

from __future__ import annotations

from .graph_view import GraphView
from .registry import metric


@metric(
    "cut_edges",
    category="global",
    per="edges",
    formula=r"|\{e : c(G - e) > c(G)\}|",
    bounds=(0, "min(E, N - 1)"),
    cost="O(N + E)",
    computed_by="kernel, igraph",
)
def cut_edges(view: GraphView) -> float:
    """Bridges: edges whose removal disconnects their component, direction ignored."""
    return view.connectivity.cut_edges


@metric(
    "cut_nodes",
    category="global",
    per="nodes",
    formula=r"|\{v : c(G - v) > c(G)\}|",
    bounds=(0, "max(N - 2, 0)"),
    cost="O(N + E)",
    computed_by="kernel, igraph",
)
def cut_nodes(view: GraphView) -> float:
    """Articulation points: nodes whose removal disconnects their component, direction ignored."""
    return view.connectivity.cut_nodes


@metric(
    "connected_components",
    category="global",
    formula="c(G)",
    bounds=("max(N - E, 1)", "N"),
    cost="O(N + E)",
    computed_by="kernel, igraph",
)
def connected_components(view: GraphView) -> float:
    """Number of connected components, direction ignored; every isolated node is one."""
    return view.connectivity.n_components


@metric(
    "mean_component_size",
    category="global",
    per="nodes",
    formula=r"\frac{N}{c(G)}",
    bounds=(1, "N"),
    cost="O(N + E)",
    computed_by="kernel, igraph",
)
def mean_component_size(view: GraphView) -> float:
    """Nodes per connected component."""
    return view.n_nodes / view.connectivity.n_components
