"""Wanda, SparseGPT, OBS and patterns on weights that are stored transposed, and on small language models."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

import topo
from tests.public_models import public_model
from topo.errors import InputError
from topo.training import evaluate, recipe, train


class Transposed(nn.Module):
    """A linear layer whose weight is (inputs, outputs), as the Conv1D of GPT-2."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self.weight = nn.Parameter(layer.weight.detach().T.clone())
        self.bias = nn.Parameter(layer.bias.detach().clone())

    def forward(self, x):
        return torch.addmm(self.bias, x, self.weight)


def pair() -> tuple[nn.Module, nn.Module, tuple[torch.Tensor, torch.Tensor]]:
    """A network, the same with transposed weights, and data."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(8, 12), nn.ReLU(), nn.Linear(12, 4)).double()
        data = torch.randn(40, 8, dtype=torch.float64) * torch.linspace(0.1, 3, 8), torch.arange(40) % 4
    return net, nn.Sequential(Transposed(net[0]), nn.ReLU(), Transposed(net[2])), data


CALLS = {
    "wanda": {},
    "wanda, 2:4": {"allocation": "2:4"},
    "sparsegpt": {"block": 4},
    "sparsegpt, 2:4": {"pattern": "2:4"},
    "obs": {"rounds": 3},
    "magnitude": {"allocation": "row"},
    "magnitude, 2:4": {"allocation": "2:4"},
    "snip, 2:4": {"allocation": "2:4"},
}


@pytest.mark.parametrize("call", CALLS)
def test_a_transposed_weight_is_pruned_as_the_weight_itself(call):
    net, transposed, data = pair()
    name, settings = call.partition(",")[0], CALLS[call]
    masks, others = (topo.prune(n, name, sparsity=0.5, data=data, device="cpu", **settings) for n in (net, transposed))
    assert masks.keys() == others.keys() and masks.sparsity == 0.5
    for key, mask in masks.items():
        assert torch.equal(others[key], mask.T)
        if "2:4" in call:
            assert (mask.view(len(mask), -1, 4).sum(-1) == 2).all()
    if masks.state is not None:
        for key in masks:
            torch.testing.assert_close(others.state[key], masks.state[key].T)


def test_the_scores_of_wanda_on_a_language_model_are_weights_times_the_norms_of_what_hooks_see():
    data = topo.datasets.load("text", context=8, train=30, test=4)
    net = topo.models.build("gpt", input_shape=(8,), n_classes=data.n_classes, width=8, heads=2, layers=1).double()
    seen: dict[str, torch.Tensor] = {}
    for name, layer in net.named_modules():
        if isinstance(layer, nn.Linear):
            layer.register_forward_hook(lambda m, given, out, name=name: seen.__setitem__(f"{name}.weight", given[0]))
    scores = topo.pruning.score(net, "wanda", data=data, device="cpu", sequential=False, samples=30)
    net(data.train.inputs)
    assert scores.keys() == seen.keys()
    for name, score in scores.items():
        norms = seen[name].detach().flatten(0, 1).square().sum(0).sqrt()
        torch.testing.assert_close(score, net.get_parameter(name).detach().abs() * norms)


def perplexities(net: nn.Module, data, calls) -> dict[str, float]:
    found = {"dense": evaluate(net, data, device="cpu")["perplexity"]}
    for label, (name, settings) in calls.items():
        masks = topo.prune(net, name, sparsity=0.5, data=data, device="cpu", **settings)
        assert masks.sparsity == 0.5
        pruned = copy.deepcopy(net)
        masks.install(pruned)
        found[label] = evaluate(pruned, data, device="cpu")["perplexity"]
    return found


@pytest.mark.slow
def test_perplexity_before_and_after_on_both_kinds_of_language_model():
    """Networks pruned by half are better than those pruned at random, and the dense one hardly worse than any."""
    tokens = topo.datasets.load("text", context=8, train=200, test=40)
    net = topo.models.build("gpt", input_shape=(8,), n_classes=tokens.n_classes, width=12, layers=1)
    gpt2, _ = public_model("gpt2")
    gpt2.resize_token_embeddings(tokens.n_classes)
    as_labels = [
        {"input_ids": split.inputs, "attention_mask": torch.ones_like(split.inputs), "labels": split.inputs}
        for split in (tokens.train, tokens.test)
    ]
    of_both = (net, tokens), (gpt2, topo.datasets.as_dataset(as_labels[0], test=as_labels[1]))
    calls = {
        "random": ("uniform", {}),
        "wanda": ("wanda", {}),
        "wanda 2:4": ("wanda", {"allocation": "2:4"}),
        "sparsegpt": ("sparsegpt", {}),
        "sparsegpt 2:4": ("sparsegpt", {"pattern": "2:4"}),
    }
    for model, data in of_both:
        train(model, data, recipe("text", epochs=4, batch_size=16, learning_rate=1e-2), device="cpu", progress=False)
        found = perplexities(model, data, calls)
        assert found["dense"] < 16 < data.n_classes
        for label in list(calls)[1:]:
            assert 0.95 * found["dense"] < found[label] < found["random"], (label, found)


@pytest.mark.parametrize("norm", ["weight_norm", "spectral_norm"])
def test_computed_weights_are_ranked_as_they_are_and_not_adjusted(norm):
    net, _, data = pair()
    normed = copy.deepcopy(net)
    getattr(nn.utils.parametrizations, norm)(normed[0])
    normed.eval()
    with torch.no_grad():
        net[0].weight.copy_(normed[0].weight)
    for allocation in ("row", "global", "2:4"):
        masks = [
            topo.prune(n, "wanda", sparsity=0.5, data=data, device="cpu", allocation=allocation) for n in (normed, net)
        ]
        assert masks[0] == masks[1]
    for name in ("sparsegpt", "obs"):
        with pytest.raises(InputError, match=r"0.weight is not multiplied as it is but .*remove_parametrizations"):
            topo.prune(normed, name, sparsity=0.5, data=data, device="cpu")
        assert topo.prune(normed, name, sparsity=0.5, data=data, device="cpu", exclude="0.*").sparsity == 0.5
