"""Pruners on models of tokens: whole numbers that are looked up in a table."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import topo
from tests.public_models import public_model
from topo.pruning import PRUNERS
from topo.training import recipe

FEW_STEPS = recipe("text", epochs=1, batch_size=16)
SETTINGS = {"group-norm": {"penalty": 1e-4}, "synflow": {"rounds": 3}}
SETTINGS |= {name: {"rounds": 2} for name in ("iterative-snip", "ntk-sap", "px")}


@pytest.fixture(scope="module")
def text():
    return topo.datasets.load("text", context=10, train=48, test=16)


def language_model(text, **settings) -> nn.Module:
    shape = {"width": 8, "heads": 2, "layers": 1, **settings}
    return topo.models.build("gpt", input_shape=text.input_shape, n_classes=text.n_classes, **shape)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in PRUNERS if name != "slimming"])  # which needs batch norms
def test_every_pruner_takes_tokens(name, text):
    net = language_model(text)
    masks = topo.prune(net, name, sparsity=0.3, data=text, recipe=FEW_STEPS, device="cpu", **SETTINGS.get(name, {}))
    assert 0.29 < masks.sparsity < 0.7
    assert "tokens.weight" not in masks and "blocks.0.mlp.expand.weight" in masks


def chain() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Embedding(7, 4), nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3)).double()


def test_the_flow_of_tokens_is_that_of_all_of_them_at_once_and_is_conserved():
    """R is the sum over all paths from the 3 x 7 one-hot inputs, and as much flows through every layer."""
    net, tokens = chain(), torch.tensor([[6, 0, 0]])
    product = torch.ones(3, 7, dtype=torch.float64) @ net[0].weight.detach().abs()
    for layer in (net[1], net[3]):
        product = product @ layer.weight.detach().abs().T
    everything = ["0.weight", "1.weight", "3.weight"]
    scores = topo.pruning.score(net, "synflow", example=tokens, include=everything)
    assert list(scores) == everything
    for score in scores.values():
        torch.testing.assert_close(score.sum(), product.sum(), rtol=1e-10, atol=0)
    torch.testing.assert_close(scores["0.weight"].sum(0), scores["1.weight"].sum(0), rtol=1e-10, atol=0)
    # A network of one-hot vectors and a linear layer in the place of the table says the same.
    first = nn.Linear(7, 4, bias=False).double()
    first.weight.data = net[0].weight.detach().T
    expected = topo.pruning.score(nn.Sequential(first, *net[1:]), "synflow", example=(3, 7))
    torch.testing.assert_close(scores["0.weight"], expected["0.weight"].T, rtol=1e-10, atol=0)
    torch.testing.assert_close(scores["3.weight"], expected["3.weight"], rtol=1e-10, atol=0)


def test_the_flow_does_not_depend_on_which_tokens_the_example_has(text):
    net = language_model(text)
    one, other = (
        topo.prune(net, "synflow", sparsity=0.8, example=tokens, rounds=3) for tokens in text.train.inputs[:2, None]
    )
    assert one == other


class Numbers(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3))

    def forward(self, x):
        return self.layers(x.to(self.layers[0].weight.dtype) / 255)


def test_whole_numbers_that_are_read_as_numbers_count_as_ones():
    torch.manual_seed(0)
    net, pixels = Numbers(), torch.tensor([[0, 7, 200, 255]], dtype=torch.uint8)
    ones = topo.pruning.score(net.layers, "synflow", example=(4,))
    for name, score in topo.pruning.score(net, "synflow", example=pixels).items():
        torch.testing.assert_close(score, ones[name.removeprefix("layers.")] / 255, rtol=1e-6, atol=0)


class Attention(nn.Module):
    """Causal attention as published code writes it: a mask by one of several operations, or torch's own function."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.table, self.attend, self.head = nn.Embedding(5, 4), nn.Linear(4, 12), nn.Linear(4, 3)
        self.kind = kind

    def forward(self, tokens):
        query, key, value = self.attend(self.table(tokens)).chunk(3, -1)
        if self.kind == "torch":
            return self.head(F.scaled_dot_product_attention(query, key, value, is_causal=True))
        scores = query @ key.mT
        later = torch.ones(tokens.shape[1], tokens.shape[1], dtype=torch.bool).triu(1)
        least = torch.finfo(scores.dtype).min
        if self.kind == "fill":
            scores = scores.masked_fill(later, -torch.inf)
        elif self.kind == "where":
            scores = torch.where(later, least, scores)
        else:
            scores = scores + later.to(scores.dtype) * least
        return self.head(scores.softmax(-1) @ value)


@pytest.mark.parametrize("kind", ["fill", "where", "sum"])
def test_masks_of_attention_forbid_and_do_not_count(kind):
    tokens = torch.tensor([[1, 2, 4]])
    scores = topo.pruning.score(Attention(kind), "synflow", example=tokens)
    expected = topo.pruning.score(Attention("torch"), "synflow", example=tokens)
    assert all(score.isfinite().all() and score.any() for score in scores.values())
    # The values are read alike; what of queries and keys is forbidden, torch's function does not tell.
    torch.testing.assert_close(scores["attend.weight"][8:], expected["attend.weight"][8:])


class Norm(nn.Module):
    """A norm written out, as the models of transformers do it."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.last, self.kind = nn.Linear(4, 4), nn.Linear(4, 3), kind

    def forward(self, x):
        x = self.first(x)
        if self.kind == "torch":
            return self.last(F.rms_norm(x, (4,)))
        square = x.pow(2).mean(-1, keepdim=True)
        return self.last(x * torch.rsqrt(square + 1e-6) if self.kind == "rsqrt" else x / (square + 1e-6).sqrt())


@pytest.mark.parametrize("kind", ["rsqrt", "quotient"])
def test_a_norm_that_is_written_out_only_scales(kind):
    scores, expected = (topo.pruning.score(Norm(k), "synflow", example=(4,)) for k in (kind, "torch"))
    for name, score in scores.items():
        torch.testing.assert_close(score, expected[name], rtol=1e-6, atol=0)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_the_flow_through_public_transformers_is_finite_and_reaches_every_layer(name):
    net, inputs = public_model(name)
    scores = topo.pruning.score(net, "synflow", example=inputs, device="cpu")
    assert len(scores) > 4
    for key, score in scores.items():
        assert score.isfinite().all() and score.any(), key
