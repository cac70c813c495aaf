"""Path metrics: how the input reaches the output."""

from __future__ import annotations

from math import gcd, log2, log10, prod

import numpy as np

from ..encoding.graph import MultipartiteGraph
from .graph_view import GraphView
from .registry import Undefined, metric

__all__ = ["count_paths"]


def count_paths(graph: MultipartiteGraph | GraphView) -> int:
    """Exact number of directed paths from input nodes to output nodes.

    The counts are propagated level by level in 64-bit integers modulo several numbers without common
    factors, as many as a bound on the result asks for, and put together by the Chinese remainder theorem.

    Parameters
    ----------
    graph
        A graph, or a view of one.

    Returns
    -------
    int
        A Python integer of any size.

    Examples
    --------
    >>> import numpy as np
    >>> from scipy import sparse
    >>> from topo.encoding.graph import BipartiteGraph
    >>> count_paths(BipartiteGraph(sparse.csr_array(np.ones((2, 3), dtype=np.float32))))
    6
    """
    view = graph if isinstance(graph, GraphView) else GraphView(graph)
    moduli = _coprime_moduli(view.most_paths)
    remainders = view.paths_modulo(moduli)
    whole = prod(int(m) for m in moduli)
    total = 0
    for modulus, remainder in zip(moduli.tolist(), remainders.tolist(), strict=True):
        others = whole // modulus
        total += remainder * others * pow(others, -1, modulus)
    return total % whole


@metric(
    "paths",
    category="paths",
    columns=("n_paths", "log10_paths"),
    formula={
        "n_paths": r"P = \mathbf{1}_I^\top \sum_{k \ge 1} B^k \, \mathbf{1}_O, \qquad "
        r"B \text{ the directed adjacency without weights}",
        "log10_paths": r"\log_{10} P",
    },
    bounds=(0, "inf"),
    cost="O(m (N + E)), m about log2(paths) / 31",
    computed_by="kernel",
)
def paths(view: GraphView) -> dict[str, float | Undefined]:
    """Number of directed paths from input to output nodes, and its decimal logarithm.

    ``n_paths`` is exact below 2**53 and rounded to float64 above; `count_paths` gives the exact integer.
    """
    _require_ends(view)
    total = count_paths(view)
    return {
        "n_paths": float(total) if total < 2**1023 else Undefined("more paths than a float64 holds; see log10_paths"),
        "log10_paths": log10(total) if total else Undefined("no path leads from the input to the output"),
    }


@metric(
    "effective_edges",
    category="paths",
    per="edges",
    formula=r"|\{(u, v) : u \text{ reached from } I, \; O \text{ reached from } v\}|",
    bounds=(0, "E"),
    cost="O(N + E)",
    computed_by="kernel",
)
def effective_edges(view: GraphView) -> float:
    """Edges on some path from an input node to an output node."""
    _require_ends(view)
    return view.edges_on_paths


def _require_ends(view: GraphView) -> None:
    for role, members in (("input", view.inputs), ("output", view.outputs)):
        if not members.any():
            raise Undefined(f"no part has the role {role!r}")


def _coprime_moduli(bound: int) -> np.ndarray:
    """int64 numbers below 2**31, no two with a common factor, whose product exceeds `bound`."""
    moduli = [2**31 - 1]
    candidate = moduli[0]
    while sum(map(log2, moduli)) <= bound.bit_length() + 1:
        candidate -= 2
        if all(gcd(candidate, m) == 1 for m in moduli):
            moduli.append(candidate)
    return np.array(moduli, dtype=np.int64)
