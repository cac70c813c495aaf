"""Nodes and channels that take part in what the network computes, and how evenly paths use them."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from .channel_graph import channel_of
from .graph_view import GraphView
from .path_sums import Edges, path_sums
from .registry import Undefined, metric


@metric(
    "effective_nodes",
    category="effective",
    per="nodes",
    encodings="network",
    formula=r"|\{v : f_v b_v > 0\}|",
    bounds=(0, "N"),
    cost="O(N + E)",
    computed_by="arrays",
)
def effective_nodes(view: GraphView) -> float:
    """Nodes on some path from an input node to an output node.

    Pham, Ta, Liu, Xiang, Le, Wen, Tran-Thanh, *Towards data-agnostic pruning at initialization: what makes a good
    sparse mask?*, NeurIPS 2023.
    """
    return int(sum((share > 0).sum() for share in view.shared(_flow)))


@metric(
    "effective_channels",
    category="effective",
    columns=("effective_channels", "effective_channels_share", "effective_channels_least_share"),
    encodings="network",
    formula={
        "effective_channels": r"\sum_p |C_p|, \qquad "
        r"C_p = \{\text{channels of part } p \text{ with } f_v b_v > 0 \text{ somewhere}\}",
        "effective_channels_share": r"\frac{\sum_p |C_p|}{\sum_p n_p}, \qquad n_p \text{ channels in all}",
        "effective_channels_least_share": r"\min_p \frac{|C_p|}{n_p}",
    },
    bounds={
        "effective_channels": (0, "N"),
        "effective_channels_share": (0, 1),
        "effective_channels_least_share": (0, 1),
    },
    cost="O(N + E)",
    computed_by="arrays",
)
def effective_channels(view: GraphView) -> dict[str, float]:
    """Channels with a node on some path from the input to the output: how many, their share, the least of any part.

    The channels of a tensor are the places along its first axis.
    """
    used, total = [], []
    for part, share in zip(view.parts, view.shared(_flow), strict=True):
        channels = channel_of(part)
        total.append(int(channels.max()) + 1)
        used.append(len(np.unique(channels[share > 0])))
    shares = np.array(used) / total
    return {
        "effective_channels": sum(used),
        "effective_channels_share": sum(used) / sum(total),
        "effective_channels_least_share": float(shares.min()),
    }


@metric(
    "path_balance",
    category="effective",
    encodings="network",
    formula=r"\frac{1}{|H|} \sum_{p \in H} \frac{-\sum_{v \in p} s_v \log s_v}{\log |p|}, \qquad "
    r"s_v = \frac{f_v b_v}{\sum_{u \in p} f_u b_u}",
    bounds=(0, 1),
    cost="O(N + E)",
    computed_by="arrays",
)
def path_balance(view: GraphView) -> float:
    """How evenly paths are spread over the nodes of hidden parts: 1 where all nodes of a part are on as many.

    Of each hidden part, the entropy of the shares of paths through its nodes, over that of equal shares of all of
    them (Pielou's evenness); the mean over parts of two nodes and more that a path passes.
    """
    evenness = []
    for part, share in zip(view.parts, view.shared(_flow), strict=True):
        if part.role == "hidden" and part.size > 1 and share.any():
            some = share[share > 0]
            evenness.append(-(some @ np.log(some)) / np.log(part.size))
    if not evenness:
        raise Undefined("no path passes a hidden part of two nodes or more")
    return float(np.mean(evenness))


def _flow(view: GraphView) -> list[np.ndarray]:
    """Of each part, the share of the paths that pass it which go through each of its nodes."""
    if not (view.inputs.any() and view.outputs.any()):
        raise Undefined("paths need parts of the roles input and output")
    ones = [
        Edges(s, t, sparse.csr_array((np.ones(m.nnz), m.indices, m.indptr), m.shape))
        for (s, t), m in view.blocks.items()
    ]
    sums = path_sums(view, ones)
    through = [before * after for (before, _), (after, _) in zip(sums.forward, sums.backward, strict=True)]
    return [paths / paths.sum() if paths.any() else paths for paths in through]
