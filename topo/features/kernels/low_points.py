"""Cut edges, cut nodes, components and a 2-colouring in one depth-first search by low-points."""

from __future__ import annotations

import numpy as np

from .compiler import njit

__all__ = ["low_points"]


@njit
def low_points(indptr: np.ndarray, indices: np.ndarray) -> tuple[int, np.ndarray, np.ndarray, np.ndarray, int, int]:
    """Components, colours and cuts of an undirected graph.

    The low-point of a node is the earliest node that its subtree of the search reaches by one edge outside the tree;
    a tree edge is a cut edge when the low-point below it is not before its lower end, and the upper end is a cut node
    when it is not before the upper end. Tarjan, *Depth-first search and linear graph algorithms*, SIAM J. Computing 1
    (1972), and *A note on finding the bridges of a graph*, Information Processing Letters 2 (1974).

    Parameters
    ----------
    indptr, indices
        Symmetric CSR pattern without loops and repeated entries.

    Returns
    -------
    tuple
        Number of components; each node's component, int32, numbered by their first nodes; each node's colour, bool,
        by the parity of its depth; for each component, whether it has an odd cycle, bool; the number of cut edges; the
        number of cut nodes.
    """
    n_nodes = len(indptr) - 1
    label = np.full(n_nodes, -1, np.int32)
    colour = np.zeros(n_nodes, np.bool_)
    odd = np.zeros(n_nodes, np.bool_)
    time = np.empty(n_nodes, np.int32)
    low = np.empty(n_nodes, np.int32)
    cuts = np.zeros(n_nodes, np.bool_)
    next_edge = indptr[:-1].copy()
    path = np.empty(n_nodes + 1, np.int32)
    components = cut_edges = clock = 0
    for root in range(n_nodes):
        if label[root] >= 0:
            continue
        label[root] = components
        time[root] = low[root] = clock
        clock += 1
        children = 0
        path[0] = root
        depth = 0
        while depth >= 0:
            node = path[depth]
            edge = next_edge[node]
            if edge < indptr[node + 1]:
                next_edge[node] = edge + 1
                other = indices[edge]
                if label[other] < 0:
                    label[other] = components
                    colour[other] = not colour[node]
                    time[other] = low[other] = clock
                    clock += 1
                    depth += 1
                    path[depth] = other
                elif depth == 0 or other != path[depth - 1]:
                    low[node] = min(low[node], time[other])
                    if colour[other] == colour[node]:
                        odd[components] = True
                continue
            depth -= 1
            if depth < 0:
                break
            above = path[depth]
            low[above] = min(low[above], low[node])
            if low[node] > time[above]:
                cut_edges += 1
            if above == root:
                children += 1
            elif low[node] >= time[above]:
                cuts[above] = True
        cuts[root] = children > 1
        components += 1
    return components, label, colour, odd[:components].copy(), cut_edges, cuts.sum()
