"""Path metrics: how the input reaches the output."""

from __future__ import annotations

from math import gcd, log2, log10, prod

import numpy as np
from scipy import sparse

from ..encoding.graph import MultipartiteGraph
from .graph_view import GraphView
from .kernels import compiler
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
    moduli = _coprime_moduli(_bound(view))
    if compiler.available():
        from .kernels.paths import path_counts

        directed = view.directed
        at_nodes = path_counts(directed.indptr, directed.indices, view.by_level, view.inputs, moduli)
        remainders = at_nodes[view.outputs].sum(axis=0)
    else:
        remainders = _counts_by_products(view, moduli)
    whole = prod(int(m) for m in moduli)
    total = 0
    for modulus, remainder in zip(moduli.tolist(), remainders.tolist(), strict=True):
        others = whole // modulus
        total += remainder * others * pow(others, -1, modulus)
    return total % whole


def _counts_by_products(view: GraphView, moduli: np.ndarray) -> np.ndarray:
    """Paths to all output nodes, block by block in products of sparse matrices, modulo each number."""
    counts = {i: np.zeros((part.size, len(moduli)), np.int64) for i, part in enumerate(view.parts)}
    for i, part in enumerate(view.parts):
        counts[i] += part.role == "input"
    # Blocks come in order of their target's level, so a source is complete before it is read.
    for (source, target), matrix in view.blocks.items():
        ones = sparse.csr_array((np.ones(matrix.nnz, np.int64), matrix.indices, matrix.indptr), shape=matrix.shape)
        counts[target] = (counts[target] + ones.T @ counts[source]) % moduli
    ends = [counts[i] for i, part in enumerate(view.parts) if part.role == "output"]
    return sum((end.sum(axis=0) for end in ends), np.zeros(len(moduli), np.int64))


@metric("paths", category="paths", columns=("n_paths", "log10_paths"))
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


@metric("effective_edges", category="paths", per="edges")
def effective_edges(view: GraphView) -> float:
    """Edges on some path from an input node to an output node."""
    _require_ends(view)
    if compiler.available():
        from .kernels.paths import edges_on_paths

        directed = view.directed
        return edges_on_paths(directed.indptr, directed.indices, view.by_level, view.inputs, view.outputs)
    reached, reaching = view.inputs.copy(), view.outputs.copy()
    for (source, target), matrix in view.blocks.items():
        into = reached[view.parts[target].nodes]
        into[matrix.indices[np.repeat(reached[view.parts[source].nodes], np.diff(matrix.indptr))]] = True
    for (source, target), matrix in reversed(view.blocks.items()):
        reaching[view.parts[source].nodes] |= _useful(matrix, reaching[view.parts[target].nodes]) > 0
    return sum(
        int(_useful(matrix, reaching[view.parts[target].nodes])[reached[view.parts[source].nodes]].sum())
        for (source, target), matrix in view.blocks.items()
    )


def _useful(matrix: sparse.csr_array, wanted: np.ndarray) -> np.ndarray:
    """Per row, the number of entries in wanted columns."""
    before = np.concatenate([[0], np.cumsum(wanted[matrix.indices])])
    return before[matrix.indptr[1:]] - before[matrix.indptr[:-1]]


def _require_ends(view: GraphView) -> None:
    for role, members in (("input", view.inputs), ("output", view.outputs)):
        if not members.any():
            raise Undefined(f"no part has the role {role!r}")


def _bound(view: GraphView) -> int:
    """An upper bound on the number of paths, from each block's largest in-degree."""
    most = [int(part.role == "input") for part in view.parts]
    for (source, target), matrix in view.blocks.items():
        most[target] += most[source] * int(np.bincount(matrix.indices).max())
    return sum(most[i] * part.size for i, part in enumerate(view.parts) if part.role == "output")


def _coprime_moduli(bound: int) -> np.ndarray:
    """int64 numbers below 2**31, no two with a common factor, whose product exceeds `bound`."""
    moduli = [2**31 - 1]
    candidate = moduli[0]
    while sum(map(log2, moduli)) <= bound.bit_length() + 1:
        candidate -= 2
        if all(gcd(candidate, m) == 1 for m in moduli):
            moduli.append(candidate)
    return np.array(moduli, dtype=np.int64)
