"""Losses by name and of one's own, through pruning, training, evaluation and what a study needs of them."""

from __future__ import annotations

import math

import pytest
import torch
from sklearn.metrics import jaccard_score, r2_score
from torch import nn
from torch.nn import functional

import topo
from topo.errors import InputError
from topo.pruning import PRUNERS
from topo.training import LOSSES, evaluate, measure_targets, recipe, train
from topo.training.losses import KINDS, find_loss

READ_TARGETS = {"snip", "grasp", "force", "iterative-snip", "prospr", "taylor", "obd", "dag"}
PLAN = recipe("table", epochs=2, batch_size=8)


def numbers(outputs: int = 2, samples: int = 24) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(samples, 5, generator=generator), torch.randn(samples, outputs, generator=generator)


def network(outputs: int = 2) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(5, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, outputs)
    )


class UNet(nn.Module):
    """A map of `outputs` channels from images, with a skip by concatenation."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.outer, self.inner = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 6, 3, padding=1)
        self.up, self.head = nn.ConvTranspose2d(6, 4, 2, stride=2), nn.Conv2d(8, outputs, 1)

    def forward(self, x):
        outer = torch.relu(self.outer(x))
        inner = torch.relu(self.inner(functional.max_pool2d(outer, 2)))
        return self.head(torch.cat([outer, torch.relu(self.up(inner))], dim=1))


def maps(kind: str) -> tuple[torch.Tensor, torch.Tensor]:
    images = torch.randn(10, 1, 6, 6, generator=torch.Generator().manual_seed(1))
    return images, {
        "classes": (images[:, 0] > 0).long() + (images[:, 0] > 1),
        "numbers": images * 2 + 1,
        "labels": images > 0,
    }[kind]


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_is_of_known_targets_and_has_a_gradient(name):
    kind = LOSSES.entry(name).info["targets"]
    targets = {"classes": torch.tensor([0, 2, 1]), "labels": torch.rand(3, 4) > 0.5, "numbers": torch.randn(3, 4)}[kind]
    outputs = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    found = find_loss(name, targets)
    assert kind in KINDS and found.name == name and LOSSES.entry(name).summary
    assert torch.autograd.gradcheck(lambda x: found(x, targets), outputs)
    assert found.paired(outputs[:, :2].flatten(), targets) is None


def test_values_are_those_of_torch():
    outputs, targets = torch.randn(6, 3), torch.randn(6, 3)
    by_name = {"mse": functional.mse_loss, "l1": functional.l1_loss, "smooth-l1": functional.smooth_l1_loss}
    for name, function in by_name.items():
        assert find_loss(name, targets)(outputs, targets) == function(outputs, targets)
    labels = targets > 0
    expected = functional.binary_cross_entropy_with_logits(outputs, labels.float())
    assert find_loss(None, labels)(outputs, labels) == expected
    assert find_loss("cross-entropy", targets.softmax(1))(outputs, targets.softmax(1)) == functional.cross_entropy(
        outputs, targets.softmax(1)
    )
    # one output a sample answers a vector of targets, and is not spread over all pairs of them
    assert find_loss(None, targets[:, 0])(outputs[:, :1], targets[:, 0]) == functional.mse_loss(
        outputs[:, 0], targets[:, 0]
    )


@pytest.mark.parametrize("name", [name for name in PRUNERS if PRUNERS.entry(name).info["needs_data"]])
@pytest.mark.parametrize("loss", ["mse", "own"])
def test_every_pruner_with_data_prunes_a_regression(name, loss):
    calls = []

    def own(outputs, targets):
        calls.append(len(targets))
        return functional.mse_loss(outputs, targets)

    masks = [
        topo.prune(network(), name, sparsity=0.4, data=numbers(), recipe=PLAN, loss=asked, device="cpu")
        for asked in ((None, "mse") if loss == "mse" else (own,))
    ]
    assert masks[0] == masks[-1] and masks[0].sparsity >= 0.35 and masks[-1].settings["loss"] == loss
    if loss == "own":
        assert masks[0] == topo.prune(network(), name, sparsity=0.4, data=numbers(), recipe=PLAN, device="cpu")
        assert calls or name not in READ_TARGETS


def test_the_score_is_that_of_the_loss():
    net, (inputs, targets) = network().eval(), numbers()
    scores = {
        asked: topo.pruning.score(net, "taylor", data=(inputs, targets), loss=asked, device="cpu")["0.weight"]
        for asked in ("mse", "l1")
    }
    assert not torch.allclose(scores["mse"], scores["l1"])
    net.requires_grad_(True)
    # SNIP of a linear model: |w dL/dw| of the mean squared error
    plain = nn.Linear(5, 2)
    gradient = torch.autograd.grad(functional.mse_loss(plain(inputs), targets), plain.weight)[0]
    found = topo.pruning.score(plain, "snip", data=(inputs, targets), device="cpu")["weight"]
    assert torch.allclose(found, (plain.weight * gradient).abs().detach(), rtol=1e-5)


def test_a_regression_is_trained_and_measured_as_such():
    (inputs, targets), net = numbers(2, 40), network()
    data = topo.datasets.as_dataset((inputs[:30], targets[:30]), test=(inputs[30:], targets[30:]))
    run = train(net, data, recipe("table", epochs=3), device="cpu")
    assert list(run.history)[2:6] == ["train_loss", "test_loss", "test_rmse", "test_r2"]
    found = evaluate(net, data, device="cpu", batch_size=4)
    outputs = net.eval()(inputs[30:]).detach()
    assert found == {
        "loss": pytest.approx(functional.mse_loss(outputs, targets[30:]).item(), rel=1e-6),
        "rmse": pytest.approx(functional.mse_loss(outputs, targets[30:]).sqrt().item(), rel=1e-6),
        "r2": pytest.approx(r2_score(targets[30:], outputs, multioutput="variance_weighted"), rel=1e-5),
    }
    assert run.history["test_r2"].iloc[-1] == pytest.approx(found["r2"])
    assert evaluate(net, data, device="cpu", loss="l1")["loss"] == pytest.approx(
        functional.l1_loss(outputs, targets[30:]).item(), rel=1e-6
    )
    assert all(math.isnan(value) for value in measure_targets(net, data, run.history, device="cpu").values())


def test_the_mean_of_the_targets_explains_nothing():
    constant = nn.Linear(5, 1)
    inputs, targets = numbers(1)
    with torch.no_grad():
        constant.weight.zero_()
        constant.bias[:] = targets.mean()
    assert evaluate(constant, (inputs, targets), device="cpu")["r2"] == pytest.approx(0, abs=1e-6)
    assert math.isnan(evaluate(constant, (inputs, torch.full((24,), 0.3)), device="cpu")["r2"])


@pytest.mark.parametrize("kind", KINDS)
def test_u_nets_are_pruned_trained_and_measured(kind):
    images, targets = maps(kind)
    net, data = UNet(3 if kind == "classes" else 1), topo.datasets.as_dataset((images, targets), test=(images, targets))
    assert data.n_outputs == (3 if kind == "classes" else 1)
    for name in ("snip", "taylor"):
        assert topo.prune(net, name, sparsity=0.3, data=data, device="cpu").sparsity >= 0.3
    masks = topo.prune(net, "rigl", sparsity=0.5, data=data, recipe=PLAN, device="cpu")
    run = train(masks.install(net), data, PLAN, masks=masks, device="cpu")
    assert run.status == "finished"
    found, outputs = evaluate(net, data, device="cpu", batch_size=3), net.eval()(images).detach()
    if kind == "numbers":
        assert set(found) == {"loss", "rmse", "r2"}
    else:
        said = outputs.argmax(1) if kind == "classes" else outputs > 0
        assert found["accuracy"] == pytest.approx((said == targets).double().mean().item())
    if kind == "classes":
        occurring = torch.cat([said.flatten(), targets.flatten()]).unique().tolist()
        expected = jaccard_score(targets.flatten(), said.flatten(), labels=occurring, average="macro")
        assert found["mean_iou"] == pytest.approx(expected)
        assert found["loss"] == pytest.approx(functional.cross_entropy(outputs, targets).item(), rel=1e-5)


def test_a_loss_of_ones_own_meets_whatever_the_model_returns():
    class Pair(nn.Linear):
        def forward(self, x):
            y = super().forward(x)
            return y, y * 2

    def first(outputs, targets):
        return (outputs[0] - targets).square().mean() + 0 * outputs[1].sum()

    net = Pair(5, 2)
    before = evaluate(net, numbers(), device="cpu", loss=first)
    assert set(before) == {"loss"}
    train(net, numbers(), PLAN, loss=first, device="cpu")
    assert evaluate(net, numbers(), device="cpu", loss=first)["loss"] < before["loss"]


def test_variational_training_takes_a_loss():
    net, plan = network().double(), recipe("table", epochs=2)
    run = topo.pruning.variational.train(net, numbers(), plan, loss="l1", device="cpu")
    assert run.training.history["train_loss"].notna().all() and "test_r2" in run.training.history


def test_a_loss_goes_with_a_recipe_and_a_checkpoint(tmp_path):
    plan = recipe("table", epochs=2, loss=functional.huber_loss)
    assert plan.decides()["loss"] == "huber_loss"
    whole, halves = network(), network()
    train(whole, numbers(), plan, device="cpu")
    train(halves, numbers(), plan, device="cpu", checkpoint=tmp_path / "c.pt")
    train(halves, numbers(), plan, device="cpu", checkpoint=tmp_path / "c.pt")
    assert torch.equal(whole[0].weight, halves[0].weight)
    with pytest.raises(InputError, match="differs in recipe"):
        train(halves, numbers(), recipe("table", epochs=2), device="cpu", checkpoint=tmp_path / "c.pt")


@pytest.mark.parametrize(
    ("targets", "loss", "message"),
    [
        (
            torch.eye(3).repeat(4, 1),
            None,
            r"shape \(12, 3\) and may be labels, probabilities of classes or numbers; say",
        ),
        (torch.rand(12, 3).softmax(1), None, r"may be probabilities of classes or numbers; say which with loss="),
        (torch.rand(12), None, r"takes numbers in the shape .* torch.float32 of shape \((1|12),\) and the model .*3\)"),
        (torch.rand(12, 2), "l1", r"loss 'l1' takes .*\(\w*, 2\) and the model returns torch.float32 .*, 3\)"),
        (torch.rand(12, 3), "cross-entropi", "unknown loss 'cross-entropi'; did you mean 'cross-entropy'"),
        (torch.arange(12) % 3, "mse", r"loss 'mse' takes numbers .* targets torch.int64 of shape"),
        (torch.arange(12) % 3, lambda o, t: o, r"loss '<lambda>' must return a tensor of one number, not a tensor of"),
        (torch.arange(12) % 3, lambda o, t: 1 / 0, r"loss '<lambda>' failed with ZeroDivisionError"),
        (torch.rand(12, 3), 3, "unknown loss 3"),
        (torch.rand(12) > 0.5, "cross-entropy", r"takes whole numbers .* targets torch.bool .* as by targets.long\(\)"),
        (
            torch.rand(12, 3) * 3 - 1,
            "bce-with-logits",
            r"numbers from 0 to 1, .*; the targets of .* are torch.float32 from -",
        ),
        (torch.arange(36).view(12, 3) % 4, "bce-with-logits", r"the targets of .* are torch.int64 from 0 to 3"),
        (torch.rand(12, 3) - 0.5, "cross-entropy", r"torch.float32 that are no probabilities, which are from 0 up"),
        (torch.rand(12, 3), "cross-entropy", r"torch.float32 that are no probabilities, .* add up to 1 over"),
        (torch.randn(12, 3, dtype=torch.complex64), None, r"targets of data are complex \(torch.complex64\)"),
    ],
)
def test_targets_that_do_not_fit_are_refused(targets, loss, message):
    inputs = torch.randn(12, 5)
    with pytest.raises(InputError, match=message):
        topo.prune(network(3), "snip", sparsity=0.5, data=(inputs, targets), loss=loss, device="cpu")
    with pytest.raises(InputError, match=message):
        evaluate(network(3), (inputs, targets), loss=loss, device="cpu")
    with pytest.raises(InputError, match=message):
        train(network(3), (inputs, targets), PLAN, loss=loss, device="cpu")


@pytest.mark.parametrize("loss", [lambda o, t: o.detach().sum(), lambda o, t: o.argmax(1).sum()])
def test_a_loss_without_a_gradient_is_refused(loss):
    pair = torch.randn(12, 5), torch.arange(12) % 3
    with pytest.raises(InputError, match="does not depend on any parameter that is trained"):
        train(network(3), pair, PLAN, loss=loss, device="cpu")
    with pytest.raises(InputError, match="does not depend on any parameter that is trained"):
        topo.prune(network(3), "set", sparsity=0.5, data=pair, recipe=PLAN, loss=loss, device="cpu")


def test_a_network_of_frozen_parameters_cannot_be_trained():
    frozen, pair = network(3).requires_grad_(False), (torch.randn(12, 5), torch.arange(12) % 3)
    with pytest.raises(InputError, match="nothing to train: no parameter of the model requires a gradient"):
        train(frozen, pair, PLAN, device="cpu")
    with pytest.raises(InputError, match="nothing to train: no parameter of the model requires a gradient"):
        topo.prune(frozen, "set", sparsity=0.5, data=pair, recipe=PLAN, device="cpu")


def test_label_smoothing_belongs_to_cross_entropy():
    with pytest.raises(InputError, match="label_smoothing belongs to cross-entropy"):
        train(network(), numbers(), recipe("table", label_smoothing=0.1), device="cpu")


def test_probabilities_are_targets_when_asked_for():
    inputs, targets = numbers(3)
    found = evaluate(network(3), (inputs, targets.softmax(1)), loss="cross-entropy", device="cpu")
    assert set(found) == {"accuracy", "loss"} and 0 <= found["accuracy"] <= 1
