"""Local metrics: nodes that end or begin nowhere, and the edges that could go with them."""

from __future__ import annotations

import numpy as np

from .graph_view import GraphView
from .registry import Undefined, metric


def _sinks(view: GraphView) -> np.ndarray:
    if not view.outputs.any():
        raise Undefined("no part has the role 'output', so a node that ends nowhere cannot be told from an output")
    return (view.out_degree == 0) & (view.in_degree > 0) & ~view.outputs


def _sources(view: GraphView) -> np.ndarray:
    if not view.inputs.any():
        raise Undefined("no part has the role 'input', so a node that begins nowhere cannot be told from an input")
    return (view.in_degree == 0) & (view.out_degree > 0) & ~view.inputs


@metric(
    "sink_nodes",
    category="local",
    per="nodes",
    formula=r"|S|, \qquad S = \{v \notin O : d^+_v = 0 < d^-_v\}",
    bounds=(0, "N"),
    cost="O(N + E)",
    computed_by="arrays",
)
def sink_nodes(view: GraphView) -> float:
    """Nodes that edges enter and none leaves, outside the output parts."""
    return int(_sinks(view).sum())


@metric(
    "source_nodes",
    category="local",
    per="nodes",
    formula=r"|Q|, \qquad Q = \{v \notin I : d^-_v = 0 < d^+_v\}",
    bounds=(0, "N"),
    cost="O(N + E)",
    computed_by="arrays",
)
def source_nodes(view: GraphView) -> float:
    """Nodes that edges leave and none enters, outside the input parts."""
    return int(_sources(view).sum())


@metric(
    "disconnected_nodes",
    category="local",
    per="nodes",
    formula=r"|\{v : d_v = 0\}|",
    bounds=(0, "N"),
    cost="O(N + E)",
    computed_by="arrays",
)
def disconnected_nodes(view: GraphView) -> float:
    """Nodes without any edge."""
    return int((view.degree == 0).sum())


@metric(
    "removable_out",
    category="local",
    per="edges",
    formula=r"\sum_{v \in S} d^-_v, \qquad S = \{v \notin O : d^+_v = 0 < d^-_v\}",
    bounds=(0, "E"),
    cost="O(N + E)",
    computed_by="arrays",
)
def removable_out(view: GraphView) -> float:
    """Edges into sink nodes: what they carry goes nowhere."""
    return int(view.in_degree[_sinks(view)].sum())


@metric(
    "removable_in",
    category="local",
    per="edges",
    formula=r"\sum_{v \in Q} d^+_v, \qquad Q = \{v \notin I : d^-_v = 0 < d^+_v\}",
    bounds=(0, "E"),
    cost="O(N + E)",
    computed_by="arrays",
)
def removable_in(view: GraphView) -> float:
    """Edges out of source nodes: they carry nothing of the input."""
    return int(view.out_degree[_sources(view)].sum())
