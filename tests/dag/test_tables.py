"""Rows of a table that the input chooses are an embedding, however they are written."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import topo

TOKENS = torch.tensor([[0, 2, 1], [3, 3, 0]])


class Lookup(nn.Module):
    def __init__(self, function: Callable[[Tensor, Tensor], Tensor], *shape: int) -> None:
        super().__init__()
        self.table, self.function = nn.Parameter(torch.randn(*shape)), function

    def forward(self, tokens: Tensor) -> Tensor:
        return self.function(self.table, tokens)


ROWS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "index": lambda table, tokens: table[tokens],
    "from the end": lambda table, tokens: table[tokens - 4],
    "selected": lambda table, tokens: table.index_select(0, tokens.flatten()).unflatten(0, (-1, 3)),
    "cut to a norm": lambda table, tokens: F.embedding(tokens, table.clone(), max_norm=0.5),
}


@pytest.mark.parametrize("name", ROWS)
def test_rows_of_a_table_are_an_embedding(name: str):
    torch.manual_seed(0)
    model, plain = Lookup(ROWS[name], 4, 5), Lookup(lambda table, tokens: F.embedding(tokens, table), 4, 5)
    dag = topo.trace(model, TOKENS[:1])
    assert torch.equal(dag(TOKENS), model(TOKENS))
    assert topo.weights(dag)["role"].tolist() == ["embedding"]
    masks = {"table": torch.arange(5).expand(4, 5) % 2 == 0}
    found, known = (topo.encode(net, masks, example=TOKENS[:1]) for net in (model, plain))
    edges, wanted = (np.concatenate([b.matrix.toarray() for b in g.blocks]) != 0 for g in (found, known))
    assert np.array_equal(edges[-3:], wanted[-3:])


def test_a_module_that_cuts_its_rows_is_compacted():
    model = nn.Sequential(nn.Embedding(4, 6, max_norm=0.5), nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 2)).double()
    masks = topo.prune(model, "l1-filter", sparsity=0.5, example=TOKENS[:1], device="cpu")
    smaller = topo.compact(model, masks, TOKENS[:1])
    assert torch.allclose(smaller(TOKENS), masks.apply(model)(TOKENS), rtol=0, atol=1e-12)


def test_matrices_that_the_input_chooses():
    class Chosen(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.experts = nn.Parameter(torch.randn(4, 3, 2))

        def forward(self, x: Tensor, expert: Tensor) -> Tensor:
            return torch.bmm(x[:, None], self.experts[expert]).squeeze(1)

    model, given = Chosen(), (torch.randn(2, 3), torch.tensor([3, 1]))
    dag = topo.trace(model, given)
    assert torch.equal(dag(*given), model(*given))
    assert topo.weights(dag)["role"].tolist() == ["embedding"]
