"""The effective width of a layer: how many signals pass it side by side."""

from __future__ import annotations

import numpy as np
from scipy import sparse
from scipy.sparse import csgraph

from .graph_view import GraphView
from .registry import Undefined, metric


@metric(
    "matching",
    category="width",
    columns=("matching", "matching_share"),
    encodings="layers",
    formula={
        "matching": r"\mu = \max \{|M| : M \subseteq E, \text{ no two edges of } M \text{ share an end}\}",
        "matching_share": r"\frac{\mu}{\min(|L|, |R|)}",
    },
    bounds={"matching": (0, "min(E, N / 2)"), "matching_share": (0, 1)},
    cost="O(E sqrt(N))",
    computed_by="arrays",
)
def matching(view: GraphView) -> dict[str, float | Undefined]:
    """The most edges of a layer of which no two share an end, and their share of the smaller side.

    It is the rank that the layer's matrix has for almost all weights, and by Koenig's theorem the fewest nodes whose
    removal leaves no edge: the minimum cut between the layer's sides.
    """
    if not view.is_bipartite:
        raise Undefined("it is of layers; encode with encoding='rolled', 'rolled-channel' or 'unrolled'")
    left, right = view.parts[0].size, view.parts[1].size
    most = 0
    for matrix in view.blocks.values():
        pattern = sparse.csr_array((np.ones(matrix.nnz, np.int8), matrix.indices, matrix.indptr), matrix.shape)
        most = int((csgraph.maximum_bipartite_matching(pattern, perm_type="column") >= 0).sum())
    least = min(left, right)
    return {"matching": most, "matching_share": most / least if least else Undefined("one side has no node")}
