"""Tokens: an integer input is one node a position, joined to the columns of the table that it is looked up in."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import topo
from topo.errors import InputError


class Language(nn.Module):
    """Tokens with positions, and a head that may share the table."""

    def __init__(self, *, tied: bool = False) -> None:
        super().__init__()
        self.tokens = nn.Embedding(5, 3)
        self.positions = nn.Embedding(8, 3)
        self.hidden = nn.Linear(3, 3)
        self.head = nn.Linear(3, 5, bias=False)
        if tied:
            self.head.weight = self.tokens.weight

    def forward(self, ids: Tensor) -> Tensor:
        x = self.tokens(ids) + self.positions(torch.arange(ids.shape[1], device=ids.device))
        return self.head(torch.relu(self.hidden(x)))


IDS = torch.tensor([[1, 4, 1]])


def edges(graph: topo.MultipartiteGraph, source: str, target: str) -> dict[tuple[int, int], float]:
    names = [part.name for part in graph.parts]
    (block,) = (b for b in graph.blocks if (names[b.source], names[b.target]) == (source, target))
    found = block.matrix.tocoo()
    return {(int(i), int(j)): float(v) for i, j, v in zip(*found.coords, found.data, strict=True)}


def test_a_position_is_joined_to_every_column_that_keeps_a_weight_in_any_row_by_its_norm() -> None:
    model = Language()
    mask = torch.zeros(5, 3, dtype=torch.bool)
    mask[2, 0] = mask[[0, 3], 2] = True
    graph = topo.encode(model, {"tokens.weight": mask}, example=IDS)
    table = model.tokens.weight.detach() * mask
    column = {0: table[:, 0].norm(), 2: table[:, 2].norm()}
    wanted = {(p, 3 * p + c): pytest.approx(float(norm)) for p in range(3) for c, norm in column.items()}
    assert edges(graph, "input", "tokens") == wanted
    # The positions are constants: no nodes, and their table is not looked up by the input.
    assert [(p.name, p.shape, p.role) for p in graph.parts][:2] == [
        ("input", (3,), "input"),
        ("tokens", (3, 3), "hidden"),
    ]
    assert graph.attributes["weights_total"] == 5 * 3 + 3 * 3 + 3 * 5
    assert graph.attributes["weights_kept"] == 3 + 3 * 3 + 3 * 5


def test_a_tied_head_is_pruned_with_its_table_and_both_are_counted_once() -> None:
    model = Language(tied=True)
    masks = topo.prune(model, "uniform", sparsity=0.5, example=IDS, include=["tokens.weight"], device="cpu")
    graph = topo.encode(model, masks, example=IDS)
    kept = int(masks["tokens.weight"].sum())
    heads = [b for b in graph.blocks if graph.parts[b.target].role == "output"]
    assert sum(b.matrix.nnz for b in heads) == 3 * kept
    assert graph.attributes["weights_total"] == 5 * 3 + 3 * 3


def test_layers_of_an_embedding() -> None:
    model = Language()
    mask = torch.rand(5, 3, generator=torch.Generator().manual_seed(0)) < 0.5
    table = (model.tokens.weight.detach().abs() * mask).numpy()
    dag = topo.trace(model, IDS)
    for encoding in ("rolled", "rolled-channel"):
        graph = topo.encode(dag, {"tokens.weight": mask}, encoding=encoding)["tokens"]
        assert np.array_equal(graph.matrix.toarray(), table)
        assert graph.matrix.nnz == mask.sum() and (graph.left.shape, graph.right.shape) == ((5,), (3,))
    graph = topo.encode(dag, {"tokens.weight": mask}, encoding="unrolled")["tokens"]
    assert (graph.left.shape, graph.right.shape) == ((3,), (3, 3))
    assert np.allclose(graph.matrix.toarray(), np.kron(np.eye(3), np.linalg.norm(table, axis=0)))


class Bag(nn.Module):
    def __init__(self, mode: str) -> None:
        super().__init__()
        self.bag = nn.EmbeddingBag(6, 3, mode=mode)

    def forward(self, ids: Tensor) -> Tensor:
        return self.bag(ids)


@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
def test_a_bag_reads_the_columns_for_each_of_its_positions(mode: str) -> None:
    model = Bag(mode)
    mask = torch.ones(6, 3, dtype=torch.bool)
    mask[:, 1] = False
    norms = (model.bag.weight.detach() * mask).norm(dim=0).numpy()
    for weights in ("sum", "mean"):
        share = 0.25 if (mode, weights) == ("mean", "mean") else 1.0
        graph = topo.encode(model, {"bag.weight": mask}, example=torch.ones(1, 4, dtype=torch.long), weights=weights)
        (block,) = graph.blocks
        assert block.matrix.nnz == 4 * 2
        assert np.allclose(block.matrix.toarray(), np.tile(norms * share, (4, 1)))


class Chosen(nn.Module):
    """Rows of activations, by numbers that are constants."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(2, 2)

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.embedding(torch.tensor([[2, 0]]), self.linear(x)[0])


def test_rows_of_activations_that_constants_choose_are_moved() -> None:
    graph = topo.encode(Chosen(), example=torch.zeros(1, 3, 2))
    assert edges(graph, "linear", "embedding") == {(4, 0): 1, (5, 1): 1, (0, 2): 1, (1, 3): 1}


def test_one_hot_tokens_are_joined_by_the_weights_of_their_rows() -> None:
    model = Language()
    mask = torch.rand(5, 3, generator=torch.Generator().manual_seed(1)) < 0.5
    graph = topo.encode(model, {"tokens.weight": mask}, example=IDS, tokens="one-hot")
    assert (graph.parts[0].shape, graph.parts[0].size) == ((3, 5), 15)
    table = model.tokens.weight.detach().abs()
    wanted = {
        (5 * position + token, 3 * position + column): pytest.approx(float(table[token, column]))
        for position in range(3)
        for token, column in mask.nonzero().tolist()
    }
    assert edges(graph, "input", "tokens") == wanted
    assert topo.measure(graph, metrics=["local"]).notna().all()


def test_the_vocabulary_of_the_example() -> None:
    """Norms over the rows that it uses, and one-hot nodes for its tokens alone."""
    model = Language()
    example = torch.tensor([[1, 4, 1], [4, 2, 1]])
    table = model.tokens.weight.detach()[[1, 2, 4]]
    near = topo.encode(model, example=example, vocabulary="example")
    assert edges(near, "input", "tokens") == {
        (p, 3 * p + c): pytest.approx(float(table[:, c].norm())) for p in range(3) for c in range(3)
    }
    exact = topo.encode(model, example=example, vocabulary="example", tokens="one-hot")
    assert exact.parts[0].shape == (3, 3)
    assert edges(exact, "input", "tokens") == {
        (3 * p + t, 3 * p + c): pytest.approx(float(table[t, c].abs()))
        for p in range(3)
        for t in range(3)
        for c in range(3)
    }
    # An edge is there for a column that keeps a weight in any row, also one that the example does not use.
    mask = torch.zeros(5, 3, dtype=torch.bool)
    mask[0, 1] = True
    assert edges(topo.encode(model, {"tokens.weight": mask}, example=IDS, vocabulary="example"), "input", "tokens") == {
        (p, 3 * p + 1): 0.0 for p in range(3)
    }


def test_too_many_one_hot_tokens_are_refused_with_their_number() -> None:
    with pytest.raises(InputError, match=r"'tokens' alone has 45 edges, more than max_edges=44: .* tokens='positions'"):
        headless = {"head.weight": torch.zeros(5, 3, dtype=torch.bool)}
        topo.encode(Language(), headless, example=IDS, tokens="one-hot", max_edges=44)


class Shifted(nn.Module):
    """Tokens in another order, and the last left out; the same tokens are read as numbers too."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.bag = nn.Embedding(4, 2), nn.EmbeddingBag(4, 2, mode="sum")

    def forward(self, ids: Tensor) -> Tensor:
        return self.table(ids.flip(1)[:, 1:]).sum(1) + self.bag(ids) + ids.double().sum(1, keepdim=True)


def test_one_hot_tokens_equal_the_jacobian() -> None:
    model = Shifted().double()
    graph = topo.encode(model, example=torch.tensor([[1, 3, 0]]), tokens="one-hot")
    block = {(b.source, b.target): b.matrix.toarray() for b in graph.blocks}
    dense = block[0, 2] + block[0, 1] @ block[1, 2]
    table, bag = (layer.weight.detach().abs().numpy() for layer in (model.table, model.bag))
    # Position 2 is first in the turned order, and left out. A token that is read as a number reaches everything.
    wanted = [table + bag + 1, table + bag + 1, bag + 1]
    assert np.allclose(dense, np.concatenate(wanted))


def test_layers_of_one_hot_tokens_are_the_table():
    model = nn.Sequential(nn.Embedding(7, 4), nn.Flatten(), nn.Linear(12, 2))
    example, table = torch.tensor([[1, 2, 2], [0, 5, 1]]), model[0].weight.detach().abs().numpy()
    every = topo.encode(model, example=example, encoding="unrolled", tokens="one-hot")
    assert np.allclose(every["0"].matrix.toarray(), np.kron(np.eye(3), table))
    some = topo.encode(model, example=example, encoding="unrolled", tokens="one-hot", vocabulary="example")
    assert np.allclose(some["0"].matrix.toarray(), np.kron(np.eye(3), table[[0, 1, 2, 5]]))
