"""Spectra where Krylov methods go wrong: equal eigenvalues, zeros, many components, low rank."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse
from scipy.linalg import block_diag, circulant

from topo.encoding.graph import BipartiteGraph, Block, MultipartiteGraph, Part
from topo.features import GraphView, Undefined, measure, spectra
from topo.features.expansion import top_magnitudes
from topo.features.spectra import largest_eigenvalues, top_singular_values


def magnitudes(matrix: np.ndarray) -> np.ndarray:
    stored = sparse.csr_array(matrix)
    return np.abs(largest_eigenvalues(len(matrix), lambda x: stored @ x, 3))


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
    def eigsh(*args: object, **kwargs: object) -> None:
        raise spectra.ArpackError(-1, {-1: "no luck"})

    monkeypatch.setattr(spectra, "eigsh", eigsh)
    with pytest.raises(Undefined, match=r"did not converge.*no luck"):
        magnitudes(ring(600, 3))
    rng = np.random.default_rng(0)
    row = measure(BipartiteGraph(sparse.csr_array(rng.random((600, 600), dtype=np.float32))), metrics="expansion")
    assert row.isna().all() and "no luck" in row.attrs["undefined"]["spectral_radius"]


def test_a_large_residual_is_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    real = spectra.eigsh
    monkeypatch.setattr(spectra, "eigsh", lambda *a, **k: tuple(part * 1.01 for part in real(*a, **k)))
    with pytest.raises(Undefined, match="residual"):
        magnitudes(ring(600, 3))
