"""The path kernel of a network with its weights, and what of its tangent kernel is known without data."""

from __future__ import annotations

from math import log10

import numpy as np
from scipy import sparse

from .graph_view import GraphView
from .path_sums import Edges, path_sums
from .registry import Undefined, metric


@metric(
    "path_kernel",
    category="path-kernel",
    columns=("log10_path_kernel_trace", "log10_path_norm", "log10_squared_path_norm"),
    reads_weights=True,
    encodings="network",
    formula={
        "log10_path_kernel_trace": r"\log_{10} \sum_\pi \sum_{e \in \pi} \prod_{e' \in \pi, \, e' \ne e} w_{e'}^2, "
        r"\qquad \pi \text{ paths from } I \text{ to } O",
        "log10_path_norm": r"\log_{10} \sum_\pi \prod_{e \in \pi} w_e",
        "log10_squared_path_norm": r"\log_{10} \sum_\pi \prod_{e \in \pi} w_e^2",
    },
    bounds=("-inf", "inf"),
    cost="O(N + E)",
    computed_by="arrays",
)
def path_kernel(view: GraphView) -> dict[str, float | Undefined]:
    """Trace of the path kernel, and the sums over paths of the absolute and of the squared product of their weights.

    A path from an input to an output carries the product of the weights along it. The path kernel is J J^T, J the
    derivatives of what paths carry with respect to the weights; its trace is the sum over paths and their weights of
    the squared product of the other weights. With paths switched by the data it makes up the tangent kernel of a
    network of ReLUs, and so stands for it where there are no data; the sum of absolute products is what SynFlow
    differentiates. Edges without a weight, such as those of skips, are passed and not counted, unless a layer joins the
    same two nodes, whose edge is then one with the sum as its weight; batch norm counts as linear with slope one.

    Gebhart, Saxena, Schrater, *A unified paths perspective for pruning at initialization*, 2021 (arXiv 2101.10552);
    Neyshabur, Tomioka, Srebro, *Norm-based capacity control in neural networks*, COLT 2015.
    """
    if not (view.inputs.any() and view.outputs.any()):
        raise Undefined("paths need parts of the roles input and output")
    view.blocks  # noqa: B018  (there are none where no edge is built, which it says)
    blocks = sorted(view.graph.blocks, key=lambda block: view.parts[block.target].level)
    absolute = [Edges(b.source, b.target, b.matrix.astype(np.float64)) for b in blocks]
    squared = [Edges(s, t, sparse.csr_array((m.data**2, m.indices, m.indptr), m.shape)) for s, t, m in absolute]
    if not all(np.isfinite(edges.values.data).all() for edges in squared):
        raise Undefined("the weights are not all finite")
    sums = path_sums(view, squared)
    weighted = [edges for edges, block in zip(squared, blocks, strict=True) if block.name]
    return {
        "log10_path_kernel_trace": _decimal(sums.log2_through(weighted)),
        "log10_path_norm": _decimal(path_sums(view, absolute).log2_total(view)),
        "log10_squared_path_norm": _decimal(sums.log2_total(view)),
    }


def _decimal(binary: float) -> float | Undefined:
    return Undefined("no path with a weight other than zero") if binary == -np.inf else binary * log10(2)
