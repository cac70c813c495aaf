"""`Topometrics` keeps the promises of a scikit-learn transformer."""

from __future__ import annotations

import re
from time import sleep

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline

import topo
from tests.features.graphs import random_graph, random_layer
from topo.dag import tracing
from topo.encoding.graph import LayerGraphs, MultipartiteGraph
from topo.errors import InputError
from topo.features import Topometrics, column_names, measure


@pytest.fixture
def batch() -> list[MultipartiteGraph]:
    return [random_graph([5, 8, 4], 0.3, seed) for seed in range(3)]


def test_rows_are_those_of_measure(batch: list[MultipartiteGraph]) -> None:
    table = Topometrics().fit_transform(batch)
    assert list(table.columns) == column_names() == list(Topometrics().get_feature_names_out())
    for i, graph in enumerate(batch):
        pd.testing.assert_series_equal(table.loc[i], measure(graph), check_names=False)
        assert table.attrs["undefined"][i] == measure(graph).attrs["undefined"]


def test_threads_give_the_same(batch: list[MultipartiteGraph]) -> None:
    threads = torch.get_num_threads()
    alone, many = (Topometrics(metrics=["local", "spectral_gap"], n_jobs=n).transform(batch) for n in (None, 2))
    pd.testing.assert_frame_equal(alone, many)
    assert torch.get_num_threads() == threads


def test_threads_share_a_trace_and_leave_the_model_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    model = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.Dropout(), torch.nn.Linear(3, 2)).train()
    exported: list[object] = []
    export = tracing.export

    def slow(*arguments: object) -> object:
        exported.append(arguments)
        sleep(0.05)
        assert not any(module.training for module in model.modules())
        return export(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(tracing, "export", slow)
    items = [(model, {"0.weight": torch.rand(3, 4) > 0.5}) for _ in range(6)]
    table = Topometrics(metrics="edges", example=(4,), n_jobs=3).transform(items)
    assert table["edges"].tolist() == [int(masks["0.weight"].sum()) + 6 for _, masks in items]
    assert len(exported) == 1 and all(module.training for module in model.modules())


def test_names_are_the_index(batch: list[MultipartiteGraph]) -> None:
    table = Topometrics(metrics="spectral_gap").transform(dict(zip("abc", batch, strict=True)))
    assert list(table.index) == ["a", "b", "c"]
    pd.testing.assert_frame_equal(
        Topometrics(metrics="spectral_gap").transform(pd.Series(batch, index=[*"abc"])), table
    )
    failing = {"good": batch[0], "bad": MultipartiteGraph([], [])}
    with pytest.warns(RuntimeWarning, match=r"1 of 2 items failed, a row of NaN each; 'bad': InputError: .*no node"):
        table = Topometrics(metrics="nodes", errors="nan", n_jobs=2).transform(failing)
    assert table.attrs["failed"].keys() == {"bad"} and table.loc["bad"].isna().all()


def test_how_far_it_has_come(batch: list[MultipartiteGraph], caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", logger="topo"):
        Topometrics(metrics="nodes").transform(batch)
        assert caplog.messages == []
        Topometrics(metrics="nodes", verbose=True).transform(batch)
    assert caplog.messages == ["3/3 graphs"]


def test_clone_pipeline_and_set_output(batch: list[MultipartiteGraph]) -> None:
    transformer = Topometrics(metrics="general")
    assert clone(transformer).get_params() == transformer.get_params()
    filled = make_pipeline(transformer, SimpleImputer()).fit_transform(batch)
    assert filled.shape[0] == 3
    framed = make_pipeline(clone(transformer), SimpleImputer()).set_output(transform="pandas").fit_transform(batch)
    assert isinstance(framed, pd.DataFrame) and np.allclose(framed, filled)


def test_empty_batch() -> None:
    assert Topometrics(metrics="nodes").transform([]).shape == (0, 1)


def test_a_network_that_fails_is_a_row_of_nan(batch: list[MultipartiteGraph]) -> None:
    empty, network = MultipartiteGraph([], []), (MODEL, {"weights": torch.ones(2, 3)})
    transformer = Topometrics(metrics=["nodes", "edges"], example=(3,), errors="nan")
    with pytest.warns(RuntimeWarning, match="2 of 3 items failed"):
        table = transformer.transform([batch[0], empty, network])
    assert table.isna().all(axis=1).tolist() == [False, True, True]
    assert "no node" in table.attrs["failed"][1]
    assert "did you mean 'weight'" in table.attrs["failed"][2]
    with pytest.raises(InputError, match="item 1: the graph has no node"):
        Topometrics().transform([batch[0], empty])
    with pytest.raises(InputError, match="'three': the graph has no node"):
        Topometrics().transform({"one": batch[0], "three": empty})
    with pytest.raises(InputError, match="'three' is a str"):
        Topometrics().transform({"one": batch[0], "three": "graph"})


MODEL = torch.nn.Linear(3, 2)
LAYERS = LayerGraphs({"a": random_layer(4, 5, 0.5, 0)})


@pytest.mark.parametrize("errors", ["nan", "raise"])
@pytest.mark.parametrize(
    ("items", "settings", "sentence"),
    [
        ([MODEL], {}, "item 0 is a Linear; give graphs that topo.encode returns, or (model, masks) pairs"),
        (["graph"], {}, "item 0 is a str; give graphs"),
        ([(MODEL, None, (3,))], {}, "item 0 is a tuple of Linear, NoneType, tuple; give"),
        ([(MODEL, "masks.safetensors")], {}, "item 0 is a tuple of Linear, str; give"),
        ([(LAYERS, None)], {}, "item 0 is a tuple of LayerGraphs, NoneType; give"),
        ([LAYERS], {}, "item 0 is a LayerGraphs, but encoding 'multipartite' makes MultipartiteGraph; set encoding"),
        ([random_graph([3, 2], 0.5, 0)], {"encoding": "rolled"}, "encoding 'rolled' makes LayerGraphs; set encoding"),
        ([(MODEL, None)], {}, "the model of item 0 is not traced, so that Topometrics needs example="),
        (MODEL, {}, "not one Linear"),
        (torch.nn.Sequential(MODEL), {}, "not one Sequential"),
        ((MODEL, None), {}, "not one pair: [(model, masks)]"),
        ([(MODEL, None)], {"encode_options": {"max_edge": 3}}, "did you mean 'max_edges'"),
        ([LAYERS], {"encoding": "rolled", "imdb_rule": "min_node"}, "did you mean 'min_nodes'"),
    ],
)
def test_a_batch_of_something_else_is_refused(
    items: object, settings: dict[str, object], sentence: str, errors: str
) -> None:
    with pytest.raises(InputError, match=re.escape(sentence)):
        Topometrics(errors=errors, **settings).transform(items)


def test_a_batch_is_checked_before_any_of_it_is_measured(
    batch: list[MultipartiteGraph], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("topo.features.transformer.measure", pytest.fail)
    with pytest.raises(InputError, match="item 3 is a str"):
        Topometrics(errors="raise").transform([*batch, "graph"])
    monkeypatch.undo()
    assert len(Topometrics(metrics="nodes").transform(iter(batch))) == 3
    with pytest.raises(InputError, match="item 3 is a str"):
        Topometrics(metrics="nodes").transform(iter([*batch, "graph"]))


def test_layer_graphs() -> None:
    items = [LayerGraphs({"a": random_layer(4, 5, 0.5, s), "b": random_layer(5, 6, 0.5, s)}) for s in range(2)]
    table = Topometrics("rolled", metrics=["imdb", "nodes"]).fit_transform(items)
    assert list(table.columns[:4]) == ["nodes_mean", "nodes_min", "nodes_max", "nodes_weighted"]
    assert table["nodes_mean"].tolist() == [10.0, 10.0]


def test_networks_are_encoded() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(4, 6), torch.nn.ReLU(), torch.nn.Linear(6, 3))
    masks = {"0.weight": torch.eye(6, 4, dtype=torch.bool), "2.weight": torch.ones(3, 6, dtype=torch.bool)}
    table = Topometrics(metrics=["nodes", "edges"], example=(4,)).transform([(model, masks)])
    assert table.to_numpy().tolist() == [[13.0, 22.0]]
    rolled = Topometrics("rolled", metrics="edges", example=(4,)).transform([(model, masks)])
    assert rolled["edges_max"].tolist() == [18.0]
    graph = topo.encode(model, masks, example=(4,))
    assert Topometrics(metrics="edges").transform([graph])["edges"].tolist() == [22.0]


def test_refusals(batch: list[MultipartiteGraph]) -> None:
    for items in (batch[0], "graphs", 3, LAYERS):
        with pytest.raises(InputError, match="pass a list of graphs"):
            Topometrics().transform(items)
    with pytest.raises(InputError, match="did you mean 'rolled'"):
        Topometrics("roled").fit(batch)
    with pytest.raises(InputError, match="did you mean 'raise'"):
        Topometrics(errors="rais").fit(batch)
    with pytest.raises(InputError, match="unknown metric"):
        Topometrics(metrics=["zzz"]).fit(batch)


class Gated(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = torch.nn.Linear(4, 3), torch.nn.Linear(2, 3)

    def forward(self, x: torch.Tensor, gate: torch.Tensor) -> torch.Tensor:
        return self.a(x) * self.b(gate)


@pytest.mark.parametrize(
    "example", [((4,), (2,)), (torch.zeros(1, 4), torch.zeros(1, 2)), {"x": (4,), "gate": torch.zeros(1, 2)}]
)
def test_networks_of_several_inputs(example: object) -> None:
    model = Gated()
    masks = {"a.weight": torch.ones(3, 4, dtype=torch.bool), "b.weight": torch.eye(3, 2, dtype=torch.bool)}
    table = Topometrics(metrics="edges", example=example).transform([(model, masks)])
    traced = Topometrics(metrics="edges").transform([(topo.trace(model, example), masks)])
    assert table["edges"].tolist() == traced["edges"].tolist()
    nodes = {part.name for part in topo.encode(model, masks, example=example).parts}
    assert {"x", "gate"} <= nodes
