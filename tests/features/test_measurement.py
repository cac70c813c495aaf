"""`measure`: a hand-worked example, its columns, its reasons and its refusals."""

from __future__ import annotations

import copy
import re

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from tests.features.graphs import graphs, layers, random_block, random_graph, random_layer
from topo.encoding.graph import BipartiteGraph, Block, LayerGraphs, MultipartiteGraph, Part
from topo.errors import InputError
from topo.features import CATEGORIES, METRICS, GraphView, column_names, measure, measure_layers
from topo.features.registry import category, columns_of, metric


@pytest.fixture
def worked() -> MultipartiteGraph:
    """Inputs 0 1 2 (2 isolated), hidden 3 4 5 (4 a sink, 5 a source), output 6."""
    parts = [
        Part("input", (3,), 0, 0, "input"),
        Part("hidden", (3,), 1, 3),
        Part("output", (1,), 2, 6, "output"),
    ]
    first = sparse.csr_array(np.float32([[1, 0, 0], [2, 0.5, 0], [0, 0, 0]]))
    second = sparse.csr_array(np.float32([[3], [0], [1]]))
    facts = {"weights_total": 12, "weights_kept": 5, "weights_effective": 3}
    return MultipartiteGraph(parts, [Block(0, 1, first), Block(1, 2, second)], facts)


def test_worked_by_hand(worked: MultipartiteGraph) -> None:
    row = measure(worked)
    expected = {
        "nodes": 7,
        "edges": 5,
        "density": 5 / 42,
        "mean_degree": 10 / 7,
        "max_degree": 3,
        "max_in_degree": 2,
        "sink_nodes": 1,
        "sink_nodes_norm": 1 / 7,
        "source_nodes": 1,
        "disconnected_nodes": 1,
        "removable_out": 1,
        "removable_out_norm": 1 / 5,
        "removable_in": 1,
        "one_hop": 12 / 7,
        "one_hop_norm": 12 / 35,
        "two_hop": 2,
        "motifs": 5,
        "strength": 15 / 7,
        "k_core": 6 / 7,
        "k_core_norm": 6 / 35,
        "cut_edges": 5,
        "cut_nodes": 3,
        "cut_nodes_norm": 3 / 7,
        "connected_components": 2,
        "mean_component_size": 3.5,
        "mean_component_size_norm": 0.5,
        "n_paths": 2,
        "log10_paths": np.log10(2),
        "effective_edges": 3,
        "effective_edges_norm": 3 / 5,
        "direct_sparsity": 7 / 12,
        "effective_sparsity": 9 / 12,
    }
    assert row[list(expected)].to_dict() == pytest.approx(expected)
    assert row.attrs["undefined"] == {}


def test_row_is_tidy_and_in_the_order_of_categories(worked: MultipartiteGraph) -> None:
    row = measure(worked)
    assert list(row.index) == column_names()
    assert row.index.is_unique and row.dtype == np.float64
    families = [METRICS.entry(name).family for name in METRICS if METRICS.entry(name).info["encodings"] != "layers"]
    asked = {name for name in CATEGORIES if not CATEGORIES.entry(name).info["by_default"]}
    assert set(families) == set(CATEGORIES) - {"ramanujan", "width"}
    assert not asked & {METRICS.entry(c.removesuffix("_norm")).family for c in row.index if c in METRICS}
    everything = measure(worked, metrics="all")
    pd.testing.assert_series_equal(everything[row.index], row)
    pd.testing.assert_series_equal(measure(worked, metrics=["default", *asked - {"width"}]), everything)
    assert not any(column.startswith("imdb") for column in row.index)
    assert list(measure(random_layer(5, 5, 0.5, 0)).index)[-5:] == [
        "delta_r",
        "delta_s",
        "delta_s_relative",
        "imdb",
        "iwsg",
    ]


def test_chosen_metrics_columns_and_categories(worked: MultipartiteGraph) -> None:
    assert list(measure(worked, metrics=["cut_edges", "nodes"]).index) == ["nodes", "cut_edges", "cut_edges_norm"]
    assert list(measure(worked, metrics="sparsity").index) == ["direct_sparsity", "effective_sparsity"]
    assert "max_degree" in measure(worked, metrics=["max_degree"]).index
    assert list(measure(worked, metrics=["n_paths"]).index) == ["n_paths", "log10_paths"]
    everything = measure(worked)
    for name in list(CATEGORIES)[: list(CATEGORIES).index("ramanujan")]:
        part = measure(worked, metrics=name)
        pd.testing.assert_series_equal(part, everything[part.index])


def test_measuring_twice_is_the_same_and_changes_nothing() -> None:
    graph = random_graph([300, 500, 400], 0.02, 0)
    before = [(b.matrix.indptr.copy(), b.matrix.indices.copy(), b.matrix.data.copy()) for b in graph.blocks]
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    assert measure(graph).equals(measure(graph))
    assert np.array_equal(np.random.get_state()[1], state)  # noqa: NPY002
    for block, arrays in zip(graph.blocks, before, strict=True):
        for now, then in zip((block.matrix.indptr, block.matrix.indices, block.matrix.data), arrays, strict=True):
            assert np.array_equal(now, then)


@given(graphs)
def test_bounds_that_hold_for_every_graph(graph: MultipartiteGraph) -> None:
    row = measure(graph)
    assert 0 <= row["effective_edges"] <= row["edges"]
    assert row["edges"] - row["effective_edges"] >= max(row["removable_out"], row["removable_in"])
    assert row["one_hop"] <= row["two_hop"] <= row["nodes"]
    assert row["cut_edges"] <= row["nodes"] - row["connected_components"]
    assert row["connected_components"] >= max(1, row["disconnected_nodes"])
    assert not row["spectral_gap"] < -1e-9 and not row["spectral_radius"] < -1e-9


def test_no_edge_is_a_row_with_reasons() -> None:
    parts = [Part("a", (3,), 0, 0, "input"), Part("b", (2,), 1, 3, "output")]
    empty = sparse.csr_array((3, 2), dtype=np.float32)
    for blocks in ([], [Block(0, 1, empty)]):
        row = measure(MultipartiteGraph(parts, blocks))
        assert row[["nodes", "edges", "disconnected_nodes", "connected_components", "n_paths"]].tolist() == [
            5,
            0,
            5,
            5,
            0,
        ]
        assert row.attrs["undefined"]["motifs_norm"] == "the graph has no edge to divide by"
        assert row.attrs["undefined"]["spectral_gap"] == "the graph has no edge"
        assert set(row.attrs["undefined"]) == set(row.index[row.isna()])
    row = measure(BipartiteGraph(empty))
    assert row.attrs["undefined"]["delta_r"] == row.attrs["undefined"]["imdb"] == "the layer has no edge"


def test_no_input_or_output_part_is_a_reason() -> None:
    parts = [Part("a", (2,), 0, 0), Part("b", (2,), 1, 2)]
    graph = MultipartiteGraph(parts, [Block(0, 1, sparse.csr_array(np.ones((2, 2), np.float32)))])
    reasons = measure(graph).attrs["undefined"]
    for column in ("sink_nodes", "removable_out", "source_nodes", "removable_in", "n_paths", "effective_edges_norm"):
        assert "role" in reasons[column]


def test_weights_that_are_not_finite_are_a_reason() -> None:
    for size in (4, 500):
        weights = np.ones((size, size), np.float32)
        expected = measure(
            BipartiteGraph(sparse.csr_array(weights)), metrics=["k_core", "motifs", "cut_nodes", "delta_r"]
        )
        for wrong in (np.nan, np.inf):
            weights[0, 1] = wrong
            row = measure(BipartiteGraph(sparse.csr_array(weights)))
            assert row[expected.index].to_numpy() == pytest.approx(expected.to_numpy())
            for column in ("strength", "spectral_gap", "spectral_radius", "iwsg"):
                assert np.isnan(row[column]) and "finite" in row.attrs["undefined"][column]


def test_density_of_a_layer_divides_by_its_pairs_of_a_left_and_a_right_node() -> None:
    layer = np.float32([[1, 0, 2], [0.5, 0, 1]])
    assert measure(BipartiteGraph(sparse.csr_array(layer)), metrics="density")["density"] == 4 / 6
    halves = measure(
        LayerGraphs({"a": BipartiteGraph(sparse.csr_array(layer)), "b": BipartiteGraph(sparse.csr_array(layer[:1]))}),
        metrics="density",
    )
    assert halves["density_mean"] == pytest.approx(2 / 3) and halves["density_weighted"] == pytest.approx(2 / 3)


@given(st.integers(1, 9), st.integers(1, 9), st.data())
def test_a_dense_layer_has_density_one_and_each_edge_counts_the_same(
    left: int, right: int, data: st.DataObject
) -> None:
    kept = data.draw(st.integers(0, left * right))
    matrix = np.zeros(left * right, np.float32)
    matrix[:kept] = 1
    graph = BipartiteGraph(sparse.csr_array(matrix.reshape(left, right)))
    assert measure(graph, metrics=["density"])["density"] == kept / (left * right)


def test_one_node() -> None:
    row = measure(MultipartiteGraph([Part("a", (1,), 0, 0, "input")], []))
    assert row["nodes"] == 1 and "pairs" in row.attrs["undefined"]["density"]


def test_refusals(worked: MultipartiteGraph) -> None:
    with pytest.raises(InputError, match=r"ndarray is not a graph; pass what topo\.encode"):
        measure(np.eye(3))
    with pytest.raises(InputError, match="did you mean 'motifs'"):
        measure(worked, metrics=["motif"])
    with pytest.raises(InputError, match="did you mean 'neighbourhood'"):
        measure(worked, metrics="neighborhood")
    with pytest.raises(InputError, match="metrics is empty"):
        measure(worked, metrics=[])
    with pytest.raises(InputError, match="did you mean 'min_nodes'"):
        measure(worked, imdb_rule="min_node")
    with pytest.raises(InputError, match="no node"):
        measure(MultipartiteGraph([], []))
    with pytest.raises(InputError, match="no layer"):
        measure(LayerGraphs({}))
    with pytest.raises(InputError, match="not a collection of layer graphs"):
        measure_layers(worked)
    with pytest.raises(InputError, match="unknown category 'globl'; did you mean 'global'"):
        metric("x", category="globl")


def test_layers_are_aggregated() -> None:
    rng = np.random.default_rng(0)
    matrices = [random_block(shape, 0.4, rng) for shape in ((8, 6), (6, 9), (9, 3))]
    facts = [{"weights_total": 48}, {"weights_total": 54}, {"weights_total": 27}]
    layers = [BipartiteGraph(matrix, attributes=fact) for matrix, fact in zip(matrices, facts, strict=True)]
    graphs = LayerGraphs({f"layer{i}": layer for i, layer in enumerate(layers)})
    table, row = measure_layers(graphs), measure(graphs)
    assert list(table.index) == ["layer0", "layer1", "layer2"]
    for name, graph in graphs.items():
        pd.testing.assert_series_equal(table.loc[name], measure(graph), check_names=False)
    assert list(row.index) == column_names(layers=True)
    weights = np.array([48, 54, 27])
    for column in ("motifs", "cut_edges_norm", "spectral_gap"):
        values = table[column].to_numpy()
        expected = [values.mean(), values.min(), values.max(), (values * weights).sum() / weights.sum()]
        aggregates = [row[f"{column}_{name}"] for name in ("mean", "min", "max", "weighted")]
        assert aggregates == pytest.approx(expected)


def test_layers_without_a_value_are_left_out_by_name() -> None:
    empty = BipartiteGraph(sparse.csr_array((4, 4), dtype=np.float32))
    full = BipartiteGraph(sparse.csr_array(np.ones((4, 5), np.float32)))
    row = measure(LayerGraphs({"full": full, "empty": empty}))
    alone = measure(full)
    assert row["delta_r_mean"] == row["delta_r_weighted"] == alone["delta_r"]
    assert row["disconnected_nodes_mean"] == 4 and row["disconnected_nodes_weighted"] == 0
    assert row.attrs["left_out"]["delta_r"] == ["empty"] and "nodes" not in row.attrs["left_out"]
    assert "does not know" in row.attrs["undefined"]["direct_sparsity_mean"]
    assert set(row.attrs["undefined"]) == set(row.index[row.isna()])
    collapsed = measure(LayerGraphs({"one": empty}))
    assert collapsed.attrs["undefined"]["imdb_mean"] == "in no layer; in 'one': the layer has no edge"
    assert collapsed.attrs["undefined"]["nodes_weighted"] == "the layers have no weight"


@given(layers)
def test_undefined_columns_always_have_a_reason(graph: BipartiteGraph) -> None:
    for item in (graph, LayerGraphs({"a": graph, "b": graph})):
        row = measure(item)
        assert set(row.attrs["undefined"]) == set(row.index[row.isna()])
        assert all(row.attrs["undefined"].values())


def test_a_new_metric_is_one_function(worked: MultipartiteGraph, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(METRICS, "_entries", dict(METRICS._entries))

    @metric("hubs", category="general", per="nodes")
    def hubs(view: GraphView) -> float:
        """Nodes with at least three edges."""
        return int((view.degree >= 3).sum())

    row = measure(worked, metrics="hubs")
    assert row.to_dict() == {"hubs": 1.0, "hubs_norm": 1 / 7}


def test_a_category_is_one_registration(worked: MultipartiteGraph, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(METRICS, "_entries", dict(METRICS._entries))
    monkeypatch.setattr(CATEGORIES, "_entries", dict(CATEGORIES._entries))
    with pytest.raises(InputError, match="unknown category 'motion'"):
        metric("hubs", category="motion")
    category("motion", "How fast it goes.")

    @metric("hubs", category="motion")
    def hubs(view: GraphView) -> float:
        """Nodes with at least three edges."""
        return int((view.degree >= 3).sum())

    assert measure(worked, metrics="motion").to_dict() == {"hubs": 1.0}
    assert list(measure(worked).index)[-1] == "hubs"


@pytest.mark.parametrize(
    ("value", "columns", "sentence"),
    [
        (None, (), "metric 'own' returned None; it must return a number, or raise Undefined"),
        ("7", (), "returned a str; it must return a number"),
        (np.ones(3), (), "returned a ndarray of shape (3,); it must return a number"),
        (torch.tensor(1.0), (), "returned a Tensor of shape (); it must return a number"),
        (1j, (), "returned a complex; it must"),
        (True, (), "returned a bool; it must"),
        ({"a": 1.0}, (), "returned values for 'a', but declares 'own'"),
        ({}, ("a",), "returned values for no column, but declares 'a'"),
        ({"a": 1.0, "c": 2.0}, ("a", "b"), "returned values for 'a', 'c', but declares 'a', 'b'"),
        (3.0, ("a", "b"), "returned a float; it declares the columns 'a', 'b', so it must return a dict"),
        ({"a": 1.0, "b": None}, ("a", "b"), "returned None for column 'b'; it must return a number"),
    ],
)
def test_what_a_metric_returns_is_checked(
    value: object, columns: tuple[str, ...], sentence: str, worked: MultipartiteGraph, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(METRICS, "_entries", dict(METRICS._entries))
    metric("own", category="general", columns=columns)(lambda view: value)
    with pytest.raises(InputError, match=re.escape(sentence)):
        measure(worked, metrics="own")


@pytest.mark.parametrize(
    ("facts", "sentence"),
    [
        ({"category": "generel"}, "did you mean 'general'"),
        ({"category": "general", "per": "node"}, "did you mean 'nodes'"),
        ({"category": "general", "encodings": "layer"}, "did you mean 'layers'"),
        ({"category": "general", "columns": ("my__own",)}, "two underscores in a row"),
        ({"category": "general", "columns": ("edges", "own")}, "column 'edges' of metric 'own' is filled by metric"),
        ({"category": "general", "columns": ("sink_nodes_norm",)}, "is filled by metric 'sink_nodes' already"),
        ({"category": "general", "columns": ("a", "a_norm"), "per": "nodes"}, "names a column twice: a, a_norm"),
        ({"category": "general", "columns": "ab"}, "must be a list of names; got 'ab'"),
        ({"category": "general", "reads_weights": ["x"]}, "unknown column of metric 'own' 'x'"),
    ],
)
def test_declarations_are_checked(facts: dict[str, object], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        metric("own", **facts)


def test_a_metric_that_fails_is_named(worked: MultipartiteGraph, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(METRICS, "_entries", dict(METRICS._entries))
    metric("own", category="general")(lambda view: view.degrees)
    for graph in (worked, LayerGraphs({"a": BipartiteGraph(sparse.csr_array(np.eye(2, dtype=np.float32)))})):
        with pytest.raises(InputError, match=r"metric 'own' failed with AttributeError: .* no attribute 'degrees'"):
            measure(graph, metrics="own")


def test_a_metric_that_fails_may_be_undefined_and_the_others_measured(
    worked: MultipartiteGraph, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(METRICS, "_entries", dict(METRICS._entries))

    def own(view: GraphView) -> float:
        if view.n_nodes > 4:
            raise MemoryError
        if view.n_nodes == 4:
            raise KeyError("width")
        return 1.0

    metric("own", category="general", per="nodes")(own)
    sides = [BipartiteGraph(sparse.csr_array(np.eye(n, dtype=np.float32))) for n in (1, 2)]
    layers = LayerGraphs({"a": sides[0], "b": sides[1]})
    row = measure(layers, metrics=["own", "nodes"], on_failure="undefined")
    # Of the layers together there is no value either, though the metric has one in the first.
    assert np.isnan(row["own_mean"]) and np.isnan(row["own_norm_min"]) and row["nodes_mean"] == 3
    assert row.attrs["undefined"]["own_mean"] == "in 'b': metric 'own' failed with KeyError: 'width'"
    with pytest.raises(MemoryError):
        measure(worked, metrics="own", on_failure="undefined")
    with pytest.raises(InputError, match="on_failure"):
        measure(worked, metrics="own", on_failure="ignore")


def test_metrics_that_read_weights_say_so(worked: MultipartiteGraph) -> None:
    rng = np.random.default_rng(0)
    pattern = rng.permuted(np.tile([1, 1, 1, 1, 0, 0, 0, 0, 0], (12, 1)), axis=1).astype(np.float32)
    layer = BipartiteGraph(sparse.csr_array(pattern))
    for graph in (random_graph([20, 30, 25], 0.2, 0), layer):
        other = copy.deepcopy(graph)
        for block in other.blocks:
            block.matrix.data[:] = rng.uniform(0.5, 2.0, block.matrix.nnz)
        before, after = measure(graph), measure(other)
        changed = {c for c in before.index if before[c] != after[c] and not (pd.isna(before[c]) and pd.isna(after[c]))}
        reading = {
            c for e in METRICS.entries() for c in columns_of(e) if c.removesuffix("_norm") in e.info["reads_weights"]
        }
        assert changed == reading & set(before.index)
