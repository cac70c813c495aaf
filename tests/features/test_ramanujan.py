"""The Ramanujan family on layers whose spectra are known, and where it has no value."""

from __future__ import annotations

from math import isnan, sqrt

import numpy as np
import pytest
from scipy import sparse

from tests.features.graphs import random_graph
from topo.encoding.graph import BipartiteGraph
from topo.features import measure


def layer(matrix: np.ndarray) -> BipartiteGraph:
    return BipartiteGraph(sparse.csr_array(np.asarray(matrix, np.float32)))


def heawood() -> np.ndarray:
    """Points and lines of the Fano plane: 3-regular, singular values 3 and sqrt(2) (six times)."""
    return np.array([[(j - i) % 7 in (0, 1, 3) for j in range(7)] for i in range(7)])


def test_known_spectrum() -> None:
    row = measure(layer(heawood()), metrics="ramanujan")
    bound = 2 * sqrt(2)
    assert row["delta_r"] == pytest.approx((bound - sqrt(2)) / bound)
    assert row["delta_s"] == pytest.approx(2 * sqrt(2) - sqrt(2))
    assert row["delta_s_relative"] == pytest.approx(0.5)
    assert row["imdb"] == pytest.approx(row["delta_r"])
    assert row["iwsg"] == pytest.approx(3 - sqrt(2))


def test_isolated_nodes_are_removed_and_weights_matter_to_iwsg_alone() -> None:
    padded = np.zeros((12, 10))
    padded[2:9, 1:8] = heawood() * 0.5
    measured, expected = (measure(layer(m), metrics="ramanujan") for m in (padded, heawood()))
    assert measured.drop("iwsg").to_numpy() == pytest.approx(expected.drop("iwsg").to_numpy())
    assert measured["iwsg"] == pytest.approx(expected["iwsg"] / 2)


def test_rules_choose_different_subgraphs() -> None:
    rng = np.random.default_rng(0)
    matrix = np.zeros((14, 12))
    for i in range(10):
        matrix[i, rng.choice(12, 4, replace=False)] = 1
    for i in range(10, 14):
        matrix[i, rng.choice(12, 3, replace=False)] = 1
    by_mean, by_count = (
        measure(layer(matrix), metrics=["imdb", "iwsg"], imdb_rule=rule) for rule in ("mean_degree", "min_nodes")
    )

    def difference(part: np.ndarray) -> float:
        part = part[:, part.any(axis=0)]
        bound = sqrt(part.sum() / part.shape[0] - 1) + sqrt(part.sum() / part.shape[1] - 1)
        return (bound - np.linalg.svd(part, compute_uv=False)[1]) / bound

    # Four nodes of degree 3 on up to 12 right nodes have a mean right degree below 3.
    assert by_mean["imdb"] == pytest.approx(difference(matrix[:10]))
    assert by_count["imdb"] == pytest.approx((difference(matrix[:10]) + difference(matrix[10:])) / 2)
    assert by_mean["iwsg"] != by_count["iwsg"]


@pytest.mark.parametrize(
    ("matrix", "column", "reason"),
    [
        (np.eye(4), "delta_r", "all nodes have one edge"),
        (np.eye(4), "delta_s", "eigenvalue is 1"),
        (np.ones((1, 5)), "delta_r", "fewer than two"),
        (np.eye(4), "imdb", "no subgraph"),
        (np.ones((4, 2)), "iwsg", "no subgraph"),
        (np.zeros((4, 2)), "imdb", "no edge"),
    ],
)
def test_undefined(matrix: np.ndarray, column: str, reason: str) -> None:
    row = measure(layer(matrix), metrics="ramanujan")
    assert isnan(row[column]) and reason in row.attrs["undefined"][column]


def test_asked_of_a_whole_network() -> None:
    row = measure(random_graph([4, 5, 3], 0.5, 0), metrics="ramanujan")
    assert row.isna().all()
    assert set(row.attrs["undefined"].values()) == {"defined on the bipartite graph of one layer"}
