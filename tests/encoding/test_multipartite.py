"""The multipartite graph joins exactly the elements whose derivatives are not zero, with the right weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import topo
from tests.jacobians import Reference, positive, random_masks
from tests.zoo import NAMED, SMALL, small
from topo.encoding import MultipartiteGraph
from topo.errors import InputError

PRODUCTS = {"gate", "attention", "explicit-attention", "doubling"}


def block(graph: MultipartiteGraph, source: int, target: int) -> np.ndarray:
    """Weights of the edges between two parts, NaN where there is none: (source, target)."""
    dense = np.full((graph.parts[source].size, graph.parts[target].size), np.nan)
    for b in graph.blocks:
        if (b.source, b.target) == (source, target):
            rows = np.repeat(np.arange(dense.shape[0]), np.diff(b.matrix.indptr))
            assert len(set(zip(rows.tolist(), b.matrix.indices.tolist(), strict=True))) == b.matrix.nnz
            dense[rows, b.matrix.indices] = b.matrix.data
    return dense


def assert_exact(model: nn.Module, shapes: tuple[tuple[int, ...], ...], density: float, weights_too: bool) -> None:
    """Every pair of parts, every element."""
    model = positive(model)
    masks = random_masks(model, density)
    dag = topo.trace(model, tuple(torch.zeros(1, *s, dtype=torch.float64) for s in shapes))
    graph = topo.encode(dag, masks, weights="mean")
    reference = Reference(dag, masks, graph)
    assert {i for i, p in enumerate(graph.parts) if p.role == "input"} == set(reference.leaves) - set(reference.results)
    for target in reference.results:
        jacobians = reference.rows(target, list(range(graph.parts[target].size)))
        for source, jacobian in jacobians.items():
            edges = block(graph, source, target)
            assert np.array_equal(~np.isnan(edges), jacobian.numpy().T != 0)
            if weights_too:
                assert np.allclose(np.nan_to_num(edges), jacobian.numpy().T, rtol=1e-5, atol=0)


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("density", [1.0, 0.5])
def test_edges_are_the_nonzero_derivatives(name: str, density: float) -> None:
    model, inputs = small(name)
    assert_exact(model, tuple(tuple(x.shape[1:]) for x in inputs), density, name not in PRODUCTS)


class RandomNet(nn.Module):
    """Convolutions of all sorts with a skip, a concatenation and pooling."""

    def __init__(self, convolutions: list[nn.Module], pool: nn.Module | None, skip: bool, concat: bool) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(convolutions)
        self.pool, self.skip, self.concat = pool, skip, concat
        self.head = nn.LazyLinear(3)

    def forward(self, x: Tensor) -> Tensor:
        for convolution in self.convolutions:
            y = torch.relu(convolution(x))
            if self.skip and y.shape == x.shape:
                y = y + x
            x = y
        if self.concat:
            x = torch.cat([x, F.pad(x[:, :1], (0, 0, 0, 0)) * 2.0, x.flip(2)], dim=1)
        if self.pool is not None:
            x = self.pool(x)
        return self.head(x.flatten(1))


@st.composite
def random_nets(draw: st.DrawFn) -> tuple[nn.Module, tuple[int, int, int]]:
    groups = draw(st.sampled_from([1, 2]))
    channels = 2 * groups
    size = (draw(st.integers(3, 6)), draw(st.integers(3, 6)))
    layers: list[nn.Module] = []
    for _ in range(draw(st.integers(1, 2))):
        kernel = (draw(st.integers(1, 3)), draw(st.integers(1, 3)))
        stride = (draw(st.integers(1, 2)), draw(st.integers(1, 2)))
        padding = (draw(st.integers(0, 2)), draw(st.integers(0, 1)))
        dilation = draw(st.integers(1, 2))
        kind = nn.ConvTranspose2d if draw(st.booleans()) else nn.Conv2d
        layers.append(kind(channels, channels, kernel, stride, padding, groups=groups, dilation=dilation))
    pools = [
        None,
        nn.MaxPool2d(2, ceil_mode=True),
        nn.MaxPool2d(3, 2, padding=1),
        nn.AvgPool2d(2, stride=1),
        nn.AdaptiveAvgPool2d((2, 3)),
        nn.Upsample(scale_factor=2),
        nn.PixelShuffle(2) if channels == 4 else None,
    ]
    return RandomNet(layers, draw(st.sampled_from(pools)), draw(st.booleans()), draw(st.booleans())), (channels, *size)


@pytest.mark.slow
@settings(max_examples=20)
@given(random_nets(), st.sampled_from([0.3, 0.7, 1.0]))
def test_edges_of_random_networks(drawn: tuple[nn.Module, tuple[int, int, int]], density: float) -> None:
    model, shape = drawn
    try:
        with torch.no_grad():
            model(torch.zeros(1, *shape))
    except RuntimeError:
        return  # the layers shrank the image to nothing
    assert_exact(model, (shape,), density, weights_too=True)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMED)
def test_edges_of_published_networks(name: str) -> None:
    """Sampled elements of every part: their sources are exactly the non-zero derivatives, with their values."""
    model = positive(NAMED[name]())
    masks = random_masks(model, 0.05)
    dag = topo.trace(model, torch.zeros(1, 3, 32, 32, dtype=torch.float64))
    graph = topo.encode(dag, masks, weights="mean")
    reference = Reference(dag, masks, graph)
    generator = np.random.default_rng(0)
    incoming: dict[int, list] = {}
    for b in graph.blocks:
        incoming.setdefault(b.target, []).append((b.source, b.matrix.tocsc()))
    checked = 0
    for target in reference.results:
        size = graph.parts[target].size
        elements = sorted({0, size - 1, *generator.integers(0, size, 2).tolist()})
        for source, rows in reference.rows(target, elements).items():
            columns = next((m for s, m in incoming.get(target, []) if s == source), None)
            for element, row in zip(elements, rows.numpy(), strict=True):
                expected = np.flatnonzero(row)
                if columns is None:
                    assert len(expected) == 0
                    continue
                here = slice(columns.indptr[element], columns.indptr[element + 1])
                order = np.argsort(columns.indices[here])
                assert np.array_equal(columns.indices[here][order], expected)
                if name != "vit":
                    assert np.allclose(columns.data[here][order], row[expected], rtol=1e-5, atol=0)
                checked += len(expected)
    assert checked > 100


PUBLISHED = {"conv6": 233_356, "resnet20": 191_884, "resnet32": 306_572, "wrn-28-2": 478_604, "mobilenet_v2": 1_676_172}


@pytest.mark.slow
@pytest.mark.parametrize("name", PUBLISHED)
def test_published_node_counts(name: str) -> None:
    """With the zeros around the input as nodes, as the published tables have them."""
    model = topo.models.build(name)
    masks = {n: torch.zeros(p.shape, dtype=torch.bool) for n, p in model.named_parameters() if p.ndim > 1}
    dag = topo.trace(model, torch.zeros(1, 3, 32, 32))
    assert topo.encode(dag, masks, padding="nodes").n_nodes == PUBLISHED[name] + 10
    assert topo.encode(dag, masks).n_nodes == PUBLISHED[name] + 10 - 3 * (34 * 34 - 32 * 32)


def test_padding_nodes_are_sources_of_edges() -> None:
    model = nn.Sequential(nn.Conv2d(1, 1, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(9, 2))
    graph = topo.encode(model, example=(1, 3, 3), padding="nodes")
    assert graph.parts[0].shape == (1, 5, 5)
    assert graph.blocks[0].matrix.nnz == 81
    assert topo.encode(model, example=(1, 3, 3)).blocks[0].matrix.nnz == 49
    with pytest.raises(InputError, match="padding='nodes' needs every reader of input 'input' to be a convolution"):
        topo.encode(nn.Linear(3, 2), example=(3,), padding="nodes")


@pytest.mark.slow
def test_no_edge_inside_a_part_and_degrees_of_strided_layers() -> None:
    """Stride 2 does not shift sources: degrees are convolutions of ones with the mask, forward and transposed."""
    model = topo.models.build("resnet20")
    masks = topo.prune(model, "uniform", sparsity=0.9, seed=0)
    graph = topo.encode(model, masks, example=(3, 32, 32), skips="projection")
    source, target, _ = graph.edges()
    part = np.repeat(np.arange(len(graph.parts)), [p.size for p in graph.parts])
    assert (part[target] == part[source] + 1).all()
    strided = [b for b in graph.blocks if b.name in ("stages.1.0.conv1", "stages.2.0.conv1")]
    strided = strided or [b for b in graph.blocks if graph.parts[b.source].size == 2 * graph.parts[b.target].size]
    assert len(strided) == 2
    for b in strided:
        before, after = graph.parts[b.source].shape, graph.parts[b.target].shape
        mask = masks[f"{b.name}.weight"].float()
        into = F.conv2d(torch.ones(1, *before), mask, stride=2, padding=1)
        out_of = F.conv_transpose2d(torch.ones(1, *after), mask, stride=2, padding=1, output_padding=1)
        assert np.array_equal(b.matrix.count_nonzero(axis=0), into.numpy().ravel())
        assert np.array_equal(np.diff(b.matrix.indptr), out_of.numpy().ravel())


def test_stride_two_by_hand() -> None:
    """A 3x3 kernel, stride 2, padding 1 on 4x4: targets at (y, x) read rows 2y-1..2y+1 and columns 2x-1..2x+1."""
    model = nn.Conv2d(1, 1, 3, stride=2, padding=1, bias=False)
    with torch.no_grad():
        model.weight.copy_(torch.arange(1.0, 10.0).reshape(1, 1, 3, 3))
    graph = topo.encode(model, example=(1, 4, 4))
    expected = np.zeros((16, 4))
    for y in range(2):
        for x in range(2):
            for ky in range(3):
                for kx in range(3):
                    sy, sx = 2 * y - 1 + ky, 2 * x - 1 + kx
                    if 0 <= sy < 4 and 0 <= sx < 4:
                        expected[4 * sy + sx, 2 * y + x] = 3 * ky + kx + 1
    assert np.array_equal(graph.blocks[0].matrix.toarray(), expected)


def test_kept_zero_weights_are_edges() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 2), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(2, 2))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    kept = {n: torch.ones(p.shape, dtype=torch.bool) for n, p in model.named_parameters() if p.ndim > 1}
    graph = topo.encode(model, kept, example=(1, 3, 3))
    assert [b.matrix.nnz for b in graph.blocks] == [32, 16]
    assert all((b.matrix.data == 0).all() for b in graph.blocks)
    assert topo.encode(model, example=(1, 3, 3)).n_edges == 0
    assert topo.encode(model, kept, example=(1, 3, 3), encoding="rolled")["0"].n_edges == 8


def test_pooling_as_nodes() -> None:
    model, _ = small("u-net")
    through = topo.encode(model, example=(2, 6, 6))
    nodes = topo.encode(model, example=(2, 6, 6), pooling="node")
    assert len(nodes.parts) == len(through.parts) + 1
    pooled = next(i for i, p in enumerate(nodes.parts) if p.name.startswith("down.0"))
    assert nodes.parts[pooled].shape == (4, 3, 3)
    before = next(b for b in nodes.blocks if b.target == pooled)
    after = next(b for b in nodes.blocks if b.source == pooled)
    direct = next(b for b in through.blocks if b.name == "down.1")
    assert np.allclose((before.matrix @ after.matrix).toarray(), direct.matrix.toarray())


def test_pooling_weights() -> None:
    model = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1, 1, bias=False))
    with torch.no_grad():
        model[2].weight.fill_(-3.0)
    assert (topo.encode(model, example=(1, 2, 2)).blocks[0].matrix.toarray() == 3.0).all()
    assert (topo.encode(model, example=(1, 2, 2), weights="mean").blocks[0].matrix.toarray() == 0.75).all()


@pytest.mark.slow
def test_skips() -> None:
    model = topo.models.build("resnet20")
    masks = topo.prune(model, "uniform", sparsity=0.95, seed=0)
    dag = topo.trace(model, torch.zeros(1, 3, 32, 32))
    every, projection = topo.encode(dag, masks), topo.encode(dag, masks, skips="projection")
    # Seven identity skips and two that read every second pixel, with zeros for the new channels.
    identities = 3 * 16 * 1024 + 2 * 32 * 256 + 2 * 64 * 64
    assert every.n_edges - projection.n_edges == identities + 16 * 256 + 32 * 64
    projected = topo.models.build("resnet20", shortcut="projection")
    graph = topo.encode(projected, example=(3, 32, 32), skips="projection")
    assert sum(b.target - b.source > 1 for b in graph.blocks) == 2


def test_parallel_arcs_merge() -> None:
    class Parallel(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False)

        def forward(self, x: Tensor) -> Tensor:
            return self.a(x) + self.b(x)

    model = Parallel()
    (only,) = topo.encode(model, example=(2,)).blocks
    expected = model.a.weight.abs() + model.b.weight.abs()
    assert np.allclose(only.matrix.toarray(), expected.detach().numpy().T)
    assert only.name == "a+b"


@pytest.mark.slow
def test_attention_by_values() -> None:
    model, _ = small("attention")
    exact = topo.encode(model, example=(5, 4))
    values = topo.encode(model, example=(5, 4), attention="values")
    part = next(i for i, p in enumerate(values.parts) if "scaled_dot_product" in p.name)
    edges = {g: next(b for b in g.blocks if b.target == part).matrix.nnz for g in (exact, values)}
    # Two heads of two channels, six tokens: values alone, and with all channels of queries and keys.
    assert edges[values] == 6 * 6 * 4
    assert edges[exact] == 6 * 6 * 4 + 6 * 4 * 2 + 6 * 6 * 4 * 2


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_weights_on_paths(seed: int) -> None:
    """Brute force: a weight is effective when the network without it has fewer paths from input to output."""
    model, _ = small("u-net")
    masks = random_masks(model, 0.12, seed)
    dag = topo.trace(model, torch.zeros(1, 2, 6, 6))
    graph = topo.encode(dag, masks)
    effective = 0
    for name, mask in masks.items():
        for index in mask.nonzero().tolist():
            fewer = {n: m.clone() for n, m in masks.items()}
            fewer[name][tuple(index)] = False
            effective += paths(topo.encode(dag, fewer)) < paths(graph)
    assert graph.attributes["weights_total"] == sum(m.numel() for m in masks.values())
    assert graph.attributes["weights_kept"] == sum(int(m.sum()) for m in masks.values())
    assert graph.attributes["weights_effective"] == effective < graph.attributes["weights_kept"]


def paths(graph: MultipartiteGraph) -> int:
    """Exact number of paths from input to output nodes, in integers."""
    count = [np.zeros(p.size, object) + int(p.role == "input") for p in graph.parts]
    for b in sorted(graph.blocks, key=lambda b: graph.parts[b.target].level):
        rows = np.repeat(np.arange(b.matrix.shape[0]), np.diff(b.matrix.indptr))
        np.add.at(count[b.target], b.matrix.indices, count[b.source][rows])
    return sum(int(c.sum()) for c, p in zip(count, graph.parts, strict=True) if p.role == "output")


@pytest.mark.parametrize(
    ("make", "arguments", "message"),
    [
        (lambda: nn.Linear(3, 2), {}, "needs example"),
        (lambda: nn.Linear(3, 2), {"example": (0,)}, "must be of sizes from 1 up"),
        (lambda: nn.Linear(3, 2), {"example": (4,)}, r"does not take inputs of shape \(1, 4\)"),
        (lambda: nn.Linear(3, 2), {"example": (3,), "encoding": "multipartit"}, "did you mean 'multipartite'"),
        (lambda: nn.Linear(3, 2), {"example": (3,), "skip": "all"}, "did you mean 'skips'"),
        (lambda: nn.Linear(3, 2), {"example": (3,), "pooling": "nodes"}, "did you mean 'node'"),
        (lambda: nn.Linear(3, 2), {"example": (3,), "max_edges": 5}, "layer 'weight' alone has 6 edges"),
        (lambda: "resnet20", {"example": (3,)}, "needs an nn.Module or a Dag; got str"),
    ],
)
def test_refusals(make, arguments, message) -> None:
    with pytest.raises(InputError, match=message):
        topo.encode(make(), **arguments)


def test_masks_that_do_not_fit() -> None:
    model = nn.Sequential(nn.Linear(3, 2))
    with pytest.raises(InputError, match=r"unknown parameter in masks '0\.weights'; did you mean '0\.weight'"):
        topo.encode(model, {"0.weights": torch.ones(2, 3)}, example=(3,))
    with pytest.raises(InputError, match=r"mask of '0.weight' has shape \(3, 2\); the parameter has \(2, 3\)"):
        topo.encode(model, {"0.weight": torch.ones(3, 2)}, example=(3,))


def test_fully_pruned_network_has_no_edges() -> None:
    model, _ = small("u-net")
    masks = {n: torch.zeros(p.shape) for n, p in model.named_parameters() if p.ndim > 1}
    graph = topo.encode(model, masks, example=(2, 6, 6))
    assert graph.n_edges == 0 and graph.attributes["weights_effective"] == 0
