"""Expansion metrics: the ends of the weighted spectra, component by component."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from .graph_view import GraphView
from .registry import Undefined, metric
from .spectra import largest_eigenvalues, top_singular_values


@metric("spectral_gap", category="expansion", reads_weights=True)
def spectral_gap(view: GraphView) -> float:
    """abs(l1) - abs(l3) of the weighted undirected adjacency, eigenvalues in order of magnitude.

    Where a component has no odd cycle its spectrum is symmetric, so there abs(l3) is the second singular value.
    """
    magnitudes = top_magnitudes(view)
    return float(magnitudes[0] - magnitudes[2])


def top_magnitudes(view: GraphView) -> np.ndarray:
    """Magnitudes of the three largest eigenvalues of the weighted undirected adjacency, descending.

    The spectrum is the union of the components' spectra. Taking them one by one keeps each leading
    eigenvalue simple, which a Krylov method needs to find it, and the bound on a component's spectrum by
    its weighted degrees ends the search early.
    """
    _require_weights(view)
    if view.n_nodes < 3:
        raise Undefined("the graph has fewer than three nodes, so no third eigenvalue")
    magnitudes = np.zeros(3)
    for bound, nodes in _components_by_bound(view):
        if bound <= magnitudes[2] * (1 + 1e-12):
            break
        magnitudes = np.sort(np.concatenate([magnitudes, _magnitudes(view, nodes)]))[::-1][:3]
    return magnitudes


@metric("spectral_radius", category="expansion", reads_weights=True)
def spectral_radius(view: GraphView) -> float:
    """Largest eigenvalue of the weighted undirected Laplacian D - A."""
    _require_weights(view)
    adjacency = view.undirected
    degree = adjacency.sum(axis=1)
    return float(largest_eigenvalues(view.n_nodes, lambda x: (degree * x.T).T - adjacency @ x, 1, which="LA")[0])


def _require_weights(view: GraphView) -> None:
    if view.n_edges == 0:
        raise Undefined("the graph has no edge")
    if not view.weights_are_finite:
        raise Undefined("some weights are not finite")


def _components_by_bound(view: GraphView) -> Iterator[tuple[float, np.ndarray]]:
    """The nodes of each component that has an edge, largest bound on its eigenvalues first."""
    count, labels = view.components
    adjacency = view.undirected
    weighted = adjacency.sum(axis=1)
    # No eigenvalue exceeds the largest sqrt(d_u d_v) over the component's edges.
    bounds = np.zeros(count)
    ends = view.directed.tocoo()
    np.maximum.at(bounds, labels[ends.row], np.sqrt(weighted[ends.row] * weighted[ends.col]))
    sizes = np.bincount(labels)
    by_label = np.argsort(labels, kind="stable")
    stop = np.cumsum(sizes)
    for label in np.argsort(-bounds, kind="stable"):
        if sizes[label] > 1:
            yield bounds[label], by_label[stop[label] - sizes[label] : stop[label]]


def _magnitudes(view: GraphView, nodes: np.ndarray) -> np.ndarray:
    """Magnitudes of the three largest eigenvalues of one component, given its nodes; fewer when it is smaller."""
    adjacency = view.undirected
    # No edge leaves the component: all columns may stay where picking the component's would copy most of them.
    small = 2 * len(nodes) < view.n_nodes
    if not view.connectivity.odd[view.connectivity.component[nodes[0]]]:
        colour = view.connectivity.colour
        fewer, more = sorted((nodes[colour[nodes]], nodes[~colour[nodes]]), key=len)
        half = adjacency[fewer]
        return np.repeat(top_singular_values(half[:, more] if small else half, 2), 2)[:3]
    if small:
        adjacency, inside = adjacency[nodes][:, nodes], np.ones(len(nodes))
    else:
        inside = np.zeros(view.n_nodes)
        inside[nodes] = 1
    return np.abs(largest_eigenvalues(len(inside), lambda x: ((adjacency @ x).T * inside).T, 3))
