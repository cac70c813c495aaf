from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

import topo.pruning
from topo.errors import InputError
from topo.pruning.structured.slimming import ScalePenalty
from topo.training import Callback, train

SHAPE = (1, 8, 8)


def test_without_training_the_score_is_the_mean_absolute_scale(exact, images):
    with torch.no_grad():
        exact.norm1.weight[2] *= -1
    scores = topo.pruning.score(exact, "slimming", data=images, penalty=0)
    torch.testing.assert_close(scores["conv1.weight"][:, 0, 0, 0], exact.norm1.weight.detach().abs())
    stream = (exact.stem_norm.weight + exact.norm2.weight).detach() / 2
    torch.testing.assert_close(scores["conv2.weight"][:, 0, 0, 0], stream)


def test_units_without_batch_norm_stay_and_the_smallest_scales_of_all_layers_go(exact, images):
    masks = topo.prune(exact, "slimming", sparsity=0.45, data=images, penalty=0)
    assert masks["hidden.weight"].all(dim=0).sum() == 5
    assert masks["wide.weight"].flatten(1).any(dim=1).all()
    assert masks.state is None
    kept = {name: masks[f"{name}.weight"].flatten(1).any(dim=1) for name in ("conv1", "stem")}
    scales = {"conv1": exact.norm1.weight, "stem": (exact.stem_norm.weight + exact.norm2.weight) / 2}
    gone = torch.cat([scales[name][~kept[name]] for name in kept])
    left = torch.cat([scales[name][kept[name]] for name in kept])
    assert len(gone) > 0
    assert gone.max() < left.min()


def test_no_batch_norm_no_slimming(images):
    net = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(108, 10)).double()
    with pytest.raises(InputError, match="batch norm"):
        topo.prune(net, "slimming", sparsity=0.5, data=images, penalty=0)


def test_training_needs_a_recipe(little, few_digits):
    with pytest.raises(InputError, match="recipe"):
        topo.prune(little, "slimming", sparsity=0.5, data=few_digits)


def test_the_penalty_is_the_l1_norm_and_its_gradient_the_sign(little, few_digits, short):
    class Watch(Callback):
        def penalty(self, state):
            model = state.model
            value = ScalePenalty(["norm1.weight"], 0.5).penalty(state)
            (slope,) = torch.autograd.grad(value, model.norm1.weight)
            torch.testing.assert_close(value.detach(), 0.5 * model.norm1.weight.detach().abs().sum())
            torch.testing.assert_close(slope, 0.5 * model.norm1.weight.detach().sign())
            self.seen = True

    watch = Watch()
    train(little, few_digits, short, callbacks=[watch], device="cpu", progress=False)
    assert watch.seen


def test_a_larger_penalty_gives_smaller_scales_and_the_weights_go_along(little, few_digits, short):
    before = copy.deepcopy(little.state_dict())
    options = {"sparsity": 0.3, "data": few_digits, "recipe": short, "device": "cpu"}
    weak, strong = (topo.prune(little, "slimming", penalty=p, **options) for p in (1e-6, 1.0))
    norms = [sum(m.state[f"{n}.weight"].abs().sum() for n in ("stem_norm", "norm1", "norm2")) for m in (weak, strong)]
    assert norms[1] < 0.8 * norms[0]
    assert all(torch.equal(value, before[name]) for name, value in little.state_dict().items())
    scales = strong.state["norm1.weight"].abs()
    left = strong["conv1.weight"].flatten(1).any(dim=1)
    assert left.all() or scales[~left].max() < scales[left].min()
    strong.install(little)
    assert torch.equal(little.norm1.weight.detach(), strong.state["norm1.weight"])


def test_in_several_rounds_what_went_stays_gone(little, few_digits, short):
    masks = topo.prune(little, "slimming", sparsity=0.4, data=few_digits, recipe=short, rounds=2, device="cpu")
    assert masks.sparsity >= 0.4
    assert all((masks.state[name][~mask] == 0).all() for name, mask in masks.items())
