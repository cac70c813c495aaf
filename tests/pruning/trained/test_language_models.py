"""Wanda, SparseGPT, OBS and patterns on weights that are stored transposed, and on small language models."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.nn.utils.prune import random_unstructured

import topo
from tests.public_models import public_model
from topo.errors import InputError
from topo.parameter_names import copied
from topo.training import evaluate, recipe, train


class Transposed(nn.Module):
    """A linear layer whose weight is (inputs, outputs), as the Conv1D of GPT-2."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self.weight = nn.Parameter(layer.weight.detach().T.clone())
        self.bias = nn.Parameter(layer.bias.detach().clone())

    def forward(self, x):
        return torch.addmm(self.bias, x, self.weight)


def installed(net, masks):
    """A copy of a network with masks and the weights that go with them."""
    model = copied(net)
    masks.install(model)
    return model.eval()


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
def test_computed_weights_are_ranked_and_adjusted_as_they_are(norm):
    """A weight norm has an inverse, so that any weight can be adjusted; what a spectral norm divides by moves along."""
    net, _, data = pair()
    normed = copy.deepcopy(net)
    getattr(nn.utils.parametrizations, norm)(normed[0])
    normed.eval()
    with torch.no_grad():
        net[0].weight.copy_(normed[0].weight)
    options = {"sparsity": 0.5, "data": data, "device": "cpu"}
    for allocation in ("row", "global", "2:4"):
        masks = [topo.prune(n, "wanda", allocation=allocation, **options) for n in (normed, net)]
        assert masks[0] == masks[1]
    for name in ("sparsegpt", "obs"):
        if norm == "spectral_norm":
            with pytest.raises(InputError, match=r"0.weight is not multiplied as it is but .*remove_parametrizations"):
                topo.prune(normed, name, **options)
            assert topo.prune(normed, name, exclude="0.*", **options).sparsity == 0.5
            continue
        masks = [topo.prune(n, name, **options) for n in (normed, net)]
        assert masks[0] == masks[1]
        outputs = [installed(n, m)(data[0]) for n, m in zip((normed, net), masks, strict=True)]
        torch.testing.assert_close(*outputs)


@pytest.mark.parametrize("name", ["sparsegpt", "obs"])
def test_weights_under_a_mask_are_adjusted_within_it(name):
    net, _, data = pair()
    masked = copy.deepcopy(net)
    random_unstructured(masked[0], "weight", amount=0.25)
    kept = masked[0].weight_mask.bool()
    pruned = topo.prune(masked, name, sparsity=0.5, data=data, device="cpu")
    assert pruned.sparsity == 0.5
    assert not (pruned["0.weight"] & ~kept).any()
    x, small = data[0], installed(masked, pruned)
    with torch.no_grad():
        error = (small[0](x) - masked[0](x)).square().mean()
        cut = masked[0](x) - x @ (masked[0].weight * ~pruned["0.weight"]).T - masked[0](x)
    assert 0 < error < cut.square().mean()
    if name == "sparsegpt":
        masked[0].weight_mask[0, :3] = 0
        with pytest.raises(InputError, match="masks within the model keep fewer than 2 of some 4"):
            topo.prune(masked, name, sparsity=0.5, data=data, device="cpu", pattern="2:4")


@pytest.mark.parametrize("name", ["wanda", "sparsegpt", "obs"])
def test_weights_that_are_joined_are_parts_of_one_product(name):
    class Joined(nn.Module):
        def __init__(self, q, k):
            super().__init__()
            self.q, self.k, self.head = nn.Parameter(q), nn.Parameter(k), nn.Linear(6, 2)

        def forward(self, x):
            return self.head(torch.relu(nn.functional.linear(x, torch.cat([self.q, self.k]))))

    torch.manual_seed(0)
    net = Joined(torch.randn(4, 5), torch.randn(2, 5))  # as of fewer key heads than query heads
    whole = nn.Sequential(nn.Linear(5, 6, bias=False), nn.ReLU(), net.head)
    with torch.no_grad():
        whole[0].weight.copy_(torch.cat([net.q, net.k]))
    data = torch.randn(40, 5), torch.arange(40) % 2
    joined, alone = (topo.prune(n, name, sparsity=0.4, data=data, device="cpu") for n in (net, whole))
    assert joined["q"].sum() == 12 and joined["k"].sum() == 6
    torch.testing.assert_close(alone["2.weight"], joined["head.weight"])
    if name == "wanda":
        torch.testing.assert_close(alone["0.weight"], torch.cat([joined["q"], joined["k"]]))
