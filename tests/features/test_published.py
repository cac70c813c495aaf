"""Conventions of the published tables: identities that hold in their rows are the ones used here."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from topo.encoding.graph import BipartiteGraph
from topo.features import measure


@pytest.fixture(scope="module")
def published(shared_data: Path) -> Path:
    folder = shared_data / "mge-snn"
    if not folder.is_dir():
        pytest.skip(f"the published tables are not there (looked for {folder})")
    return folder


def test_normalisations_of_whole_networks(published: Path) -> None:
    table = pd.read_csv(published / "unrolled" / "unrolled.csv")
    nodes, edges = table["nodes"], table["edges"]
    assert np.allclose(table["1-hop_nei"], (1 + edges / nodes) / edges, rtol=1e-6)
    assert np.allclose(table["mean_connected_components"], 1 / table["no_connected_components"], rtol=1e-6)
    # Mean coreness lies between one and twice the mean number of edges a node; so it is published per edge.
    coreness = table["k-core"] * edges
    assert ((coreness > 0.1) & (coreness <= 2 * edges / nodes)).all()
    assert (table["2-hop_nei"] >= table["1-hop_nei"]).all()

    row = measure(BipartiteGraph(sparse.csr_array(np.eye(4, 6, dtype=np.float32))))
    assert row["one_hop_norm"] == pytest.approx((1 + row["edges"] / row["nodes"]) / row["edges"])
    assert row["mean_component_size_norm"] == pytest.approx(1 / row["connected_components"])


@pytest.mark.parametrize("model", ["CONV-6", "Resnet-20", "Resnet-32"])
def test_spectral_conventions_of_layers(published: Path, model: str) -> None:
    layers = pd.read_csv(published / "rolled" / f"rolled-CIFAR-10-{model}.csv")
    bounds = pd.read_csv(published / "ramanunjan_results" / model / f"rolled-CIFAR-10-{model}.csv")
    edges, nodes = layers["edges"], layers["nodes"]
    assert np.allclose(layers["density_directed"], edges / (nodes * (nodes - 1)), rtol=1e-6)
    assert np.allclose(layers["avg_degree_all"], 2 * edges / nodes, rtol=1e-6)
    assert np.allclose(layers["nei_one_hop"], 1 + edges / nodes, rtol=1e-6)

    # The sides' sizes follow from their sum and product; rows with isolates would need their sides too.
    half = np.sqrt(np.maximum(nodes**2 - 4.0 * bounds["no_params"], 0))
    known = (layers["disconnected_nodes"] == 0) & (edges > nodes) & bounds["degree_bound"].notna()
    left, right = ((nodes + half) / 2)[known], ((nodes - half) / 2)[known]
    edges, layers, bounds = edges[known], layers[known], bounds[known]
    bound = np.sqrt(edges / left - 1) + np.sqrt(edges / right - 1)
    third = bound * (1 - bounds["degree_bound"])
    first = layers["spectral_gap_unweighted_undirected"] + third
    relative = 1 - third / (2 * np.sqrt(first - 1))
    assert known.sum() > 100
    assert np.mean(np.abs(relative - layers["delta_s_undirected"]) < 1e-3) > 0.99
