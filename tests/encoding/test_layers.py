"""The bipartite encodings of layers, against their definitions entry by entry."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import topo
from tests.jacobians import positive, random_masks
from tests.zoo import small
from topo.errors import InputError


def layer(kind: str, groups: int) -> nn.Module:
    makes = {
        "linear": lambda: nn.Linear(4, 6),
        "convolution": lambda: nn.Conv2d(4, 6, (2, 3), padding=1, groups=groups),
        "transposed": lambda: nn.ConvTranspose2d(4, 6, (2, 3), stride=2, groups=groups),
    }
    return makes[kind]()


@cache
def traced(kind: str, groups: int) -> tuple[nn.Module, topo.Dag]:
    model = layer(kind, groups)
    shape = (4,) if kind == "linear" else (4, 3, 4)
    return model, topo.trace(model, torch.zeros(1, *shape))


def absolute(model: nn.Module, kind: str, groups: int, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Kernel values and mask as (target channel, source channel, kernel), absent connections unmasked."""
    weight = model.weight.detach().abs().numpy()
    weight, mask = (a.reshape(*a.shape[:2], -1) for a in (weight, mask))
    sources, targets = 4, 6
    full, kept = np.zeros((targets, sources, weight.shape[2])), np.zeros((targets, sources, weight.shape[2]), bool)
    for a in range(weight.shape[0]):
        for b in range(weight.shape[1]):
            if kind == "transposed":
                target, source = b + (a // (sources // groups)) * (targets // groups), a
            elif kind == "convolution":
                target, source = a, b + (a // (targets // groups)) * (sources // groups)
            else:
                target, source = a, b
            full[target, source], kept[target, source] = weight[a, b], mask[a, b]
    return full, kept


@pytest.mark.parametrize("encoding", ["rolled", "rolled-channel"])
@pytest.mark.parametrize(("kind", "groups"), [("linear", 1), ("convolution", 1), ("transposed", 1), ("convolution", 2)])
def test_density_of_dense_rolled_layers(kind: str, groups: int, encoding: str) -> None:
    model, dag = traced(kind, groups)
    masks = topo.Masks.dense(model)
    row = topo.measure(topo.encode(dag, masks, encoding=encoding), metrics=["density"])
    assert row["density_mean"] == 1 / groups


@pytest.mark.parametrize("kind", ["linear", "convolution", "transposed"])
def test_density_of_a_rolled_layer_is_the_share_of_its_weights(kind: str) -> None:
    model, dag = traced(kind, 1)
    generator = torch.Generator().manual_seed(0)
    masks = topo.Masks({"weight": torch.rand(model.weight.shape, generator=generator) < 0.4})
    row = topo.measure(topo.encode(dag, masks, encoding="rolled"), metrics=["density"])
    assert row["density_mean"] == pytest.approx(masks.counts()["density"].mean())


@pytest.mark.slow
@given(
    st.sampled_from(["linear", "convolution", "transposed"]),
    st.sampled_from([1, 2]),
    st.floats(0, 1),
    st.integers(0, 99),
)
def test_rolled_encodings_entry_by_entry(kind: str, groups: int, density: float, seed: int) -> None:
    model, dag = traced(kind, groups)
    generator = torch.Generator().manual_seed(seed)
    mask = torch.rand(model.weight.shape, generator=generator) < density
    weight, kept = absolute(model, kind, groups, mask.numpy())
    rolled = topo.encode(dag, {"weight": mask}, encoding="rolled")["weight"]
    expected = (weight * kept).transpose(1, 2, 0).reshape(-1, 6)
    assert rolled.matrix.shape == expected.shape
    assert np.allclose(rolled.matrix.toarray(), expected)
    assert rolled.n_edges == int(mask.sum()) == rolled.attributes["weights_kept"]
    channel = topo.encode(dag, {"weight": mask}, encoding="rolled-channel")["weight"]
    assert np.allclose(channel.matrix.toarray(), np.sqrt(((weight * kept) ** 2).sum(-1)).T)
    assert channel.n_edges == int(kept.any(-1).sum())


def test_unrolled_is_the_derivative_of_each_layer() -> None:
    model, _ = small("mixer")
    model = positive(model)
    masks = random_masks(model, 0.6)
    graphs = topo.encode(model.float(), masks, example=(4, 6, 5), encoding="unrolled")
    assert list(graphs) == ["grouped", "depthwise", "same", "head"]
    for name, graph in graphs.items():
        module = model.get_submodule(name)
        with torch.no_grad():
            module.weight.mul_(masks[f"{name}.weight"])
            module.bias.zero_()
        columns = torch.eye(graph.left.size).reshape(-1, *graph.left.shape)
        assert np.allclose(module(columns).detach().reshape(graph.left.size, -1), graph.matrix.toarray())
        assert (graph.matrix.data > 0).all()


def test_a_linear_layer_on_tokens_repeats_its_weights() -> None:
    model = nn.Linear(3, 2, bias=False)
    graph = topo.encode(model, example=(5, 3), encoding="unrolled")["weight"]
    assert np.allclose(graph.matrix.toarray(), np.kron(np.eye(5), model.weight.detach().abs().numpy().T))
    assert topo.encode(model, example=(5, 3), encoding="rolled")["weight"].n_edges == 6


@pytest.mark.slow
def test_published_size_of_the_first_layer() -> None:
    """CONV-6: 3 x 3 x 3 kernel elements and 64 filters are 91 nodes."""
    graphs = topo.encode(topo.models.build("conv6"), example=(3, 32, 32), encoding="rolled")
    assert next(iter(graphs.values())).n_nodes == 91
    assert len(graphs) == 9


def test_shared_layers() -> None:
    model, _ = small("shared")
    assert list(topo.encode(model, example=(6,), encoding="rolled")) == ["layer", "head"]
    unrolled = topo.encode(model, example=(6,), encoding="unrolled")
    assert list(unrolled) == ["layer", "layer#2", "layer#3", "layer#4", "head"]


def test_attention_projections_are_layers() -> None:
    model, _ = small("attention")
    graphs = topo.encode(model, example=(5, 4), encoding="rolled")
    assert graphs["attention.in_proj_weight"].matrix.shape == (4, 12)
    assert graphs["attention.out_proj"].matrix.shape == (4, 4)


def test_round_trip(tmp_path) -> None:
    model, _ = small("u-net")
    graphs = topo.encode(model, example=(2, 6, 6), encoding="unrolled")
    loaded = topo.LayerGraphs.load(graphs.save(tmp_path / "layers"))
    assert loaded.attributes == graphs.attributes and list(loaded) == list(graphs)
    for name in graphs:
        assert (loaded[name].matrix != graphs[name].matrix).nnz == 0
        assert loaded[name].left == graphs[name].left
    with pytest.raises(InputError, match="holds no layer graphs"):
        topo.LayerGraphs.load(tmp_path)


def test_nothing_to_encode() -> None:
    with pytest.raises(InputError, match="no convolution, linear layer or embedding"):
        topo.encode(nn.ReLU(), example=(3,), encoding="rolled")
