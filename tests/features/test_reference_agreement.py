"""The fast route equals the plain one on whole graphs, metric by metric."""

from __future__ import annotations

from math import isnan

import numpy as np
import pytest
from hypothesis import given

from tests.features.graphs import graphs, layers, random_graph, random_layer
from topo.encoding.graph import BipartiteGraph, MultipartiteGraph
from topo.features import CATEGORIES, METRICS, measure
from topo.features.reference import measure_plainly

SPECTRAL = {"spectral_gap", "spectral_radius", "delta_r", "delta_s", "delta_s_relative", "imdb", "iwsg"}


def assert_agrees(graph: MultipartiteGraph) -> None:
    row, plain = measure(graph), measure_plainly(graph)
    for column, expected in plain.items():
        measured = row[column]
        assert isnan(measured) == isnan(expected), (column, measured, expected, row.attrs["undefined"].get(column))
        if column in SPECTRAL:
            assert measured == pytest.approx(expected, rel=1e-5, abs=1e-6, nan_ok=True), column
        else:
            assert measured == pytest.approx(expected, rel=1e-6, abs=1e-9, nan_ok=True), column
    assert set(row.attrs["undefined"]) == set(row.index[row.isna()])
    assert all(row.attrs["undefined"].values())


@given(graphs)
def test_random_multipartite_graphs(graph: MultipartiteGraph) -> None:
    assert_agrees(graph)


@given(layers)
def test_random_layers(graph: BipartiteGraph) -> None:
    assert_agrees(graph)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("skips", [0.0, 0.7])
def test_larger_graphs_beyond_the_dense_route(seed: int, skips: float) -> None:
    assert_agrees(random_graph([200, 300, 150, 180, 60, 10], 0.02, seed, skips=skips))


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(500, 600), (700, 450)])
def test_larger_layers_beyond_the_dense_route(shape: tuple[int, int]) -> None:
    assert_agrees(random_layer(*shape, 0.02, seed=1))


def test_plain_route_covers_every_metric_of_the_graph() -> None:
    covered = set(measure_plainly(random_layer(5, 5, 0.5, 0)))
    by_default = [e for e in METRICS.entries() if CATEGORIES.entry(e.family).info["by_default"]]
    columns = {column for entry in by_default for column in entry.info["columns"]}
    assert columns - covered == {"direct_sparsity", "effective_sparsity"}


def test_counts_are_whole_numbers() -> None:
    row = measure(random_graph([20, 30, 10], 0.2, 0))
    counts = ["nodes", "edges", "motifs", "cut_edges", "cut_nodes", "sink_nodes", "removable_in", "n_paths"]
    assert all(float(row[name]).is_integer() for name in counts)
    assert row.dtype == np.float64
