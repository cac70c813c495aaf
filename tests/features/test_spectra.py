"""Spectra where Krylov methods go wrong: equal eigenvalues, zeros, many components, low rank."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import sparse
from scipy.linalg import block_diag, circulant
from torch import nn

import topo
from topo.encoding.graph import BipartiteGraph, Block, MultipartiteGraph, Part
from topo.features import GraphView, Undefined, lanczos, measure, measure_layers, spectra
from topo.features.expansion import top_magnitudes
from topo.features.kernels.products import diagonal_runs
from topo.features.spectra import largest_eigenvalues, top_singular_values


def magnitudes(matrix: np.ndarray) -> np.ndarray:
    stored = sparse.csr_array(matrix)
    return np.abs(largest_eigenvalues(len(matrix), lambda x, y: np.copyto(y, stored @ x), 3))


def ring(size: int, reach: int) -> np.ndarray:
    first = np.zeros(size)
    first[1 : reach + 1] = first[-reach:] = 1
    return circulant(first)


def torus(side: int) -> np.ndarray:
    one, identity = ring(side, 1), np.eye(side)
    return np.kron(one, identity) + np.kron(identity, one) + np.kron(one, one)


@pytest.mark.parametrize(
    "matrix",
    [
        np.ones((600, 600)) - np.eye(600),
        np.kron(np.ones((3, 3)) - np.eye(3), np.ones((200, 200))),
        ring(600, 3),
        torus(25),
        np.diag([5.0, -5.0, 5.0, *[1.0] * 600]),
        np.ones((500, 500)),
    ],
    ids=["complete", "tripartite", "ring", "torus", "diagonal", "rank-one"],
)
def test_equal_eigenvalues_are_all_found(matrix: np.ndarray) -> None:
    expected = np.sort(np.abs(np.linalg.eigvalsh(matrix)))[::-1][:3]
    assert magnitudes(matrix) == pytest.approx(expected, rel=1e-5, abs=1e-6)


@pytest.mark.parametrize(
    "matrix",
    [
        np.eye(1000),
        np.zeros((700, 800)),
        np.ones((500, 600)),
        np.ones((2, 200_000)),
        block_diag(*[np.ones((90, 80))] * 7),
    ],
    ids=["matching", "zero", "rank-one", "flat", "equal-components"],
)
def test_singular_values(matrix: np.ndarray) -> None:
    small = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    expected = np.sqrt(np.maximum(np.linalg.eigvalsh(small @ small.T)[::-1][:2], 0))
    assert top_singular_values(sparse.csr_array(matrix), 2) == pytest.approx(expected, rel=1e-5, abs=1e-4)


def test_many_components_cost_little_and_none_is_missed() -> None:
    rng = np.random.default_rng(0)
    stars = [np.ones((1, 4), np.float32)] * 3000 + [np.full((1, 4), 1.5, np.float32), np.ones((3, 1), np.float32)]
    stars += [rng.random((20, 30), dtype=np.float32)]
    graph = BipartiteGraph(sparse.csr_array(sparse.block_diag(stars)))
    expected = sorted(np.concatenate([np.repeat(np.linalg.svd(s, compute_uv=False), 2) for s in stars[-3:]]))[::-1]
    assert top_magnitudes(GraphView(graph)) == pytest.approx(expected[:3], rel=1e-6)


@pytest.mark.parametrize("sides", [(1, 1), (2, 3), (9, 6), (9, 8)])
def test_components_on_either_side_of_small(sides: tuple[int, int]) -> None:
    """At most 16 nodes are taken many at once, more one by one; the largest values may be in either."""
    rng = np.random.default_rng(sum(sides))
    for scale in (0.1, 1.0, 10.0):
        pieces = [rng.random(sides, dtype=np.float32) for _ in range(5)] + [np.float32(scale) * rng.random((20, 7))]
        graph = BipartiteGraph(sparse.csr_array(sparse.block_diag([*pieces, np.zeros((3, 2))]).astype(np.float32)))
        values = np.concatenate([np.linalg.svd(piece, compute_uv=False) for piece in pieces])
        expected = np.sort(np.repeat(values, 2))[::-1][:3]
        assert top_magnitudes(GraphView(graph)) == pytest.approx(expected, rel=1e-6)


def test_a_regular_graph_whose_laplacian_maps_its_degrees_to_zero() -> None:
    """Degrees, from which the iteration starts, are constant, and constants are what the Laplacian knows nothing of."""
    layer = ring(150, 2)
    laplacian = np.diag(np.full(300, 4.0)) - np.block([[np.zeros_like(layer), layer], [layer, np.zeros_like(layer)]])
    row = measure(BipartiteGraph(sparse.csr_array(layer.astype(np.float32))), metrics="spectral_radius")
    assert row["spectral_radius"] == pytest.approx(np.linalg.eigvalsh(laplacian)[-1], rel=1e-9)


def test_a_hub_hides_no_dense_region() -> None:
    """The iteration starts near the nodes of most weight; the largest eigenvalue is where nodes weigh 45, not 2,000."""
    layers = np.zeros((3, 2100, 2100), np.float32)
    layers[0, 0, :2000] = 1.0  # a hub: 44.7
    for layer in layers:
        layer[2000:2030, 2000:2030] = 0.75  # a region of three sides: 45
    layers[1, 1, 2000] = layers[2, 1999, 2029] = 0.01
    parts = [Part(f"p{i}", (2100,), i, 2100 * i) for i in range(3)]
    pairs = zip(((0, 1), (1, 2), (0, 2)), layers, strict=True)
    view = GraphView(MultipartiteGraph(parts, [Block(*pair, sparse.csr_array(layer)) for pair, layer in pairs]))
    expected = np.sort(np.abs(np.concatenate([[45.0], np.repeat(np.sqrt(2000.0), 2)])))[::-1]
    assert top_magnitudes(view) == pytest.approx(expected, rel=1e-4)


def test_weights_of_zero() -> None:
    matrix = sparse.csr_array(np.ones((4, 4), np.float32))
    matrix.data[:] = 0
    row = measure(BipartiteGraph(matrix), metrics="expansion")
    assert row.tolist() == [0.0, 0.0]
    large = sparse.csr_array((np.zeros(900, np.float32), (np.arange(900), np.arange(900))), shape=(900, 900))
    row = measure(BipartiteGraph(large), metrics="expansion")
    assert row.tolist() == pytest.approx([0.0, 0.0], abs=1e-12)


def test_isolated_nodes_change_nothing() -> None:
    rng = np.random.default_rng(1)
    small = rng.random((300, 310), dtype=np.float32) * (rng.random((300, 310)) < 0.05)
    wide = np.zeros((900, 800), np.float32)
    wide[100:400, 200:510] = small
    rows = [measure(BipartiteGraph(sparse.csr_array(m)), metrics="expansion") for m in (small, wide)]
    assert rows[0].to_numpy() == pytest.approx(rows[1].to_numpy(), rel=1e-6)


def test_an_odd_cycle_through_a_skip() -> None:
    parts = [Part(f"p{i}", (1,), i, i) for i in range(3)]
    edges = [(0, 1, 1.0), (1, 2, 2.0), (0, 2, 3.0)]
    graph = MultipartiteGraph(parts, [Block(s, t, sparse.csr_array(np.float32([[w]]))) for s, t, w in edges])
    expected = np.sort(np.abs(np.linalg.eigvalsh(np.array([[0, 1, 3], [1, 0, 2], [3, 2, 0]]))))[::-1]
    assert measure(graph, metrics="spectral_gap")["spectral_gap"] == pytest.approx(expected[0] - expected[2])


def test_no_convergence_is_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanczos, "MOST_STEPS", 0)
    with pytest.raises(Undefined, match="did not converge"):
        magnitudes(ring(600, 3))
    rng = np.random.default_rng(0)
    row = measure(BipartiteGraph(sparse.csr_array(rng.random((600, 600), dtype=np.float32))), metrics="expansion")
    assert row.isna().all() and "not converge" in row.attrs["undefined"]["spectral_radius"]


def grid_layer(side: int) -> sparse.csr_array:
    """A convolution of one channel: eigenvalues close to each other and in pairs, slow to tell apart."""
    return sparse.csr_array((torus(side) + np.eye(side**2)).astype(np.float32))


@pytest.mark.parametrize("largest", [1e-30, 1e-8, 1.0, 1e30])
@pytest.mark.parametrize("size", [12, 500], ids=["dense", "iterated"])
def test_the_scale_of_weights_does_not_matter(size: int, largest: float) -> None:
    rng = np.random.default_rng(0)
    matrix = (rng.random((size, size + 3)) * (rng.random((size, size + 3)) < (0.9 if size < 100 else 0.1))).astype(
        np.float32
    )
    one, other = (
        measure(BipartiteGraph(sparse.csr_array(matrix * np.float32(scale))), metrics=["expansion", "ramanujan"])
        for scale in (1.0, largest)
    )
    for column in ("spectral_gap", "spectral_radius", "iwsg"):
        assert other[column] / largest == pytest.approx(one[column], rel=1e-6), column
    assert other["delta_r"] == one["delta_r"]


@pytest.mark.parametrize("scale", [1e-200, 1e200])
def test_singular_values_at_the_ends_of_float64(scale: float) -> None:
    matrix = np.random.default_rng(0).random((120, 130))
    expected = np.linalg.svd(matrix, compute_uv=False)[:2]
    assert top_singular_values(sparse.csr_array(matrix * scale), 2) / scale == pytest.approx(expected, rel=1e-7)


def test_a_slow_spectrum_is_found_to_the_tolerance() -> None:
    layer = grid_layer(30)
    expected = np.linalg.svd(layer.toarray().astype(float), compute_uv=False)[:2]
    assert top_singular_values(layer, 2) == pytest.approx(expected, rel=1e-9)
    adjacency = torus(30)
    stored = sparse.csr_array(adjacency)
    laplacian = np.linalg.eigvalsh(8 * np.eye(900) - adjacency)[-1]
    assert largest_eigenvalues(900, lambda x, y: np.copyto(y, 8 * x - stored @ x), 1, which="LA") == pytest.approx(
        [laplacian], rel=1e-9
    )


def test_only_what_is_inside_counts() -> None:
    rng = np.random.default_rng(0)
    parts = [rng.random((150, 160)), 5 * rng.random((150, 160))]
    inside = np.arange(320) < 160
    expected = np.linalg.svd(parts[0], compute_uv=False)[:2]
    found = top_singular_values(sparse.csr_array(block_diag(*parts)), 2, inside=inside)
    assert found == pytest.approx(expected, rel=1e-6)


def test_edges_of_weight_zero_hold_nothing_together() -> None:
    """Three equal pieces joined by edges of weight 0.0: the leading eigenvalue is there three times."""
    size, sizes = 60, (60, 60, 60)
    rng = np.random.default_rng(1)
    one, two = (rng.random((size, size)).astype(np.float32) for _ in range(2))
    parts = [Part(f"p{i}", (3 * n,), i, 3 * sum(sizes[:i])) for i, n in enumerate(sizes)]
    blocks = []
    for source, target, weights in ((0, 1, one), (1, 2, two), (0, 2, one)):
        stored = np.kron(np.eye(3), weights) + 0.0
        rows, columns = np.nonzero(np.ones((3 * size, 3 * size)))
        blocks.append(Block(source, target, sparse.csr_array((stored.ravel().astype(np.float32), (rows, columns)))))
    zero = np.zeros((size, size))
    single = np.block([[zero, one, one], [one.T, zero, two], [one.T, two.T, zero]])
    expected = np.abs(np.linalg.eigvalsh(single)).max()
    graph = MultipartiteGraph(parts, blocks)
    assert GraphView(graph).components[0] == 1
    assert top_magnitudes(GraphView(graph)) == pytest.approx([expected] * 3, rel=1e-7)


def test_what_does_not_converge_is_tried_again_and_has_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    seeds: list[int] = []
    iterate = spectra.extreme_eigenvalues

    def failing(*arguments: Any, seed: int, **rest: Any) -> np.ndarray:
        seeds.append(seed)
        if len(seeds) == 1:
            raise Undefined("not yet")
        return iterate(*arguments, seed=seed, **rest)

    matrix = ring(600, 3)
    monkeypatch.setattr(spectra, "extreme_eigenvalues", failing)
    assert magnitudes(matrix) == pytest.approx(np.sort(np.abs(np.linalg.eigvalsh(matrix)))[::-1][:3])
    assert seeds == [0, 1]
    monkeypatch.undo()
    monkeypatch.setattr(lanczos, "MOST_STEPS", 8)
    weights = np.random.default_rng(0).random((150, 160), dtype=np.float32)
    row = measure(BipartiteGraph(sparse.csr_array(weights)), metrics=["spectral_gap", "edges"])
    assert np.isnan(row["spectral_gap"]) and row["edges"] == weights.size
    assert row.attrs["undefined"] == {
        "spectral_gap": "the eigenvalue iteration did not converge, from two different starts"
    }


def with_spectrum(values: np.ndarray) -> np.ndarray:
    vectors = np.linalg.qr(np.random.default_rng(0).standard_normal((len(values), len(values))))[0]
    return (vectors * values) @ vectors.T


SPECTRA = {
    "far": np.concatenate([[1e5, 5e4, 1.0, 0.999], np.linspace(0.95, -0.95, 296)]),
    "less far": np.concatenate([[10.0, 5.0, 1.0, 0.999], np.linspace(0.95, -0.95, 296)]),
    "signs": np.concatenate([[5.0, -5.0, 3.0, 3.0, 2.999, -2.999], np.linspace(2.99, -2.99, 294)]),
    "threefold": np.concatenate([[5.0, 5.0, 5.0, 4.9], np.linspace(3, -3, 296)]),
    "halved": 0.5 ** np.arange(300),
    "even": np.linspace(1, -1, 300),
}


@pytest.mark.parametrize("name", SPECTRA)
@pytest.mark.parametrize("which", ["LM", "LA"])
@pytest.mark.parametrize("numbers", [1 << 25, 0], ids=["kept", "computed-again"])
def test_every_copy_of_an_eigenvalue_is_found(
    name: str, which: str, numbers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether the vectors of a run are kept or, where there is no memory for them, computed a second time."""
    monkeypatch.setattr(lanczos, "NUMBERS", numbers)
    monkeypatch.setattr(lanczos, "_kept", threading.local())
    matrix = with_spectrum(SPECTRA[name])
    for count in (1, 2, 3, 5):
        found = lanczos.extreme_eigenvalues(
            300, lambda x, y: np.matmul(matrix, x, out=y), count, which=which, seed=0, tolerance=1e-9
        )
        order = np.argsort(-(np.abs(SPECTRA[name]) if which == "LM" else SPECTRA[name]), kind="stable")
        expected = SPECTRA[name][order][:count]
        if which == "LM":
            found, expected = np.abs(found), np.abs(expected)
        assert found == pytest.approx(expected, rel=1e-9, abs=1e-8 * abs(expected[0]))


def test_products_that_are_rounded_cost_as_much_precision_and_no_more() -> None:
    matrix = with_spectrum(SPECTRA["signs"])
    rounded = matrix.astype(np.float32)
    found = largest_eigenvalues(300, lambda x, y: np.copyto(y, rounded @ x.astype(np.float32)), 3, rounded=True)
    assert np.abs(found) == pytest.approx([5, 5, 3], rel=1e-6)


@given(
    hnp.arrays(np.float32, hnp.array_shapes(min_dims=2, max_dims=2, max_side=9), elements=st.sampled_from([0, 1, 2]))
)
def test_products_along_diagonals_are_products(matrix: np.ndarray) -> None:
    """Rows repeated with a step to the right, as in a convolution, and as they are."""
    moved = np.zeros((4 * len(matrix), matrix.shape[1] + 3), np.float32)
    for step in range(4):
        moved[step::4, step : step + matrix.shape[1]] = matrix
    square = np.zeros((sum(moved.shape),) * 2, np.float32)
    square[: len(moved), len(moved) :] = moved
    x, y = np.random.default_rng(0).random((2, len(square)))
    spectra.symmetric(sparse.csr_array(square))(x, y)
    assert y == pytest.approx((square + square.T) @ x)
    x, y = x[: moved.shape[1]].copy(), y[: moved.shape[1]].copy()
    spectra._gram(sparse.csr_array(moved))(x, y)
    assert y == pytest.approx(moved.T @ (moved @ x))
    if np.count_nonzero(matrix):
        runs = diagonal_runs(*(getattr(sparse.csr_array(moved), a) for a in ("indptr", "indices", "data")))
        assert len(runs[0]) <= np.count_nonzero(matrix)
        assert len(runs[0]) or matrix.shape[1] > 1


@pytest.mark.parametrize("copies", [1, 2, 3])
def test_copies_of_a_network_have_its_eigenvalues_again(copies: int) -> None:
    rng = np.random.default_rng(3)
    first, second = (rng.random((130, 130)) * (rng.random((130, 130)) < 0.1) for _ in range(2))
    zero = np.zeros((130, 130))
    one = np.block([[zero, first, second], [first.T, zero, second.T], [second.T, second, zero]]).astype(np.float32)
    expected = np.sort(np.abs(np.repeat(np.linalg.eigvalsh(one.astype(float)), copies)))[::-1][:3]
    parts = [Part(f"p{i}", (130 * copies,), i, 130 * copies * i) for i in range(3)]
    pieces = {(0, 1): first, (0, 2): second, (1, 2): second.T}
    blocks = [
        Block(*pair, sparse.csr_array(block_diag(*[m.astype(np.float32)] * copies))) for pair, m in pieces.items()
    ]
    assert top_magnitudes(GraphView(MultipartiteGraph(parts, blocks))) == pytest.approx(expected, rel=1e-8)


@pytest.mark.parametrize("density", [0.02, 0.05, 0.3])
def test_sparse_convolutions_on_positions(density: float) -> None:
    """Components that are shifts of each other, rows of them, and eigenvalues as near as those of waves in a box."""
    generator = torch.Generator().manual_seed(int(1000 * density))
    net = nn.Sequential(nn.Conv2d(4, 6, 3, padding=1, bias=False), nn.Conv2d(6, 8, 3, stride=2, padding=1, bias=False))
    masks = {}
    for name, weight in net.named_parameters():
        weight.data = torch.rand(weight.shape, generator=generator)
        masks[name] = torch.rand(weight.shape, generator=generator) < density
        masks[name].view(-1)[0] = True
    graphs = topo.encode(net, masks, example=(4, 8, 8), encoding="unrolled")
    table = measure_layers(graphs, metrics=["expansion", "delta_r"])
    for name, graph in graphs.items():
        matrix = graph.matrix.toarray().astype(float)
        first, second = np.linalg.svd(matrix, compute_uv=False)[:2]
        # abs(l1) to abs(l3) of the graph are the first singular value, again, and the second.
        assert table.loc[name, "spectral_gap"] == pytest.approx(first - second, abs=1e-8 * first)
        whole = np.block([[np.zeros((len(matrix),) * 2), matrix], [matrix.T, np.zeros((matrix.shape[1],) * 2)]])
        radius = np.linalg.eigvalsh(np.diag(whole.sum(0)) - whole)[-1]
        assert table.loc[name, "spectral_radius"] == pytest.approx(radius, rel=1e-8)
