"""Constants that select: where one chooses another value, is zero under a product or minus infinity under a sum."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import topo
from tests.dag.test_relations import Apply, assert_one_map, path_matrix
from topo.dag.contraction import Contraction
from topo.dag.maps import Weight
from topo.dag.relations import Relation
from topo.dag.structure import structure

MASK = torch.tensor([[0, 1, 0, 1], [1, 1, 0, 0], [0, 0, 0, 1]], dtype=torch.bool)
LATER = torch.ones(4, 4, dtype=torch.bool).triu(1)


def jacobian(function: Callable[[Tensor], Tensor], x: Tensor) -> np.ndarray:
    return torch.autograd.functional.jacobian(function, x).reshape(-1, x.numel()).T.numpy()


def paths(function: nn.Module | Callable[[Tensor], Tensor], x: Tensor) -> np.ndarray:
    model = function if isinstance(function, nn.Module) else Apply(function)
    return path_matrix(structure(topo.trace(model, x)))


SELECTING = {
    "filled": lambda x: x.masked_fill(MASK, 3.0),
    "filled with zeros": lambda x: x.masked_fill(MASK, 0.0),
    "a constant elsewhere": lambda x: torch.where(MASK, x, torch.ones(4)),
    "a constant there": lambda x: torch.where(MASK, 2.0, x),
    "one of two": lambda x: torch.where(MASK, x[..., :1], x),
    "times zeros": lambda x: x * MASK.to(x.dtype),
    "zeros times": lambda x: MASK[:1].to(x.dtype) * x.square(),
    "lower half": lambda x: x @ torch.ones(4, 4, dtype=x.dtype).tril(),
    "outside of a slice": lambda x: x * torch.cat([torch.zeros(1, dtype=x.dtype), torch.ones(3, dtype=x.dtype)]),
    "a zero that is an activation": lambda x: x.masked_fill(MASK, 0.0) * x.flip(-1),
    "the larger part of a mask": lambda x: (x + 1e-3) * (1 - MASK.to(x.dtype)) + MASK.to(x.dtype),
}


@pytest.mark.parametrize("name", SELECTING)
def test_what_a_constant_selects_alone_is_passed_on(name: str) -> None:
    x = torch.rand(1, 3, 4, dtype=torch.float64) + 0.5
    assert np.array_equal(paths(SELECTING[name], x) != 0, jacobian(SELECTING[name], x) != 0)


def test_offsets_are_no_masks() -> None:
    for offset in (-101_325.0, torch.tensor([-2e4, 0.0, 3.0, 1.0]), torch.full((4,), -2e4)):
        assert (paths(lambda x, offset=offset: x + offset, torch.rand(1, 4)) == np.eye(4)).all()


def test_trainable_zeros_are_weights_like_others_and_frozen_ones_are_constants() -> None:
    class Scaled(nn.Module):
        def __init__(self, trained: bool) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.zeros(4), requires_grad=trained)

        def forward(self, x: Tensor) -> Tensor:
            return x * self.scale

    assert paths(Scaled(trained=True), torch.rand(1, 4)).sum() == 4
    assert paths(Scaled(trained=False), torch.rand(1, 4)).sum() == 0


class Attention(nn.Module):
    """Causal attention as people write it."""

    def __init__(self, forbid: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(3, 3, bias=False) for _ in range(3))
        self.forbid = forbid

    def forward(self, x: Tensor) -> Tensor:
        scores = self.query(x) @ self.key(x).transpose(-2, -1) / 3**0.5
        return torch.softmax(self.forbid(scores), -1) @ self.value(x)


FORBIDDING = {
    "masked_fill": lambda s: s.masked_fill(LATER, -math.inf),
    "masked_fill, a large number": lambda s: s.masked_fill(LATER, -1e9),
    "where": lambda s: torch.where(LATER, torch.finfo(s.dtype).min, s),
    "minus infinity added": lambda s: s + torch.zeros(4, 4).masked_fill(LATER, -math.inf),
    "a large number subtracted": lambda s: s - 1e4 * LATER.to(s.dtype),
    "times and plus": lambda s: s * (~LATER).to(s.dtype) + LATER * torch.finfo(torch.float32).min,
    "product and sum at once": lambda s: torch.baddbmm(
        torch.zeros(4, 4).masked_fill(LATER, -math.inf).to(s.dtype), s, torch.eye(4, dtype=s.dtype)[None]
    ),
    "where, a half precision number": lambda s: torch.where(LATER, -60000.0, s),
}


@pytest.mark.parametrize("name", FORBIDDING)
def test_masked_attention_joins_what_its_jacobian_does(name: str) -> None:
    x = torch.rand(1, 4, 3, dtype=torch.float64)
    model = Attention(FORBIDDING[name]).double()
    reached = paths(model, x) != 0
    assert np.array_equal(reached, jacobian(model, x) != 0)
    assert reached.sum() == 90 and paths(Attention(lambda s: s).double(), x).astype(bool).sum() == 144


def test_a_mask_is_passed_over_where_channels_are_coupled() -> None:
    class Gated(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Linear(3, 4), nn.Linear(4, 2)
            self.register_buffer("gate", torch.tensor([1.0, 0.0, 1.0, 1.0]))

        def forward(self, x: Tensor) -> Tensor:
            return self.second(self.first(x) * self.gate)

    channels = topo.dag.coupled_channels(topo.trace(Gated(), torch.rand(1, 3)))
    assert channels.count == 4
    assert channels.axes["gate"][0].tolist() == channels.axes["first.bias"][0].tolist()


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_contractions_are_one_map(data: st.DataObject) -> None:
    """Of random labels: matrix, products and counts agree with `torch.einsum`."""
    lengths = data.draw(st.lists(st.integers(1, 3), min_size=4, max_size=4))
    labels = [tuple(data.draw(st.permutations(range(4)))[: data.draw(st.integers(1, 3))]) for _ in range(3)]
    shapes = [tuple(lengths[label] for label in part) for part in labels]
    generator = torch.Generator().manual_seed(data.draw(st.integers(0, 99)))
    kept = torch.rand(shapes[1], generator=generator) > 0.4
    weight = Weight(torch.rand(shapes[1], generator=generator, dtype=torch.float64) + 0.1, kept)
    contraction = Contraction(shapes[0], shapes[2], weight, labels[0], labels[1], labels[2])
    x = torch.rand(shapes[0], generator=generator, dtype=torch.float64)
    filled = [label for label in labels[2] if label not in labels[0] + labels[1]]
    ones = torch.ones([lengths[label] for label in filled], dtype=torch.float64)
    expected = torch.einsum(x, labels[0], weight.effective, labels[1], ones, filled, labels[2])
    assert torch.allclose(contraction.apply(x), expected)
    relation = Relation(contraction, True)
    assert_one_map(relation)
    assert np.diff(contraction.matrix().tocsc().indptr).max() <= contraction.fan_in()


class Bins(nn.Module):
    """Softmax over bins, and their mean, as box regression heads do."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how

    def forward(self, x: Tensor) -> Tensor:
        scores = x.sin().unflatten(-1, (2, 3))
        if self.how == "gates":
            return torch.softmax(scores, -1) * x[:, 0, None, None]
        if self.how == "other axis":
            return torch.softmax(scores, 1)[..., :2] @ x[:, :2, None]
        if self.how == "masked":
            scores = scores.masked_fill(torch.tensor([False, True, False]), -math.inf)
        return torch.softmax(scores, -1) @ torch.arange(3, dtype=x.dtype)


@pytest.mark.parametrize("how", ["bins", "masked", "gates", "other axis"])
def test_softmax_that_is_not_summed_over_its_axis_is_dense_along_it(how: str) -> None:
    x = torch.rand(1, 6, dtype=torch.float64)
    model = Bins(how).double()
    assert np.array_equal(paths(model, x) != 0, jacobian(model, x) != 0)


def test_softmax_of_the_output_and_of_attention_keeps_its_sum_as_a_constant() -> None:
    x = torch.rand(1, 4, 3, dtype=torch.float64)
    classes = paths(lambda x: torch.softmax(x.flatten(1) @ torch.eye(12, dtype=x.dtype), -1), x)
    assert np.array_equal(classes, np.eye(12))
    model = nn.Sequential(Attention(lambda s: s), nn.LayerNorm(3), nn.Linear(3, 3)).double()
    statistics = topo.encode(model, example=x).attributes["statistics_as_constants"]
    assert statistics == ["0 (softmax)", "1 (layer_norm)"]
    graph = topo.encode(Bins("bins").double(), example=torch.rand(1, 6, dtype=torch.float64))
    assert graph.attributes["statistics_as_constants"] == []
