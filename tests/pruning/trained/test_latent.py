"""Training of weights behind those of the network: soft thresholds, soft masks, scores."""

from __future__ import annotations

from itertools import pairwise
from types import SimpleNamespace

import pytest
import torch
from torch import nn

import topo.pruning
from topo.datasets import load
from topo.errors import InputError
from topo.pruning.allocation import keep_largest
from topo.pruning.trained.latent import threshold
from topo.training import Callback, Recipe, train

DATA = load("digits", subset=4)
PLAN = Recipe(
    epochs=16, batch_size=64, learning_rate=0.5, momentum=0.0, weight_decay=0.01, schedule="constant", augment=False
)
NAMES = ("str", "continuous-sparsification", "edge-popup")


def net() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 12), nn.ReLU(), nn.Linear(12, 10)).double()


class Adam:
    """Adam as in its paper, in a few lines."""

    def __init__(self, rate: float, like: list[torch.Tensor]) -> None:
        self.rate, self.t = rate, 0
        self.m, self.v = ([torch.zeros_like(x) for x in like] for _ in range(2))

    def step(self, values: list[torch.Tensor], slopes: list[torch.Tensor]) -> None:
        self.t += 1
        for x, g, m, v in zip(values, slopes, self.m, self.v, strict=True):
            m.mul_(0.9).add_(0.1 * g)
            v.mul_(0.999).add_(0.001 * g * g)
            x -= self.rate * (m / (1 - 0.9**self.t)) / ((v / (1 - 0.999**self.t)).sqrt() + 1e-8)


def count_at(step: int, last: int, kept: int, total: int) -> int:
    return (
        kept if step >= last else max(kept, round((kept / total + (1 - kept / total) * (1 - step / last) ** 3) * total))
    )


def kth(scores: list[torch.Tensor], k: int) -> torch.Tensor:
    return torch.cat([s.flatten() for s in scores]).sort(descending=True).values[k - 1]


def soft_thresholds(weights, numbers, step, last, kept, total):
    """The function that STR computes with, and how it orders weights."""
    scores = [w.detach().abs().log() - s.detach() for w, s in zip(weights, numbers, strict=True)]
    count = count_at(step, last, kept, total)
    common = -torch.inf if count == total else (kth(scores, count) + kth(scores, count + 1)) / 2
    made = [w.sign() * (w.abs() - torch.exp(s + common)).relu() for w, s in zip(weights, numbers, strict=True)]
    return made, scores


def soft_masks(weights, numbers, step, last, kept, total):
    """The function that continuous sparsification computes with, and how it orders weights."""
    scores = [s.detach() for s in numbers]
    common, beta = kth(scores, count_at(step, last, kept, total)), 200 ** (step / last)
    return [w * torch.sigmoid(beta * (s - common)) for w, s in zip(weights, numbers, strict=True)], scores


@pytest.mark.parametrize(
    ("name", "function", "shape"),
    [("str", soft_thresholds, lambda w: ()), ("continuous-sparsification", soft_masks, lambda w: w.shape)],
)
def test_training_written_out_with_autograd(name, function, shape):
    model = net()
    inputs, targets = next(iter(DATA.batches("train", 64)))
    inputs = inputs.double().flatten(1)
    values = {key: p.detach().clone() for key, p in model.named_parameters()}
    weights, biases = ([values[f"{i}.{kind}"] for i in (1, 3)] for kind in ("weight", "bias"))
    numbers = [torch.zeros(shape(w), dtype=torch.float64) for w in weights]
    adam, last, total = Adam(0.01, numbers), 12, 888
    kept, mask = round(0.3 * total), [torch.ones_like(w) for w in weights]
    for step in range(16):
        for tensor in (*weights, *biases, *numbers):
            tensor.requires_grad_()
        made, _ = function(weights, numbers, step, last, kept, total) if step < last else (weights, None)
        hidden = (inputs @ made[0].T + biases[0]).relu()
        loss = nn.functional.cross_entropy(hidden @ made[1].T + biases[1], targets)
        slopes = torch.autograd.grad(loss, (*weights, *biases, *numbers), allow_unused=True)
        for tensor in (*weights, *biases, *numbers):
            tensor.requires_grad_(False)
        for tensor, g in zip((*weights, *biases), slopes, strict=False):
            tensor -= 0.5 * (g + 0.01 * tensor)
        if step < last:
            adam.step(numbers, list(slopes[4:]))
        if step + 1 == last:
            made, scores = function(weights, numbers, last, last, kept, total)
            mask = [(s >= kth(scores, kept)).double() for s in scores]
            weights = [(m if name == "str" else w) * k for m, w, k in zip(made, weights, mask, strict=True)]
        weights = [w * k for w, k in zip(weights, mask, strict=True)]
    pruner = topo.pruning.sparse_training_callback(model, name, sparsity=0.7, learning_rate=0.01)
    run = train(model, DATA, PLAN, masks=pruner.masks, callbacks=[pruner], device="cpu", progress=False)
    for i, key in enumerate(("1.weight", "3.weight")):
        assert torch.equal(run.masks[key], mask[i].bool())
        torch.testing.assert_close(dict(model.named_parameters())[key].detach(), weights[i], rtol=1e-6, atol=1e-9)


class Watch(Callback):
    """What the network computes with after every step."""

    def on_start(self, state):
        self.seen = [state.model[1].weight.detach().clone()]

    def on_step_end(self, state):
        self.seen.append(state.model[1].weight.detach().clone())


def watched(name: str, **settings):
    model, watch = net().float(), Watch()
    pruner = topo.pruning.sparse_training_callback(model, name, sparsity=0.7, **settings)
    run = train(model, DATA, PLAN, masks=pruner.masks, callbacks=[pruner, watch], device="cpu", progress=False)
    return model, run, watch.seen, pruner


def test_soft_thresholds_leave_as_many_weights_as_the_schedule_says():
    model, watch = net().float(), Watch()
    pruner = topo.pruning.sparse_training_callback(model, "str", sparsity=0.7, include="1.*")
    train(model, DATA, PLAN, masks=pruner.masks, callbacks=[pruner, watch], device="cpu", progress=False)
    counts = [int((weight != 0).sum()) for weight in watch.seen]
    assert counts == [count_at(step, 12, 230, 768) for step in range(13)] + 4 * [230]


def test_thresholds_of_layers_are_learned():
    _, _, _, pruner = watched("str")
    learned = torch.stack(list(pruner.numbers.values()))
    assert learned.min() < 0 < learned.max() or (learned != 0).all()
    _, _, _, still = watched("str", learning_rate=0.0)
    assert all(number == 0 for number in still.numbers.values())


def test_edge_popup_trains_scores_alone():
    """Weights are +-sqrt(2 / (k fan_in)); the scores are those of a straight-through estimate, written out."""
    start = net().float()
    model, run, seen, _ = watched("edge-popup")
    kept = torch.tensor([w.count_nonzero() for w in seen])
    assert (kept == 230).all()
    for i, fan_in in ((1, 64), (3, 12)):
        mask = run.masks[f"{i}.weight"]
        size = (2 / (float(mask.double().mean()) * fan_in)) ** 0.5
        expected = torch.where(mask, start[i].weight.sign() * size, 0.0)
        torch.testing.assert_close(model[i].weight, expected)
        assert torch.equal(model[i].bias, start[i].bias)
    assert any(not torch.equal(a != 0, b != 0) for a, b in pairwise(seen))
    assert run.history["train_loss"].iloc[-1] < run.history["train_loss"].iloc[0]


def test_scores_of_edge_popup_follow_gradient_times_weight_also_where_pruned():
    model = net().float()
    inputs, targets = next(iter(DATA.batches("train", 64)))
    pruner = topo.pruning.sparse_training_callback(model, "edge-popup", sparsity=0.7, constant=False)
    before: dict[str, torch.Tensor] = {}

    class First(Callback):
        def on_start(self, state):
            self.scores = {n: s.clone() for n, s in pruner.numbers.items()}
            for n, p in state.model.named_parameters():
                before[n] = p.detach().clone()

        def on_step_end(self, state):
            if state.step == 1:
                self.moved = {n: s - self.scores[n] for n, s in pruner.numbers.items()}

    first = First()
    train(model, DATA, PLAN, masks=pruner.masks, callbacks=[pruner, first], device="cpu", progress=False)
    hidden = (inputs.flatten(1) @ before["1.weight"].T + before["1.bias"]).relu()
    used = before["3.weight"].clone().requires_grad_()
    loss = nn.functional.cross_entropy(hidden @ used.T + before["3.bias"], targets)
    (slope,) = torch.autograd.grad(loss, used)
    latent = pruner.latent["3.weight"]
    assert (used == 0).any()
    large = (slope * latent).abs() > 1e-6
    # The first step of Adam goes by the learning rate against the sign.
    torch.testing.assert_close(
        first.moved["3.weight"][large], -0.01 * (slope * latent).sign()[large], rtol=1e-2, atol=1e-5
    )


class Begin(Callback):
    """The numbers that are learned beside the weights, as they are in the beginning."""

    def __init__(self, pruner):
        self.pruner = pruner

    def on_start(self, state):
        self.numbers = {name: number.clone() for name, number in self.pruner.numbers.items()}


def test_training_of_scores_written_out_with_autograd():
    """The largest scores of each layer choose, and pass what reaches the choice on to themselves (straight through)."""
    model = net()
    inputs, targets = next(iter(DATA.batches("train", 64)))
    inputs = inputs.double().flatten(1)
    start = {key: p.detach().clone() for key, p in model.named_parameters()}
    pruner = topo.pruning.sparse_training_callback(model, "edge-popup", sparsity=0.7, learning_rate=0.05)
    begin = Begin(pruner)
    run = train(model, DATA, PLAN, masks=pruner.masks, callbacks=[pruner, begin], device="cpu", progress=False)
    scores = [begin.numbers[f"{i}.weight"] for i in (1, 3)]
    for number, fan_in in zip(scores, (64, 12), strict=True):
        assert 0 <= number.min() < 0.2 / fan_in**0.5 and 0.8 / fan_in**0.5 < number.max() <= 1 / fan_in**0.5
    counts = [230, 36]
    weights = [
        start[f"{i}.weight"].sign() * (2 * number.numel() / (count * fan_in)) ** 0.5
        for i, number, count, fan_in in zip((1, 3), scores, counts, (64, 12), strict=True)
    ]
    adam, first = Adam(0.05, scores), [number.clone() for number in scores]
    for _ in range(16):
        learned = [number.clone().requires_grad_() for number in scores]
        chosen = [(number >= kth([number], count)).double() for number, count in zip(scores, counts, strict=True)]
        used = [w * (mask + s - s.detach()) for w, mask, s in zip(weights, chosen, learned, strict=True)]
        hidden = (inputs @ used[0].T + start["1.bias"]).relu()
        loss = nn.functional.cross_entropy(hidden @ used[1].T + start["3.bias"], targets)
        adam.step(scores, list(torch.autograd.grad(loss, learned)))
    for i, number, count, old in zip((1, 3), scores, counts, first, strict=True):
        mask = number >= kth([number], count)
        assert torch.equal(run.masks[f"{i}.weight"], mask) and not torch.equal(mask, old >= kth([old], count))
        torch.testing.assert_close(pruner.numbers[f"{i}.weight"], number, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("sparsity", [0.0, 0.5, 0.97])
def test_counts_are_exact(name, sparsity):
    masks = topo.prune(net().float(), name, sparsity=sparsity, data=DATA, recipe=PLAN)
    assert sum(int(mask.sum()) for mask in masks.values()) == round((1 - sparsity) * 888)


@pytest.mark.parametrize("name", NAMES)
def test_counts_are_exact_where_nothing_is_learned(name):
    plan = topo.training.recipe("digits", epochs=1, batch_size=64)
    masks = topo.prune(net().float(), name, sparsity=0.9, data=DATA, recipe=plan, learning_rate=0)
    assert sum(int(mask.sum()) for mask in masks.values()) == 89


def test_the_smallest_of_the_largest():
    scores = {"a": torch.tensor([[5.0, 1.0]]), "b": torch.tensor([3.0, 2.0])}
    assert [float(threshold(scores, k)) for k in (1, 2, 3, 4)] == [5, 3, 2, 1]


@pytest.mark.parametrize(
    ("name", "settings"),
    [("str", {"stop": 0}), ("str", {"learning_rate": -1}), ("continuous-sparsification", {"hardness": 0.5}),
     ("edge-popup", {"constant": 1})],
    ids=str,
)  # fmt: skip
def test_settings_out_of_range_are_refused(name, settings):
    with pytest.raises(InputError, match=next(iter(settings))):
        topo.prune(net(), name, sparsity=0.7, data=DATA, recipe="digits", **settings)


def equal() -> nn.Module:
    """Weights of one size, of both signs."""
    model = net().float()
    with torch.no_grad():
        for layer in (model[1], model[3]):
            layer.weight.sign_().mul_(0.1)
    return model


def test_soft_thresholds_part_weights_of_equal_size_by_their_order():
    watch, model = Watch(), equal()
    pruner = topo.pruning.sparse_training_callback(model, "str", sparsity=0.7, include="1.*")
    run = train(model, DATA, PLAN, masks=pruner.masks, callbacks=[pruner, watch], device="cpu", progress=False)
    counts = [int((weight != 0).sum()) for weight in watch.seen]
    assert counts == [count_at(step, 12, 230, 768) for step in range(13)] + 4 * [230]
    assert run.history["train_loss"].iloc[-1] < run.history["train_loss"].iloc[0]


def test_of_equal_thresholds_none_is_left_where_nothing_smaller_is_pruned():
    weights = torch.tensor([[0.5, -0.5, 0.5, 0.5]])
    pruner = topo.pruning.sparse_training_callback(nn.Linear(4, 1), "str", sparsity=0.5)
    pruner.names, pruner.latent, pruner.numbers = ["weight"], {"weight": weights}, {"weight": torch.zeros(())}
    pruner.last = 1
    pruner.prepare(SimpleNamespace(step=1))
    assert pruner.made("weight").tolist() == [[0.5, -0.5, 0.0, 0.0]]
    latent, number = pruner.slopes("weight", torch.ones(1, 4))
    assert (latent.tolist(), float(number)) == ([[1.0, 1.0, 0.0, 0.0]], 0.0)


def test_masks_that_never_move_keep_the_largest_weights():
    model = net().float()
    pruner = topo.pruning.sparse_training_callback(model, "continuous-sparsification", sparsity=0.7, learning_rate=0)
    run = train(model, DATA, PLAN, masks=pruner.masks, callbacks=[pruner], device="cpu", progress=False)
    # Latent weights are those of the moment at which masks were fixed.
    expected = keep_largest({n: w.abs() for n, w in pruner.latent.items()}, round(0.3 * 888))
    assert all(torch.equal(run.masks[name], mask) for name, mask in expected.items())


def test_of_equal_soft_masks_the_larger_weights_stay():
    pruner = topo.pruning.sparse_training_callback(nn.Linear(4, 1), "continuous-sparsification", sparsity=0.5)
    pruner.latent = {"weight": torch.tensor([[1.0, 2.0, -3.0, 9.0]])}
    chosen = pruner.chosen({"weight": torch.tensor([[0.5, 0.1, 0.1, -torch.inf]])})
    assert chosen["weight"].tolist() == [[True, False, True, False]]


def test_equal_scores_of_edge_popup_let_no_more_weights_in():
    pruner = topo.pruning.sparse_training_callback(nn.Linear(4, 1), "edge-popup", sparsity=0.5)
    pruner.latent, pruner.numbers = {"weight": torch.ones(1, 4)}, {"weight": torch.ones(1, 4)}
    assert pruner.made("weight").tolist() == [[1.0, 1.0, 0.0, 0.0]]


def test_edge_popup_scales_by_the_inputs_of_an_output():
    """A transposed convolution by 1 x 1 is a convolution with the transposed kernel."""
    inputs, targets = torch.randn(6, 6, 2, 2, generator=torch.Generator().manual_seed(0)), torch.arange(6) % 2
    up = nn.Sequential(nn.ConvTranspose2d(6, 2, 1, groups=2), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    masks = topo.prune(up, "edge-popup", sparsity=0.5, data=(inputs, targets), recipe=PLAN)
    weight = masks.state["0.weight"]
    assert weight[masks["0.weight"]].abs().unique().tolist() == pytest.approx([(2 / (0.5 * 3)) ** 0.5])


@pytest.mark.parametrize("name", ["str", "edge-popup", "top-kast"])
def test_zeros_that_a_norm_would_divide_by_zero_are_refused(name):
    """Such a network computes NaN, whatever the learning rate is."""
    torch.manual_seed(0)
    first = nn.utils.parametrizations.weight_norm(nn.Linear(2, 6))
    model = nn.Sequential(first, nn.ReLU(), nn.Linear(6, 20))
    data = torch.randn(20, 2), torch.arange(20) % 3
    plan = Recipe(epochs=2, batch_size=10, learning_rate=0.1, augment=False)
    call = {"sparsity": 0.9, "data": data, "recipe": plan, "device": "cpu"}
    with pytest.raises(
        InputError, match=rf"'{name}' computes with zeros in the place of a row of '0.weight', or of all"
    ):
        topo.prune(model, name, **call)
    masks = topo.prune(nn.utils.parametrize.remove_parametrizations(first, "weight") and model, name, **call)
    assert masks.sparsity == pytest.approx(0.9, abs=0.01)
