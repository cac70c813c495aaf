from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from topo.features import METRICS, column_names
from topo.results.feature_sets import ENCODINGS, feature_sets, uses_trained_weights, with_norms
from topo.results.schema import category_of


@pytest.fixture(scope="module")
def everything() -> pd.DataFrame:
    columns = [*column_names(), *(f"{e}__{c}" for e in ENCODINGS for c in column_names(layers=True))]
    values = np.random.default_rng(0).uniform(size=(4, len(columns)))
    return pd.DataFrame(values, columns=columns).assign(sparsity=[0.6, 0.7, 0.8, 0.9])


def test_metrics_of_weights_are_those_whose_source_reads_weights():
    """The values of weights enter these registered metrics and no other: they change when the weights are scaled."""
    from scipy import sparse

    import topo
    from topo.encoding.graph import Block, MultipartiteGraph, Part

    generator = np.random.default_rng(0)
    matrix = sparse.random_array((12, 9), density=0.5, rng=generator, format="csr", dtype=np.float32)
    parts = [Part("in", (12,), 0, 0, "input"), Part("out", (9,), 1, 12, "output")]
    rows = [
        topo.measure(MultipartiteGraph(parts, [Block(0, 1, sparse.csr_array(matrix * scale), "out")]))
        for scale in (np.float32(1), np.float32(3))
    ]
    both = pd.DataFrame(rows).select_dtypes("number").dropna(axis=1)
    moved = [c for c in both if not np.isclose(both[c].iloc[0], both[c].iloc[1], rtol=1e-5)]
    assert {c.removesuffix("_norm") for c in moved} == {"strength", "spectral_gap", "spectral_radius"}
    assert all(uses_trained_weights(c) == (c in moved) for c in both)


def test_published_names_of_weighted_metrics():
    weighted = (
        "strenght_all",
        "spectral_gap_weighted_directed",
        "iterative_spectral_gap",
        "rolled__strength_norm_mean",
    )
    assert all(map(uses_trained_weights, weighted))
    masks = ("spectral_gap_unweighted", "spectral_radius_unweighted", "rolled__edges_weighted", "rolled__imdb_mean")
    assert not any(map(uses_trained_weights, masks))


def test_sets_hold_what_they_say(everything):
    sets = feature_sets(everything)
    assert sets["mean"] == [] and sets["sparsity"] == ["sparsity"] and sets["edges_density"] == ["edges", "density"]
    assert {category_of(c) for c in sets["ramanujan"]} == {"ramanujan"}
    for encoding in ENCODINGS:
        assert all(c.startswith(f"{encoding}__") and c.endswith("_mean") for c in sets[encoding])
        assert not any("_norm" in c for c in sets[encoding])
        assert {c.replace("_norm", "") for c in sets[f"{encoding}_norm"]} >= set(sets[encoding])
    for name, columns in sets.items():
        assert len(columns) == len(set(columns))
        if name.endswith("_untrained"):
            assert not any(map(uses_trained_weights, columns))
            assert set(columns) < set(sets[name.removesuffix("_untrained")])
    topology = {c for name in ("multipartite", *ENCODINGS) for c in sets[name]}
    assert not {"general", "sparsity", "ramanujan", "other"} & {category_of(c) for c in topology}
    published = [
        "sink_nodes_norm",
        "removable_in_norm",
        "one_hop_norm",
        "strength_norm",
        "cut_edges_norm",
        "spectral_gap",
    ]
    assert set(published) <= set(sets["multipartite"])


def test_constant_and_empty_columns_make_no_set(everything):
    table = everything.assign(sparsity=0.9)
    table[[c for c in table if c.startswith("rolled__")]] = np.nan
    sets = feature_sets(table)
    assert "sparsity" not in sets and "rolled" not in sets and "rolled_channel" in sets


def test_layers_are_divided_before_they_are_averaged():
    names = {"dataset": "d", "model": "m", "sparsity": 0.9, "seed": 0}
    layers = pd.DataFrame(
        [
            {**names, "pruner": p, "encoding": "rolled", "nodes": n, "edges": e, "k_core": k, "cut_nodes": 1.0}
            for p, n, e, k in [("er", 10, 4, 2.0), ("er", 20, 8, 8.0), ("snip", 5, 0, 0.0), ("snip", 5, 10, 5.0)]
        ]
    )
    networks = pd.DataFrame([{**names, "pruner": p} for p in ("er", "snip", "grasp")])
    found = with_norms(networks, layers).set_index("pruner")
    assert found["rolled__k_core_norm_mean"].tolist()[:2] == [(2 / 4 + 8 / 8) / 2, 0.5]  # no edge: no value
    assert found.loc["er", "rolled__cut_nodes_norm_mean"] == pytest.approx((1 / 10 + 1 / 20) / 2)
    assert found.loc["grasp"].isna()[["rolled__k_core_norm_mean"]].all()
    assert with_norms(networks, None) is networks
    per = {e.info["per"] for e in METRICS.entries()}
    assert per == {"nodes", "edges", None}
