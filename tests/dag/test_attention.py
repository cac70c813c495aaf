"""Attention in all its spellings joins what its Jacobian does: masks by head, groups of heads, learned queries."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import topo
from tests.dag.test_relations import path_matrix
from topo.dag.structure import structure

HEADS, TOKENS, WIDTH = 2, 4, 2
LATER = torch.ones(TOKENS, TOKENS, dtype=torch.bool).triu(1)
BY_HEAD = torch.tensor([[1, 0, 1, 0], [1, 1, 0, 0], [0, 0, 1, 1], [1, 0, 0, 1]], dtype=torch.bool)
BY_HEAD = torch.stack([BY_HEAD, ~LATER])


class Heads(nn.Module):
    """Projections to heads, an attention, and nothing after it: results by head."""

    def __init__(self, attend: Callable[..., Tensor], heads: int = HEADS, shared: int = HEADS) -> None:
        super().__init__()
        self.sizes = heads, shared, shared
        self.projections = nn.ModuleList(nn.Linear(3, n * WIDTH, bias=False) for n in self.sizes)
        self.attend = attend
        self.register_buffer("allowed", BY_HEAD)

    def forward(self, x: Tensor, *masks: Tensor) -> Tensor:
        parts = [
            p(x).unflatten(-1, (n, WIDTH)).transpose(1, 2) for p, n in zip(self.projections, self.sizes, strict=True)
        ]
        return self.attend(*parts, *(masks or (self.allowed,)))


def written_out(fill: Callable[[Tensor, Tensor], Tensor]) -> Callable[..., Tensor]:
    def attend(q: Tensor, k: Tensor, v: Tensor, allowed: Tensor) -> Tensor:
        return torch.softmax(fill(q @ k.transpose(-2, -1), allowed), -1) @ v

    return attend


SPELLINGS: dict[str, Callable[..., Tensor]] = {
    "bool": lambda q, k, v, m: F.scaled_dot_product_attention(q, k, v, attn_mask=m),
    "float": lambda q, k, v, m: F.scaled_dot_product_attention(
        q, k, v, attn_mask=torch.zeros(m.shape, dtype=q.dtype).masked_fill(~m, -math.inf)
    ),
    "lowest number": lambda q, k, v, m: F.scaled_dot_product_attention(
        q, k, v, attn_mask=torch.where(m, 0.0, torch.tensor(torch.finfo(q.dtype).min, dtype=q.dtype))
    ),
    "masked_fill": written_out(lambda s, m: s.masked_fill(~m, -math.inf)),
    "where": written_out(lambda s, m: torch.where(m, s, -1e9)),
    "one minus mask": written_out(lambda s, m: s + (1.0 - m.to(s.dtype)) * -10000.0),
    "einsum": lambda q, k, v, m: torch.einsum(
        "bhqk,bhkd->bhqd", torch.softmax(torch.einsum("bhqd,bhkd->bhqk", q, k).masked_fill(~m, -math.inf), -1), v
    ),
}


def edges(model: nn.Module, *inputs: Tensor, **options: Any) -> np.ndarray:
    return path_matrix(structure(topo.trace(model, inputs), **options)) != 0


def derivatives(model: nn.Module, x: Tensor, *masks: Tensor) -> np.ndarray:
    return torch.autograd.functional.jacobian(lambda y: model(y, *masks), x).reshape(-1, x.numel()).T.numpy() != 0


def x() -> Tensor:
    return torch.rand(1, TOKENS, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


CONSTANT, GIVEN = ("bool", "lowest number", "where", "einsum"), ("float", "masked_fill", "one minus mask")


@pytest.mark.parametrize(("spelling", "given"), [*((s, False) for s in CONSTANT), *((s, True) for s in GIVEN)])
def test_a_mask_of_every_head_forbids_there_alone(spelling: str, given: bool) -> None:
    """As a constant of the model, and as an input, whose values in the example decide."""
    torch.manual_seed(0)
    model = Heads(SPELLINGS[spelling]).double()
    masks = (BY_HEAD[None],) if given else ()
    wanted = derivatives(model, x(), *masks)
    assert np.array_equal(edges(model, x(), *masks), wanted)
    assert wanted.sum() == (BY_HEAD.sum() * WIDTH + _own(BY_HEAD)) * 3


def _own(allowed: Tensor) -> int:
    """Results that read their own token by the query alone."""
    several = allowed.sum(-1) > 1
    return int((several & ~allowed.diagonal(dim1=1, dim2=2)).sum()) * WIDTH


def test_values_alone() -> None:
    model = Heads(SPELLINGS["bool"])
    assert edges(model, x().float(), attention="values").sum() == BY_HEAD.sum() * WIDTH * 3


def test_a_mask_of_numbers_that_the_input_gives_is_part_of_the_scores() -> None:
    class Biased(nn.Module):
        def forward(self, y: Tensor, bias: Tensor) -> Tensor:
            return F.scaled_dot_product_attention(y, y, y, attn_mask=bias)

    inputs = (x(), torch.rand(1, 1, TOKENS, dtype=torch.float64))
    network = structure(topo.trace(Biased(), inputs))
    for place, jacobian in enumerate(torch.autograd.functional.jacobian(Biased(), inputs)):
        wanted = jacobian.reshape(TOKENS * 3, -1).T.numpy() != 0
        assert np.array_equal(path_matrix(network, place) != 0, wanted) and wanted.all()


@pytest.mark.parametrize(("how", "shared"), [("flag", 2), ("broadcast", 1), ("repeated", 2)])
def test_groups_of_queries_share_keys_and_values(how: str, shared: int) -> None:
    def attend(q: Tensor, k: Tensor, v: Tensor, _: Tensor) -> Tensor:
        if how == "repeated":
            k, v = (part.repeat_interleave(4 // shared, 1) for part in (k, v))
        return F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=how == "flag")

    torch.manual_seed(0)
    model = Heads(attend, heads=4, shared=shared).double()
    assert np.array_equal(edges(model, x()), derivatives(model, x()))


class Pooling(nn.Module):
    """Queries that are parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.queries = nn.Parameter(torch.rand(1, 2, 3))
        self.key, self.value = nn.Linear(3, 3), nn.Linear(3, 3)

    def forward(self, y: Tensor) -> Tensor:
        queries = self.queries.expand(y.shape[0], -1, -1)
        return F.scaled_dot_product_attention(queries, self.key(y), self.value(y))


def test_learned_queries() -> None:
    model = Pooling().double()
    assert np.array_equal(edges(model, x()), derivatives(model, x()))


class Multihead(nn.Module):
    def __init__(self, mask: Tensor, **options: Any) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(4, HEADS, batch_first=True)
        self.register_buffer("mask", mask)
        self.options = options

    def forward(self, y: Tensor, padding: Tensor | None = None) -> Any:
        return self.attention(y, y, y, attn_mask=self.mask, key_padding_mask=padding, **self.options)[0]


@pytest.mark.slow
def test_multihead_attention_with_and_without_its_weights() -> None:
    mask = ~BY_HEAD
    y = torch.rand(1, TOKENS, 4, dtype=torch.float64)
    torch.manual_seed(0)
    models = [Multihead(mask, need_weights=need).double() for need in (False, True)]
    found = [edges(model, y) for model in models]
    assert np.array_equal(*found) and np.array_equal(found[0], derivatives(models[0], y))
    padding = torch.tensor([[False, False, True, False]])
    found = [edges(model, y, padding) for model in models]
    assert np.array_equal(*found)
    assert np.array_equal(found[0], derivatives(models[0], y, padding))


def test_what_is_known_of_a_mask_that_the_tokens_decide_with_a_constant() -> None:
    class Causal(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Embedding(5, 3)

        def forward(self, ids: Tensor) -> Tensor:
            y = self.table(ids)
            allowed = ~LATER & (ids != 0)[:, None]
            return torch.softmax((y @ y.transpose(-2, -1)).masked_fill(~allowed, -1e9), -1) @ y

    network = structure(topo.trace(Causal(), torch.tensor([[1, 0, 2, 0]])))
    reached = path_matrix(network).reshape(TOKENS, TOKENS, 3) != 0
    assert np.array_equal(reached.all(-1), ~LATER.numpy().T) and np.array_equal(reached.any(-1), ~LATER.numpy().T)


def test_a_mask_that_is_computed_from_data_may_allow_everything() -> None:
    class Padded(nn.Module):
        def forward(self, y: Tensor) -> Tensor:
            return F.scaled_dot_product_attention(y, y, y, attn_mask=(y.abs().sum(-1) > 0)[:, None])

    assert edges(Padded(), x()).all()


def test_units_of_grouped_attention_are_pruned_and_compacted() -> None:
    class Grouped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.heads = Heads(
                lambda q, k, v, _: F.scaled_dot_product_attention(q, k, v, enable_gqa=True), heads=4, shared=2
            )
            self.out = nn.Linear(4 * WIDTH, 3)

        def forward(self, y: Tensor) -> Tensor:
            return self.out(self.heads(y).transpose(1, 2).flatten(2))

    torch.manual_seed(0)
    model = Grouped().double()
    masks = topo.prune(model, "l1-filter", sparsity=0.4, example=x(), device="cpu")
    small = topo.compact(model, masks, x())
    for name, mask in masks.items():
        model.get_parameter(name).data.mul_(mask)
    inputs = torch.rand(3, TOKENS, 3, dtype=torch.float64)
    assert torch.allclose(small(inputs), model(inputs), rtol=0, atol=1e-14)
    assert sum(p.numel() for p in small.parameters()) < sum(p.numel() for p in model.parameters())
