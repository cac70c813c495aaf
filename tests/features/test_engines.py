"""Measured without edges, a network has the same metrics as its graph, or none, with the reason."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from time import sleep

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn

import topo
from tests.zoo import SMALL, small
from topo import memory
from topo.dag.maps import AxisMaps, Gather, Weight
from topo.dag.structure import structure
from topo.encoding.adjacency import Adjacency
from topo.encoding.routes import estimated_edges, has_unique_routes
from topo.errors import InputError
from topo.features import GraphView, Topometrics, measurement

EDGELESS = ["general", "local", "one_hop", "strength", "expansion", "paths", "sparsity"]
SPECTRA = ["spectral_gap", "spectral_radius"]


def random_masks(model: nn.Module, density: float, example: object = None) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        name: torch.rand(weight.shape, generator=generator) < density
        for name, weight in topo.masks.prunable_parameters(model, example=example).items()
    }


def assert_engines_agree(model: nn.Module, example: object, density: float, **options: str) -> pd.Series:
    masks = random_masks(model, density, example)
    settings = {"example": example, "options": options, "metrics": EDGELESS, "device": "cpu"}
    edges = topo.measure(model, masks, engine="edges", **settings)
    without = topo.measure(model, masks, engine="structure", **settings)
    pd.testing.assert_index_equal(edges.index, without.index)
    columns = edges.index.difference([*SPECTRA, "strength", "strength_norm"])
    shared = [name for name in columns if name not in ("k_core", "k_core_norm")]
    pd.testing.assert_series_equal(without[shared], edges[shared], rtol=0, atol=0, check_exact=True)
    rest = [*SPECTRA, "strength"]
    largest = max(edges["spectral_radius"], 1e-9) if edges["edges"] else 1.0
    np.testing.assert_allclose(without[rest], edges[rest], rtol=1e-5, atol=1e-5 * largest)
    assert edges.attrs["engine"] == "edges" and without.attrs["engine"] == "structure"
    assert "needs the edges" in without.attrs["undefined"]["k_core"]
    return without


@pytest.mark.parametrize("density", [0.0, 0.15, 0.6])
@pytest.mark.parametrize("name", ["digits-cnn", "digits-mlp"])
def test_networks_of_the_toolkit(name: str, density: float) -> None:
    assert_engines_agree(topo.models.build(name, input_shape=(1, 8, 8), seed=1), (1, 8, 8), density)


@pytest.mark.filterwarnings("ignore:pruning")
@pytest.mark.parametrize("name", SMALL)
def test_small_networks(name: str) -> None:
    """Skips, concatenations, pooling, groups, attention: whatever the zoo has and the encoding takes."""
    model, inputs = small(name)
    example = tuple(x[:1] for x in inputs)
    masks = random_masks(model, 0.7, example)
    try:
        graph = topo.encode(model, masks, example=example)
    except InputError:
        pytest.skip("has no multipartite graph")
    dag = topo.trace(model, example).single()
    adjacency = Adjacency(structure(dag, masks))
    assert adjacency.parts == list(graph.parts)
    matrix = graph.adjacency().astype(np.float64)
    pattern = matrix.copy()
    pattern.data[:] = 1
    x = np.random.default_rng(0).integers(0, 9, graph.n_nodes).astype(np.float64)
    for products, expected in ((adjacency.pattern, pattern), (adjacency.weighted, matrix)):
        np.testing.assert_allclose(products.into(x), expected.T @ x, rtol=1e-6, atol=1e-9)
        np.testing.assert_allclose(products.out_of(x), expected @ x, rtol=1e-6, atol=1e-9)
    assert (adjacency.pattern.into(x) == pattern.T @ x).all() and (adjacency.pattern.out_of(x) == pattern @ x).all()
    assert estimated_edges(structure(dag, masks)) >= graph.n_edges


class Overlapping(nn.Module):
    """Windows that overlap before layers of several kinds, and a skip around one layer."""

    def __init__(self, after: nn.Module) -> None:
        super().__init__()
        self.stem, self.pool, self.after = nn.Conv2d(2, 4, 3, padding=1), nn.MaxPool2d(3, 2, 1), after
        self.same, self.head = nn.Conv2d(4, 4, 3, padding=1), nn.LazyLinear(3)

    def forward(self, x: Tensor) -> Tensor:
        z = self.after(self.pool(self.stem(x)))
        return self.head(torch.flatten(z + self.same(z), 1))


@pytest.mark.parametrize(
    ("after", "built"),
    [
        (nn.Conv2d(4, 4, 1), 1),
        (nn.Conv2d(4, 4, 1, stride=2, groups=2), 1),
        (nn.Conv2d(4, 4, 3, padding=1, groups=4), 2),
        (nn.Sequential(nn.AvgPool2d(2, 1), nn.Conv2d(4, 4, 1)), 2),
        (nn.Conv2d(4, 4, 2, dilation=2, padding=1), 2),
    ],
)
@pytest.mark.parametrize("options", [{}, {"weights": "mean"}, {"skips": "projection"}, {"pooling": "node"}])
def test_edges_that_arise_in_several_ways_count_once(after: nn.Module, built: int, options: dict[str, str]) -> None:
    model = Overlapping(after)
    model(torch.zeros(1, 2, 9, 9))
    without = assert_engines_agree(model, (2, 9, 9), 0.8, **options)
    if not options:
        adjacency = Adjacency(structure(topo.trace(model, (2, 9, 9)).single()))
        assert len(adjacency.blocks) == built and without["edges"] > 0


def test_unique_routes_are_seen() -> None:
    window = Weight(torch.ones(2, 3), torch.tensor([[True, True, False], [False, True, True]]))
    pool, spread = AxisMaps((3,), (2,), ((0, window),)), Gather((2,), (4,), np.array([0, 0, 1, 1]))
    assert has_unique_routes([pool]) and has_unique_routes([pool, spread]) and has_unique_routes([spread])
    assert not has_unique_routes([pool, AxisMaps((2,), (3,), ((0, Weight(window.magnitude.T, window.kept.T)),))])


def test_auto_takes_the_engine_that_fits(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    net = topo.models.build("digits-mlp", input_shape=(1, 8, 8), seed=0)
    settings = {"example": (1, 8, 8), "metrics": ["edges"]}
    assert topo.measure(net, **settings).attrs["engine"] == "edges"
    monkeypatch.setattr(memory, "available_memory", lambda: 1 << 17)
    with caplog.at_level("INFO", logger="topo"):
        row = topo.measure(net, **settings)
    assert row.attrs["engine"] == "structure" and row["edges"] == topo.encode(net, example=(1, 8, 8)).n_edges
    assert "6,464 edges" in caplog.text and "engine='structure'" in caplog.text
    monkeypatch.undo()
    assert topo.measure(net, options={"max_edges": 10}, **settings).attrs["engine"] == "structure"


def test_graphs_that_do_not_fit_are_refused_before_they_are_built(monkeypatch: pytest.MonkeyPatch) -> None:
    net = topo.models.build("digits-mlp", input_shape=(1, 8, 8), seed=0)
    monkeypatch.setattr("topo.encoding.encoder.available_memory", lambda: 1 << 16)
    monkeypatch.setattr("topo.encoding.multipartite._blocks", pytest.fail)
    with pytest.raises(InputError, match=r"170 nodes and about 6,464 edges, which take .* engine='structure'"):
        topo.encode(net, example=(1, 8, 8))
    with pytest.raises(
        InputError, match=r"layers have about 6,464 edges, which take .* 'rolled' .* engine='structure'"
    ):
        topo.encode(net, example=(1, 8, 8), encoding="unrolled")
    monkeypatch.undo()
    monkeypatch.setattr("topo.encoding.encoder.MOST_EDGES", 6000)
    with pytest.raises(InputError, match=r"about 6,464 edges, and the indices of a graph end at 6,000: .*'structure'"):
        topo.encode(net, example=(1, 8, 8))


def test_more_elements_than_can_be_numbered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Said before a number is written, by every engine and encoding that depends on them; rolled ones do not."""
    net = nn.Sequential(nn.Conv2d(3, 2, 3))
    with pytest.raises(InputError, match=r"shape \(3, 900000, 900000\) takes .* GiB in all, and .* are left"):
        topo.encode(net, example=(3, 900_000, 900_000))
    dag = topo.trace(net, (3, 8, 8))
    monkeypatch.setattr("topo.encoding.encoder.available_memory", lambda: 1 << 10)
    monkeypatch.setattr("topo.encoding.multipartite.structure", pytest.fail)
    for settings in ({}, {"engine": "structure"}, {"encoding": "unrolled"}):
        with pytest.raises(InputError, match=r"have 264 elements, whose numbers alone take 0.0 MiB, and .* 'rolled'"):
            topo.measure(dag, **settings)
    assert topo.measure(dag, encoding="rolled", metrics="edges")["edges_mean"] == 54
    monkeypatch.setattr("topo.encoding.encoder.available_memory", lambda: 1 << 30)
    monkeypatch.setattr("topo.encoding.encoder.MOST_EDGES", 150)
    with pytest.raises(InputError, match=r"have 264 elements, 192 of them in one, and indices end at 150"):
        topo.measure(dag)


def test_networks_that_do_not_fit_even_without_edges(monkeypatch: pytest.MonkeyPatch) -> None:
    net = topo.models.build("digits-mlp", input_shape=(1, 8, 8), seed=0)
    settings = {"example": (1, 8, 8), "metrics": ["sink_nodes", "spectral_gap"]}
    monkeypatch.setattr("topo.features.structural_view.available_memory", lambda: 1 << 14)
    row = topo.measure(net, engine="structure", **settings)
    assert row["sink_nodes"] == 0
    assert re.fullmatch(
        r"the iteration takes about .* MiB, and 0.0 MiB of .* left", row.attrs["undefined"]["spectral_gap"]
    )
    monkeypatch.setattr(memory, "available_memory", lambda: 1 << 14)
    with pytest.raises(InputError, match=r"has 170 elements, for which engine='structure' takes about .* 'rolled'"):
        topo.measure(net, **settings)


def test_as_many_networks_at_once_as_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of three threads with 45 bytes an edge each no two fit: they take turns, and none goes without edges."""
    net = topo.models.build("digits-mlp", input_shape=(1, 8, 8), seed=0)
    now, most = [0], [0]
    real = measurement.GraphView

    def slow(*arguments: object, **options: object) -> GraphView:
        now[0] += 1
        most[0] = max(most[0], now[0])
        sleep(0.03)
        now[0] -= 1
        return real(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(measurement, "GraphView", slow)
    transformer = Topometrics(metrics="edges", example=(1, 8, 8), n_jobs=3)
    for size, at_once in ((1.5, 1), (10, 3)):
        monkeypatch.setattr(memory, "available_memory", lambda size=size: int(size * 45 * 6464))
        table, most[0] = transformer.transform([(net, None)] * 6), most[0]
        assert most[0] == at_once and table.attrs["engine"] == dict.fromkeys(range(6), "edges")
        most[0] = 0


def test_refusals() -> None:
    net = topo.models.build("digits-mlp", input_shape=(1, 8, 8), seed=0)
    graph = topo.encode(net, example=(1, 8, 8))
    with pytest.raises(InputError, match="did you mean 'structure'"):
        topo.measure(net, example=(1, 8, 8), engine="struct")
    with pytest.raises(InputError, match="measures the encoding 'multipartite', not 'rolled'"):
        topo.measure(net, example=(1, 8, 8), engine="structure", encoding="rolled")
    with pytest.raises(InputError, match="are for networks"):
        topo.measure(graph, engine="structure")
    assert topo.measure(net, example=(1, 8, 8), encoding="rolled", metrics="edges")["edges_max"] > 0
    with pytest.raises(InputError, match="item 0 is a graph; engine='structure' is for"):
        Topometrics(engine="structure").transform([graph])
    with pytest.raises(InputError, match="measures the encoding 'multipartite', not 'rolled'"):
        Topometrics("rolled", engine="structure").fit([])


def test_many_networks_without_edges() -> None:
    net = topo.models.build("digits-mlp", input_shape=(1, 8, 8), seed=0)
    networks = {name: (net, random_masks(net, density, (1, 8, 8))) for name, density in {"a": 0.2, "b": 0.7}.items()}
    settings = {"metrics": ["local", "k_core"], "example": (1, 8, 8)}
    edges = Topometrics(**settings).transform(networks)
    without = Topometrics(**settings, engine="structure", n_jobs=2).transform(networks)
    core = ["k_core", "k_core_norm"]
    pd.testing.assert_frame_equal(edges.drop(columns=core), without.drop(columns=core))
    assert edges.attrs["engine"] == {"a": "edges", "b": "edges"}
    assert without.attrs["engine"] == {"a": "structure", "b": "structure"}
    assert "needs the edges" in without.attrs["undefined"]["a"]["k_core"]
    scores = [topo.z_scores(*networks["a"], n=3, engine=engine, **settings) for engine in ("edges", "structure")]
    pd.testing.assert_frame_equal(scores[0].drop(index="k_core"), scores[1].drop(index="k_core"))


def test_weights_of_any_scale_and_broken_ones() -> None:
    net = nn.Sequential(nn.Conv2d(1, 3, 3), nn.Flatten(), nn.Linear(108, 4))
    settings = {"example": (1, 8, 8), "engine": "structure", "metrics": ["strength", "expansion"]}
    plain = topo.measure(net, **settings)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.mul_(2.0**-90)
    tiny = topo.measure(net, **settings)
    np.testing.assert_allclose(tiny[SPECTRA] * 2.0**90, plain[SPECTRA], rtol=1e-5)
    net[0].weight.data[0] = float("inf")
    assert topo.measure(net, **settings).attrs["undefined"]["spectral_gap"] == "some weights are not finite"


@pytest.mark.parametrize("engine", ["edges", "structure"])
@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
def test_measuring_where_torch_keeps_no_gradients(context: Callable[[], AbstractContextManager], engine: str) -> None:
    """Products against the edges are gradients of products along them."""
    net = nn.Sequential(nn.Conv2d(1, 3, 3), nn.Flatten(), nn.Linear(108, 5))
    settings = {
        "example": (1, 8, 8),
        "engine": engine,
        "device": "cpu",
        "metrics": ["expansion", "sparsity", "degrees"],
    }
    masks = topo.prune(net, "er", sparsity=0.6, example=(1, 8, 8), seed=0)
    expected = topo.measure(net, masks, **settings)
    with context():
        assert topo.measure(net, masks, **settings).equals(expected)
