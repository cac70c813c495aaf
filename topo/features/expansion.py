"""Expansion metrics: the ends of the weighted spectra, component by component."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from .graph_view import GraphView, chunks
from .lanczos import Product
from .registry import Undefined, metric
from .spectra import largest_eigenvalues, scaled, symmetric, top_singular_values

# Nodes of components that are treated many at once, and numbers of their matrices at a time.
SMALL = 16
DENSE_NUMBERS = 1 << 22


@metric(
    "spectral_gap",
    category="expansion",
    reads_weights=True,
    formula=r"|\lambda_1(A)| - |\lambda_3(A)|",
    bounds=(0, "inf"),
    cost="O(p (N + E)), p products until it converges",
    computed_by="products",
)
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
    if view.scaled_product is not None:
        product, exponent = view.scaled_product
        return np.ldexp(np.abs(largest_eigenvalues(view.n_nodes, product, 3, rounded=True)), exponent)
    magnitudes = _magnitudes_of_small_components(view)
    for bound, nodes in _components_by_bound(view):
        if bound <= magnitudes[2] * (1 + 1e-12):
            break
        magnitudes = np.sort(np.concatenate([magnitudes, _magnitudes(view, nodes)]))[::-1][:3]
    return magnitudes


@metric(
    "spectral_radius",
    category="expansion",
    reads_weights=True,
    formula=r"\lambda_{\max}(D - A), \qquad D = \operatorname{diag}(A \mathbf{1})",
    bounds=(0, "inf"),
    cost="O(p (N + E)), p products until it converges",
    computed_by="products",
)
def spectral_radius(view: GraphView) -> float:
    """Largest eigenvalue of the weighted undirected Laplacian D - A."""
    _require_weights(view)
    product, exponent = view.shared(_adjacency_product)
    degree = _degrees(view)

    def laplacian(x: np.ndarray, y: np.ndarray) -> None:
        product(x, y)
        np.subtract(np.multiply(degree, x, out=scratch), y, out=y)

    scratch = np.empty_like(degree)
    rounded = view.scaled_product is not None
    # The leading eigenvector sits where the nodes weigh most.
    near = _relative(degree) ** 8 + 1e-6
    values = largest_eigenvalues(view.n_nodes, laplacian, 1, which="LA", near=near, rounded=rounded)
    return float(np.ldexp(values[0], exponent))


def _adjacency_product(view: GraphView) -> tuple[Product, int]:
    """The product of the undirected adjacency with a vector, but for a power of two."""
    if view.scaled_product is not None:
        return view.scaled_product
    directed, exponent = scaled(view.directed)
    return symmetric(directed), exponent


def _degrees(view: GraphView) -> np.ndarray:
    """Summed weights of the edges of each node, but for the power of two."""
    degree = np.empty(view.n_nodes)
    view.shared(_adjacency_product)[0](np.ones_like(degree), degree)
    return degree


def _relative(degree: np.ndarray) -> np.ndarray:
    return degree / max(degree.max(), np.finfo(np.float64).tiny)


def _require_weights(view: GraphView) -> None:
    if view.n_edges == 0:
        raise Undefined("the graph has no edge")
    if not view.weights_are_finite:
        raise Undefined("some weights are not finite")


def _components_by_bound(view: GraphView) -> Iterator[tuple[float, np.ndarray]]:
    """The nodes of each component that is not small, largest bound on its eigenvalues first."""
    count, labels, *_ = view.connectivity
    sizes = np.bincount(labels, minlength=count)
    large = sizes > SMALL
    if large.sum() <= 1:
        if large.any():
            yield np.inf, np.flatnonzero(large[labels])
        return
    weighted = np.ldexp(_degrees(view), view.shared(_adjacency_product)[1])
    # No eigenvalue exceeds the largest sqrt(d_u d_v) over the component's edges.
    bounds = np.zeros(count)
    ends = view.directed.tocoo()
    np.maximum.at(bounds, labels[ends.row], np.sqrt(weighted[ends.row] * weighted[ends.col]))
    by_label = np.argsort(labels, kind="stable")
    stop = np.cumsum(sizes)
    for label in np.argsort(-bounds, kind="stable"):
        if large[label]:
            yield bounds[label], by_label[stop[label] - sizes[label] : stop[label]]


def _magnitudes_of_small_components(view: GraphView) -> np.ndarray:
    """Magnitudes of the three largest eigenvalues of all small components together, with zeros where there are fewer.

    A sparse layer falls into thousands of them; those of one size are as many small dense matrices.
    """
    count, labels, *_ = view.connectivity
    sizes = np.bincount(labels, minlength=count)
    largest = np.zeros(3)
    nodes = np.flatnonzero(((sizes > 1) & (sizes <= SMALL))[labels])
    if not len(nodes):
        return largest
    ends = view.directed[nodes].tocoo()
    row, column = nodes[ends.row], ends.col
    order = np.argsort(labels, kind="stable")
    place = np.empty(view.n_nodes, np.int64)
    place[order] = np.arange(view.n_nodes) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    exponent = int(np.frexp(np.abs(ends.data).max())[1])
    weights = np.ldexp(ends.data.astype(np.float64), -exponent)
    for size in np.unique(sizes[labels[row]]):
        here = sizes[labels[row]] == size
        which, number = np.unique(labels[row[here]], return_inverse=True)
        for piece in chunks(np.full(len(which), size * size), DENSE_NUMBERS):
            inside = (number >= piece.start) & (number < piece.stop)
            one, two = place[row[here][inside]], place[column[here][inside]]
            dense = np.zeros((piece.stop - piece.start, size, size))
            dense[number[inside] - piece.start, one, two] = weights[here][inside]
            found = np.abs(np.linalg.eigvalsh(dense + dense.transpose(0, 2, 1))).ravel()
            largest = np.sort(np.concatenate([largest, found]))[::-1][:3]
    return np.ldexp(largest, exponent)


def _magnitudes(view: GraphView, nodes: np.ndarray) -> np.ndarray:
    """Magnitudes of the three largest eigenvalues of one component, given its nodes; fewer when it is smaller."""
    odd = view.connectivity.odd[view.connectivity.component[nodes[0]]]
    colour = view.connectivity.colour
    if 2 * len(nodes) < view.n_nodes:
        directed, exponent = scaled(view.directed[nodes][:, nodes])
        if odd:
            values = np.abs(largest_eigenvalues(len(nodes), symmetric(directed), 3))
        else:
            fewer, more = sorted((np.flatnonzero(colour[nodes]), np.flatnonzero(~colour[nodes])), key=len)
            values = np.repeat(top_singular_values((directed + directed.T)[fewer][:, more], 2), 2)[:3]
        return np.ldexp(values, exponent)
    # No edge leaves the component: all nodes may stay where picking the component's would copy most of the edges.
    product, exponent = view.shared(_adjacency_product)
    inside = np.zeros(view.n_nodes, dtype=bool)
    inside[nodes] = True
    if odd:
        # A node of weight d is in no eigenvector of an eigenvalue far above d.
        near = _relative(_degrees(view) * inside) ** 2 + 1e-4
        values = largest_eigenvalues(view.n_nodes, product, 3, inside=inside, near=near)
        return np.ldexp(np.abs(values), exponent)
    if view.is_bipartite:
        (half,) = view.blocks.values()
        return np.repeat(top_singular_values(half, 2, inside=inside[view.parts[1].nodes]), 2)[:3]
    one_side = inside & (colour == (2 * colour[nodes].sum() <= len(nodes)))

    between = np.empty(view.n_nodes)

    def square(x: np.ndarray, y: np.ndarray) -> None:
        product(x, between)
        product(between, y)

    squares = largest_eigenvalues(view.n_nodes, square, min(2, one_side.sum()), which="LA", inside=one_side)
    return np.ldexp(np.repeat(np.sqrt(np.maximum(squares, 0)), 2)[:3], exponent)
