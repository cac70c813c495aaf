"""Cut edges, cut nodes, components and a 2-colouring from a breadth-first forest and the low-points of its subtrees."""

from __future__ import annotations

import numpy as np

from .compiler import njit

__all__ = ["low_points"]

LARGE = 64


@njit
def _forest(indptr: np.ndarray, indices: np.ndarray) -> tuple:
    """A breadth-first tree of each component: nodes as they are met, upper nodes (-1 of roots), components, colours."""
    n_nodes = len(indptr) - 1
    order, upper = np.empty(n_nodes, np.int32), np.empty(n_nodes, np.int32)
    label, colour = np.full(n_nodes, -1, np.int32), np.zeros(n_nodes, np.bool_)
    fresh = np.zeros(n_nodes, np.bool_)
    met = components = 0
    for root in range(n_nodes):
        if label[root] >= 0:
            continue
        label[root], upper[root], order[met] = components, -1, root
        start, met = met, met + 1
        while start < met:
            stop = met
            if stop - start > n_nodes // LARGE:
                # In the order of memory: looking through all nodes for those of a large level costs less.
                for place in range(start, stop):
                    fresh[order[place]] = True
                place = start
                for node in range(n_nodes):
                    if fresh[node]:
                        fresh[node] = False
                        order[place] = node
                        place += 1
            for place in range(start, stop):
                node = order[place]
                other_colour = not colour[node]
                for edge in range(indptr[node], indptr[node + 1]):
                    other = indices[edge]
                    if label[other] < 0:
                        label[other], upper[other], order[met] = components, node, other
                        colour[other] = other_colour
                        met += 1
            start = stop
        components += 1
    return order, upper, label, colour, components


@njit
def _root(above: np.ndarray, node: int) -> int:
    """What stands for the set of a node, the way to it halved."""
    while above[node] != node:
        above[node] = above[above[node]]
        node = above[node]
    return node


@njit
def low_points(indptr: np.ndarray, indices: np.ndarray) -> tuple[int, np.ndarray, np.ndarray, np.ndarray, int, int]:
    """Components, colours and cuts of an undirected graph.

    Nodes are numbered so that a subtree has consecutive numbers. A tree edge is a cut edge when no other edge leaves
    the subtree below it. Tree edges are in one block of the graph (and no node cuts them apart) when an edge joins the
    subtrees below them, or leaves the lower subtree and that of the node between them; a node is a cut node when its
    tree edges are in more than one block. Tarjan, Vishkin, *An efficient parallel biconnectivity algorithm*, SIAM J.
    Computing 14 (1985): for any tree, so for one whose search reads memory nearly in order.

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
    order, upper, label, colour, components = _forest(indptr, indices)
    size = np.ones(n_nodes, np.int32)
    for place in range(n_nodes - 1, -1, -1):
        node = order[place]
        if upper[node] >= 0:
            size[upper[node]] += size[node]
    number, free = np.empty(n_nodes, np.int32), np.empty(n_nodes, np.int32)
    start = 0
    for node in order:
        if upper[node] < 0:
            number[node] = start
            start += size[node]
        else:
            number[node] = free[upper[node]]
            free[upper[node]] += size[node]
        free[node] = number[node] + 1
    # The edge above each node stands for it: the least and greatest number that other edges of its subtree reach.
    least, greatest = number.copy(), number.copy()
    block, odd = np.arange(n_nodes).astype(np.int32), np.zeros(components, np.bool_)
    for node in range(n_nodes):
        low = high = own = number[node]
        stop, above, mine = own + size[node], upper[node], _root(block, node)
        for edge in range(indptr[node], indptr[node + 1]):
            other = indices[edge]
            if other == above or upper[other] == node:
                continue
            reached = number[other]
            low, high = min(low, reached), max(high, reached)
            if reached >= stop:
                if colour[other] == colour[node]:
                    odd[label[node]] = True
                if block[other] != mine:
                    theirs = _root(block, other)
                    mine, theirs = min(mine, theirs), max(mine, theirs)
                    block[theirs] = mine
        least[node], greatest[node] = low, high
    for node in range(n_nodes):
        block[node] = block[block[node]]  # sets are named by their first nodes
    cut_edges = 0
    for place in range(n_nodes - 1, -1, -1):
        node = order[place]
        above = upper[node]
        if above < 0:
            continue
        least[above], greatest[above] = min(least[above], least[node]), max(greatest[above], greatest[node])
        cut_edges += least[node] >= number[node] and greatest[node] < number[node] + size[node]
        leaves = least[node] < number[above] or greatest[node] >= number[above] + size[above]
        if upper[above] >= 0 and leaves:
            one, two = _root(block, node), _root(block, above)
            block[max(one, two)] = min(one, two)
    for node in range(n_nodes):
        block[node] = block[block[node]]
    cuts, known = np.zeros(n_nodes, np.bool_), np.full(n_nodes, -1, np.int32)
    for node in range(n_nodes):
        above = upper[node]
        if above < 0:
            continue
        own = block[node]
        if upper[above] >= 0:
            cuts[above] |= own != block[above]
        elif known[above] < 0:
            known[above] = own
        else:
            cuts[above] |= own != known[above]
    return components, label, colour, odd, cut_edges, cuts.sum()
