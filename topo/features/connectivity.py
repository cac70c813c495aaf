"""Global metrics: what falls apart when one edge or one node goes."""

from __future__ import annotations

from .graph_view import GraphView
from .registry import metric


@metric("cut_edges", category="global", per="edges")
def cut_edges(view: GraphView) -> float:
    """Bridges: edges whose removal disconnects their component, direction ignored."""
    return view.connectivity.cut_edges


@metric("cut_nodes", category="global", per="nodes")
def cut_nodes(view: GraphView) -> float:
    """Articulation points: nodes whose removal disconnects their component, direction ignored."""
    return view.connectivity.cut_nodes


@metric("connected_components", category="global")
def connected_components(view: GraphView) -> float:
    """Number of connected components, direction ignored; every isolated node is one."""
    return view.connectivity.n_components


@metric("mean_component_size", category="global", per="nodes")
def mean_component_size(view: GraphView) -> float:
    """Nodes per connected component."""
    return view.n_nodes / view.connectivity.n_components
