from __future__ import annotations

import copy
import random

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import topo.datasets
import topo.models
import topo.pruning
from topo.errors import InputError
from topo.masks import prunable_parameters
from topo.pruning import PRUNERS, by_score

NAMES = ["uniform", "er", "erk", "snip", "grasp", "synflow", "magnitude", "magnitude-layerwise"]
GLOBAL = ["snip", "grasp", "synflow", "magnitude"]


def options(name: str) -> dict:
    return {"rounds": 5} if name == "synflow" else {}


def test_the_registry():
    assert set(NAMES) <= set(PRUNERS)
    for name in NAMES:
        entry = PRUNERS.entry(name)
        assert entry.family == entry.info["stage"] == ("trained" if name.startswith("magnitude") else "initial")
        assert entry.info["needs_data"] == (name in ("snip", "grasp"))
        assert entry.info["paper"]
        assert entry.summary.endswith(".") and len(entry.summary) < 100


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("sparsity", [0, 0.5, 0.87])
def test_counts_are_exact_on_awkward_layers(name, sparsity, awkward, images):
    masks = topo.prune(awkward, name, sparsity=sparsity, data=images, **options(name))
    table = masks.counts()
    total = table["total"].sum()
    assert list(masks) == list(prunable_parameters(awkward))
    assert table["kept"].sum() == round((1 - sparsity) * total)
    masks.check(awkward)
    assert masks.algorithm == name
    assert masks.asked_sparsity == sparsity
    assert masks.seed == 0
    if name not in GLOBAL:
        assert masks.empty_layers() == []
    if name in ("uniform", "magnitude-layerwise"):
        assert ((table["kept"] - (1 - sparsity) * table["total"]).abs() < 1).all()


@given(name=st.sampled_from(["uniform", "erk", "magnitude"]), sparsity=st.floats(0, 0.95), seed=st.integers(-9, 9))
def test_counts_are_exact_for_any_sparsity(name, sparsity, seed):
    net = nn.Sequential(nn.Linear(7, 11), nn.Linear(11, 3))
    masks = topo.prune(net, name, sparsity=sparsity, seed=seed)
    assert masks.counts()["kept"].sum() == round((1 - sparsity) * 110)


@pytest.mark.parametrize("name", NAMES)
def test_everything_of_the_caller_stays_as_it_was(name, awkward, images):
    awkward.train()
    awkward.norm.eval()
    awkward.head.weight.requires_grad_(False)
    awkward(images[0]).sum().backward()
    state = copy.deepcopy(awkward.state_dict())
    gradients = {k: None if p.grad is None else p.grad.clone() for k, p in awkward.named_parameters()}
    flags = [module.training for module in awkward.modules()]
    required = [p.requires_grad for p in awkward.parameters()]
    inputs = images[0].clone()
    torch_state, numpy_state, python_state = torch.get_rng_state(), np.random.get_state(), random.getstate()  # noqa: NPY002

    with torch.no_grad():
        topo.prune(awkward, name, sparsity=0.5, data=images, seed=5, **options(name))

    assert torch.equal(torch.get_rng_state(), torch_state)
    assert all(np.array_equal(a, b) for a, b in zip(np.random.get_state(), numpy_state))  # noqa: NPY002
    assert random.getstate() == python_state
    assert all(torch.equal(value, state[key]) for key, value in awkward.state_dict().items())
    for key, p in awkward.named_parameters():
        assert (p.grad is None) == (gradients[key] is None)
        assert p.grad is None or torch.equal(p.grad, gradients[key])
    assert [module.training for module in awkward.modules()] == flags
    assert [p.requires_grad for p in awkward.parameters()] == required
    assert torch.equal(images[0], inputs)


@pytest.mark.parametrize("name", NAMES)
def test_deterministic_by_seed_whatever_the_mode_and_the_global_state(name, awkward, images):
    settings = {"samples_per_class": 2} if name == "grasp" else {"batch_size": 6} if name == "snip" else options(name)
    first = topo.prune(awkward, name, sparsity=0.6, data=images, seed=3, **settings)
    torch.rand(5)
    with torch.inference_mode():
        second = topo.prune(awkward.eval(), name, sparsity=0.6, data=images, seed=3, **settings)
    assert first == second
    other = topo.prune(awkward, name, sparsity=0.6, data=images, seed=4, **settings)
    assert (first == other) == (name in ("synflow", "magnitude", "magnitude-layerwise"))


@pytest.mark.parametrize("name", NAMES)
def test_include_and_exclude(name, awkward, images):
    masks = topo.prune(
        awkward, name, sparsity=0.5, data=images, include=["*conv*", "up.*"], exclude="up.*", **options(name)
    )
    assert list(masks) == ["conv.weight"]
    assert masks.settings["include"] == ["*conv*", "up.*"]
    assert masks.settings["exclude"] == ["up.*"]
    biased = topo.prune(awkward, name, sparsity=0.25, data=images, include=["*.weight", "conv.bias"], **options(name))
    assert "conv.bias" in biased


def test_settings_are_recorded_with_their_defaults(awkward, images):
    masks = topo.prune(awkward, "snip", sparsity=0.5, data=images, batch_size=6)
    assert masks.settings == {"batch_size": 6, "allocation": "global", "rounds": 1}
    assert topo.prune(awkward, "er", sparsity=0.5).settings == {}


def test_topo_prune_is_the_function_of_the_package(awkward):
    assert topo.prune(awkward, "er", sparsity=0.5) == topo.pruning.prune(awkward, "er", sparsity=0.5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "snipp"}, "unknown pruner 'snipp'; did you mean 'snip'"),
        ({"sparsity": 1}, "sparsity must be a number of at least 0 and below 1"),
        ({"sparsity": -0.1}, "sparsity must be"),
        ({"sparsity": float("nan")}, "sparsity must be"),
        ({"sparsity": "0.9"}, "sparsity must be"),
        ({"sparsity": True}, "sparsity must be"),
        ({"sparsity": 0.999999}, "leaves none of the"),
        ({"seed": 0.5}, "seed must be a whole number"),
        ({"device": "gpu"}, "unknown device 'gpu'"),
        ({"name": "snip"}, "pruner 'snip' needs data"),
        ({"name": "grasp"}, "pruner 'grasp' needs data"),
        ({"name": "synflow"}, "pruner 'synflow' needs an example of the model's input; give example="),
        ({"roundss": 3}, "unknown setting of pruner 'magnitude' 'roundss'; did you mean 'rounds'"),
        ({"name": "er", "rounds": 3}, "takes no settings"),
        ({"exlude": ["head"]}, r"'exlude'; did you mean 'exclude'.*\? Known: allocation, rounds"),
        ({"name": "er", "exlude": ["head"]}, r"'exlude'; did you mean 'exclude'.*\?$"),
        ({"allocation": "erkk"}, "unknown allocation 'erkk'; did you mean"),
        ({"rounds": 0}, "rounds must be a whole number of at least 1"),
        ({"include": "nothing.*"}, "matches no parameter"),
        ({"name": "uniform", "sparsity": 0.98}, "cannot be spread over"),
        ({"name": "synflow", "example": (2, 0)}, "must be of sizes from 1 up"),
        ({"name": "synflow", "example": 4.5}, "topo.prune needs an example of the model's input"),
        ({"name": "synflow", "example": (3, 4, 4)}, r"does not take inputs of shape \(1, 3, 4, 4\)"),
    ],
)
def test_bad_arguments(awkward, arguments, message):
    with pytest.raises(InputError, match=message):
        topo.prune(awkward, **{"name": "magnitude", "sparsity": 0.5, **arguments})


def test_a_model_must_be_a_module():
    with pytest.raises(InputError, match=r"needs an nn\.Module or a traced network; got int"):
        topo.prune(3, "er", sparsity=0.5)


@pytest.mark.parametrize("name", ["snip", "grasp"])
class TestUnfitData:
    def test_shape(self, name, awkward, images):
        with pytest.raises(InputError, match=r"does not take inputs of shape \(12, 3, 4, 4\)"):
            topo.prune(awkward, name, sparsity=0.5, data=(torch.zeros(12, 3, 4, 4), images[1]))

    def test_labels(self, name, awkward, images):
        with pytest.raises(InputError, match="labels from 0 to 5 and the model has 3 outputs; give labels from 0 to 2"):
            topo.prune(awkward, name, sparsity=0.5, data=(images[0], torch.arange(12) % 6))

    def test_nan(self, name, awkward, images):
        with pytest.raises(InputError, match=r"gives conv.weight, .* are not all finite"):
            topo.prune(awkward, name, sparsity=0.5, data=(images[0] * float("nan"), images[1]))

    def test_targets(self, name, awkward, images):
        for targets in (torch.rand(12, 2), torch.arange(12.0) % 3):
            kind = r"targets torch.float32 of shape \(12.*\) and the model returns torch.float32 of shape \(12, 3\)"
            with pytest.raises(InputError, match=kind):
                topo.prune(awkward, name, sparsity=0.5, data=(images[0], targets))

    def test_outputs(self, name, images):
        net = nn.Sequential(nn.Flatten(), nn.Linear(32, 1), nn.Flatten(0))
        with pytest.raises(InputError, match="one tensor of logits"):
            topo.prune(net, name, sparsity=0.5, data=images)


def test_nan_weights_name_the_layer(awkward):
    with torch.no_grad():
        awkward.shared.weight[0, 0] = float("nan")
    with pytest.raises(InputError, match=r"gives shared.weight are not all finite"):
        topo.prune(awkward, "magnitude", sparsity=0.5)


def test_a_dead_network_has_no_order():
    net = nn.Linear(3, 3)
    nn.init.zeros_(net.weight)
    with pytest.raises(InputError, match="scores every weight zero"):
        topo.prune(net, "magnitude", sparsity=0.5)


def test_emptied_layers_are_reported_or_refused():
    net = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4))
    with torch.no_grad():
        net[1].weight.mul_(1e-3)
    masks = topo.prune(net, "magnitude", sparsity=0.7)
    assert masks.empty_layers() == ["1.weight"]
    with pytest.raises(InputError, match=r"leaves no weight in 1.weight; lower the sparsity"):
        topo.prune(net, "magnitude", sparsity=0.7, allow_empty_layers=False)
    assert topo.prune(net, "magnitude-layerwise", sparsity=0.7, allow_empty_layers=False).empty_layers() == []


def test_a_score_function_is_a_whole_pruner(monkeypatch, awkward):
    @by_score(allocation="uniform", rounds=2)
    def first_weights(task, *, slope=1.0):
        "Keeps the first weights of every layer."
        return {n: -slope * torch.arange(w.numel()).view(w.shape).double() for n, w in task.weights.items()}

    monkeypatch.setattr(PRUNERS, "_entries", dict(PRUNERS._entries))
    PRUNERS.register("first", family="initial", stage="initial", needs_data=False)(first_weights)
    masks = topo.prune(awkward, "first", sparsity=0.5, slope=2.0)
    for mask in masks.values():
        kept = int(mask.sum())
        assert mask.flatten()[:kept].all()
    assert PRUNERS.entry("first").summary == "Keeps the first weights of every layer."
    assert masks.settings == {"slope": 2.0, "allocation": "uniform", "rounds": 2}


def test_rounds_see_the_weights_that_are_left(monkeypatch):
    net = nn.Linear(8, 8)
    seen = []

    @by_score(rounds=3)
    def magnitude(task):
        seen.append({n: w.detach().clone() for n, w in task.weights.items()}["weight"])
        return {n: w.detach().abs() for n, w in task.weights.items()}

    monkeypatch.setattr(PRUNERS, "_entries", dict(PRUNERS._entries))
    PRUNERS.register("seen", family="own", stage="initial", needs_data=False)(magnitude)
    masks = topo.prune(net, "seen", sparsity=1 - 1 / 8)
    assert [int((w != 0).sum()) for w in seen] == [64, 32, 16]
    assert int(masks["weight"].sum()) == 8
    assert masks == topo.prune(net, "magnitude", sparsity=1 - 1 / 8)


def test_pruned_weights_do_not_return_even_when_all_else_scores_lower(monkeypatch):
    @by_score(rounds=4)
    def alternating(task):
        alternating.sign = -getattr(alternating, "sign", 1)
        return {
            n: alternating.sign * (1 + torch.arange(w.numel()).view(w.shape).double()) for n, w in task.weights.items()
        }

    monkeypatch.setattr(PRUNERS, "_entries", dict(PRUNERS._entries))
    PRUNERS.register("alternating", family="own", stage="initial", needs_data=False)(alternating)
    masks = topo.prune(nn.Linear(16, 1), "alternating", sparsity=1 - 1 / 16)
    # 16 -> 8 first -> the last 4 of those -> the first 2 of those -> the last
    assert masks["weight"].flatten().nonzero().flatten().tolist() == [5]


def test_scores_are_of_the_dense_model_and_for_scoring_pruners_only(awkward, images):
    scores = topo.pruning.score(awkward, "snip", data=images)
    assert {n: s.shape for n, s in scores.items()} == {n: p.shape for n, p in prunable_parameters(awkward).items()}
    with pytest.raises(InputError, match="pruner 'er' does not score weights"):
        topo.pruning.score(awkward, "er")
    with pytest.raises(InputError, match="unknown setting of the score of pruner 'snip'"):
        topo.pruning.score(awkward, "snip", data=images, rounds=3)


class Lookup(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding, self.head = nn.Embedding(5, 6), nn.Linear(6, 3)

    def forward(self, words: torch.Tensor) -> torch.Tensor:
        return self.head(self.embedding(words).mean(1))


def test_integer_inputs_stay_integers():
    data = (torch.arange(20).view(4, 5) % 5, torch.tensor([0, 1, 2, 0]))
    assert list(topo.prune(Lookup(), "snip", sparsity=0.5, data=data)) == ["head.weight"]


class Two(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(3, 2), nn.Linear(4, 2)

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return self.a(x) + self.b(y)


@pytest.mark.parametrize("name", ["snip", "grasp", "synflow"])
def test_models_with_two_inputs(name):
    data = ((torch.randn(6, 3), torch.randn(6, 4)), torch.arange(6) % 2)
    assert len(topo.prune(Two(), name, sparsity=0.5, data=data)) == 2


def test_a_model_that_cannot_be_copied():
    net = nn.Linear(2, 2)
    net.derived = net.weight * 2
    with pytest.raises(InputError, match="cannot be copied"):
        topo.prune(net, "er", sparsity=0.5)


@pytest.mark.parametrize("name", NAMES)
def test_on_a_dataset_and_a_model_of_the_package(name):
    dataset = topo.datasets.load("digits")
    model = topo.models.build("digits-cnn", input_shape=dataset.input_shape, n_classes=dataset.n_classes)
    masks = topo.prune(model, name, sparsity=0.9, data=dataset)
    assert masks.counts()["kept"].sum() == round(0.1 * masks.counts()["total"].sum())
    masks.check(model)


@pytest.mark.parametrize(
    "name", ["snip", "grasp", "iterative-snip", "force", "prospr", "synflow", "ntk-sap", "px", "obd"]
)
def test_weights_without_a_gradient_are_refused_by_name(name):
    class Idle(nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.idle = nn.Linear(4, 3), nn.Linear(4, 3)

        def forward(self, x):
            return self.used(x)

    data = torch.randn(6, 4), torch.arange(6) % 3
    with pytest.raises(InputError, match=r"idle\.weight get no gradient.*exclude"):
        topo.prune(Idle(), name, sparsity=0.5, data=data, include=["used.*", "idle.weight"])
    assert list(topo.prune(Idle(), name, sparsity=0.5, data=data)) == ["used.weight"]
