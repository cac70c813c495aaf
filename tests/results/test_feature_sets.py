from __future__ import annotations

from itertools import chain

import numpy as np
import pandas as pd
import pytest

from topo.features import CATEGORIES, METRICS, column_names, metric
from topo.features.registry import category
from topo.results.feature_sets import encodings_of, feature_sets, with_norms
from topo.results.schema import category_of, metric_columns, reads_weights

ENCODINGS = ("rolled", "rolled_channel", "unrolled")


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
    assert all(reads_weights(c) == (c in moved) for c in both)


def test_published_names_of_weighted_metrics():
    assert all(map(reads_weights, ("rolled__strength_norm_mean", "rolled__spectral_gap_mean", "ramanujan__iwsg_mean")))
    masks = ("spectral_gap_unweighted", "spectral_radius_unweighted", "rolled__edges_weighted", "rolled__imdb_mean")
    assert not any(map(reads_weights, masks))


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
            assert not any(map(reads_weights, columns))
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
    rows = with_norms(networks, layers).set_index("pruner")
    assert rows["rolled__k_core_norm_mean"].tolist()[:2] == [(2 / 4 + 8 / 8) / 2, 0.5]  # no edge: no value
    assert rows.loc["er", "rolled__cut_nodes_norm_mean"] == pytest.approx((1 / 10 + 1 / 20) / 2)
    assert rows.loc["grasp"].isna()[["rolled__k_core_norm_mean"]].all()
    assert with_norms(networks, None) is networks
    per = {e.info["per"] for e in METRICS.entries()}
    assert per == {"nodes", "edges", None}


def test_a_new_metric_that_reads_weights_is_never_known_before_training(everything, monkeypatch):
    monkeypatch.setattr(METRICS, "_entries", dict(METRICS._entries))
    metric("energy", category="paths", reads_weights=True, columns=("energy", "entropy"))(lambda view: {})
    metric("bottlenecks", category="paths", per="nodes")(lambda view: 0.0)
    values = np.random.default_rng(1).uniform(size=(3, 4))
    table = everything.assign(energy=values[0], rolled__entropy_mean=values[1], bottlenecks_norm=values[2])
    sets = feature_sets(table)
    assert {"energy", "bottlenecks_norm"} <= set(sets["multipartite"]) and "rolled__entropy_mean" in sets["rolled"]
    assert "bottlenecks_norm" in sets["multipartite_untrained"]
    for name, columns in sets.items():
        if name.endswith("_untrained"):
            assert not {"energy", "rolled__entropy_mean"} & set(columns), name


def test_metrics_of_a_category_of_ones_own_are_in_the_sets(everything, monkeypatch):
    monkeypatch.setattr(METRICS, "_entries", dict(METRICS._entries))
    monkeypatch.setattr(CATEGORIES, "_entries", dict(CATEGORIES._entries))
    category("extremes", "The nodes that stand out.")
    metric("hubs", category="extremes")(lambda view: 0.0)
    values = np.random.default_rng(1).uniform(size=(2, 4))
    sets = feature_sets(everything.assign(hubs=values[0], rolled__hubs_mean=values[1]))
    assert "hubs" in sets["multipartite_untrained"] and "rolled__hubs_mean" in sets["rolled_untrained"]


def test_a_column_that_no_metric_fills_is_in_no_set(everything):
    values = np.random.default_rng(1).uniform(size=(3, 4))
    table = everything.assign(seconds_backup=values[0], calibration=values[1], rolled__calibration_mean=values[2])
    assert not {"calibration", "rolled__calibration_mean", "seconds_backup"} & set(chain(*feature_sets(table).values()))
    assert not {"calibration", "rolled__calibration_mean", "seconds_backup"} & set(metric_columns(table))


def test_an_encoding_of_ones_own_makes_a_set(everything):
    table = everything.assign(**{f"fan__{c}_mean": everything[f"rolled__{c}_mean"] for c in ("k_core", "cut_nodes")})
    sets = feature_sets(table)
    assert sorted(sets["fan"]) == ["fan__cut_nodes_mean", "fan__k_core_mean"]
    assert list(sets).index("fan") > list(sets).index("unrolled")
    assert encodings_of(sets) == ["rolled", "rolled_channel", "unrolled", "fan"]
