from __future__ import annotations

import copy
import logging
import math
from contextlib import suppress

import pandas as pd
import pytest
import torch
from torch import nn
from torch.nn import functional

import topo
from topo.datasets import Augmentation, Split, as_dataset, load, make_dataset
from topo.errors import InputError
from topo.masks import Masks
from topo.models import build
from topo.training import Callback, Recipe, evaluate, recipe, train
from topo.training.loop import COLUMNS

SHORT = recipe("digits", epochs=2)


@pytest.fixture(scope="module")
def digits():
    return load("digits", test=360)


@pytest.fixture(scope="module")
def few():
    return load("digits", subset=20)


def small_net(seed=0, name="digits-cnn"):
    return build(name, input_shape=(1, 8, 8), seed=seed)


def run(model, data, recipe=SHORT, **options):
    return train(model, data, recipe, device="cpu", progress=False, **options)


def weights(model) -> torch.Tensor:
    return torch.cat([tensor.flatten().double() for tensor in model.state_dict().values()])


@pytest.mark.slow
def test_digits_are_learnt(digits):
    model = small_net()
    result = run(model, digits, "digits")
    assert result.status == "finished" and result.reason == ""
    assert list(result.history.columns) == COLUMNS
    assert result.history["epoch"].tolist() == list(range(1, 16))
    last = result.history.iloc[-1]
    assert last["test_accuracy"] >= 0.97
    assert last["train_loss"] < result.history["train_loss"].iloc[0]
    assert result.history.notna().all(axis=None)
    measured = evaluate(model, digits, device="cpu")
    assert measured["accuracy"] == pytest.approx(last["test_accuracy"])
    assert measured["loss"] == pytest.approx(last["test_loss"])


def test_same_seed_same_weights(few):
    augmented = recipe(SHORT, augment=True)
    nets = [small_net() for _ in range(3)]
    histories = [run(net, few, augmented, seed=seed).history for net, seed in zip(nets, (1, 1, 2))]
    assert torch.equal(weights(nets[0]), weights(nets[1]))
    assert not torch.equal(weights(nets[0]), weights(nets[2]))
    pd.testing.assert_frame_equal(histories[0].drop(columns="seconds"), histories[1].drop(columns="seconds"))


def test_layout_and_fused_steps_change_no_more_than_the_rounding(few):
    """Masks, gradients and momenta of convolutions belong together in either memory layout."""
    nets, masks = [small_net() for _ in range(4)], topo.prune(small_net(), "erk", sparsity=0.8)
    for net, layout, fused in zip(nets, (False, True, False, True), (False, False, True, True)):
        run(net, few, recipe(SHORT, channels_last=layout, fused=fused, learning_rate=0.02), masks=masks)
        assert all((net.get_parameter(name)[~mask] == 0).all() for name, mask in masks.items())
        assert all(p.is_contiguous() for p in net.parameters())
        assert torch.allclose(weights(net), weights(nets[0]), atol=1e-4)


def test_epochs_without_evaluation(few):
    often, seldom = (run(small_net(), few, recipe(SHORT, epochs=5, evaluate_every=n)).history for n in (1, 2))
    assert seldom["test_accuracy"].notna().tolist() == [False, True, False, True, True]
    shared = seldom["test_loss"].notna()
    pd.testing.assert_frame_equal(often[shared].drop(columns="seconds"), seldom[shared].drop(columns="seconds"))
    assert often["train_loss"].equals(seldom["train_loss"])


class WithDropout(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Flatten(), nn.Dropout(0.5), nn.Linear(64, 10))
        nn.init.constant_(self[2].weight, 0.01)
        nn.init.zeros_(self[2].bias)


def test_dropout_follows_the_seed_and_global_random_state_is_left_alone(few):
    before = torch.random.get_rng_state()
    nets = [WithDropout() for _ in range(3)]
    torch.random.set_rng_state(before)
    for net, seed in zip(nets, (1, 1, 2)):
        run(net, few, seed=seed)
        assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(weights(nets[0]), weights(nets[1]))
    assert not torch.equal(weights(nets[0]), weights(nets[2]))


def test_one_epoch_equals_a_plain_loop(few):
    """Against torch's own SGD, cross-entropy and schedule, written out."""
    plan = Recipe(epochs=2, batch_size=64, learning_rate=0.05, nesterov=True, weight_decay=1e-3, milestones=(0.5,),
                  label_smoothing=0.1, augment=False)  # fmt: skip
    ours, plain = small_net(), small_net()
    result = run(ours, few, plan, seed=3)
    optimizer = torch.optim.SGD(plain.parameters(), 0.05, momentum=0.9, weight_decay=1e-3, nesterov=True)
    generator = torch.Generator().manual_seed(3)
    for epoch in range(2):
        optimizer.param_groups[0]["lr"] = (0.05, 0.005)[epoch]
        losses, right = 0.0, 0
        plain.train()
        for inputs, targets in few.batches("train", 64, generator=generator):
            logits = plain(inputs)
            smooth = 0.9 * functional.one_hot(targets, 10) + 0.1 / 10
            loss = -(smooth * logits.log_softmax(1)).sum(1).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses += loss.item() * len(targets)
            right += (logits.argmax(1) == targets).sum().item()
        row = result.history.iloc[epoch]
        assert row["learning_rate"] == pytest.approx((0.05, 0.005)[epoch])
        assert row["train_loss"] == pytest.approx(losses / 200, rel=1e-4)
        assert row["train_accuracy"] == pytest.approx(right / 200, abs=0.011)
    assert torch.allclose(weights(ours), weights(plain), atol=1e-4)


@pytest.mark.parametrize("options", [{}, {"optimizer": "adamw", "learning_rate": 1e-2, "gradient_clip": 0.5}])
def test_pruned_weights_stay_exactly_zero(few, options):
    model = small_net()
    generator = torch.Generator().manual_seed(0)
    masks = Masks(
        {
            name: torch.rand(parameter.shape, generator=generator) < 0.3
            for name, parameter in model.named_parameters()
            if parameter.ndim > 1
        }
    )

    class Watch(Callback):
        steps = 0

        def on_step_end(self, state):
            parameters = dict(state.model.named_parameters())
            assert all(not torch.any(parameters[name][~mask]) for name, mask in masks.items())
            self.steps += 1

    watch = Watch()
    before = weights(model).clone()
    assert run(model, few, recipe(SHORT, **options), masks=masks, callbacks=[watch]).status == "finished"
    assert watch.steps == 2 * math.ceil(200 / 64)
    assert not torch.equal(before, weights(model))


def test_masks_are_released_at_the_end(few):
    class Recording(Masks):
        events: list[str] = []

        def apply(self, model):
            self.events.append("apply")
            return model

        def hold(self, model, optimizer):
            self.events.append("hold")
            return self

        def remove(self):
            self.events.append("remove")

    net = small_net()
    masks = Recording(Masks.dense(net))
    run(net, few, recipe(SHORT, epochs=1), masks=masks)
    assert masks.events == ["apply", "hold", "remove"]


def test_callbacks_see_dense_gradients_and_can_replace_the_masks(few):
    model = small_net(name="digits-mlp")
    name = "1.weight"
    half = torch.zeros(64, 64, dtype=torch.bool)
    half[:, :32] = True

    class Swap(Callback):
        norms: list[float] = []

        def on_gradients(self, state):
            grad = dict(state.model.named_parameters())[name].grad
            self.norms.append(float(grad[~dict(state.masks)[name]].norm()))

        def on_epoch_end(self, state):
            assert state.history[-1]["epoch"] == state.epoch
            assert state.step == state.epoch * state.steps_per_epoch
            assert state.total_steps == 2 * state.steps_per_epoch
            if state.epoch == 1:
                state.hold(Masks({name: ~half}))

    swap = Swap()
    run(model, few, masks=Masks({name: half}), callbacks=[swap])
    assert max(swap.norms) > 0
    assert not torch.any(model[1].weight[:, :32])
    assert torch.any(model[1].weight[:, 32:])


def test_gradient_clip_bounds_the_norm_of_what_is_kept(few):
    model = small_net(name="digits-mlp")
    plan = Recipe(epochs=1, batch_size=200, learning_rate=1.0, momentum=0, weight_decay=0, gradient_clip=0.01)
    mask = torch.zeros(64, 64, dtype=torch.bool)
    mask[0] = True
    masks = Masks({"1.weight": mask})
    masks.apply(model)
    start = weights(model).clone()
    run(model, few, plan, masks=masks)
    assert (weights(model) - start).norm() == pytest.approx(0.01, rel=1e-3)


def test_frozen_biases_do_not_move_and_thaw_afterwards(few):
    model = small_net(name="digits-mlp")
    run(model, few, recipe(SHORT, freeze_biases=True))
    biases = [parameter for name, parameter in model.named_parameters() if name.endswith("bias")]
    assert biases and not any(torch.any(bias) for bias in biases)
    assert all(bias.requires_grad for bias in biases)
    run(model, few)
    assert all(torch.any(bias) for bias in biases)


def test_divergence_ends_the_run_with_its_reason(few):
    model = small_net(name="digits-mlp")
    result = run(model, few, recipe(SHORT, learning_rate=1e30))
    assert result.status == "diverged"
    assert "training loss became" in result.reason and "epoch 1" in result.reason
    assert list(result.history.columns) == COLUMNS and len(result.history) == 0


def test_divergence_seen_only_in_the_evaluation(few):
    class Break(Callback):
        def on_step_end(self, state):
            if state.step == 2 * state.steps_per_epoch:
                next(state.model.parameters()).data.fill_(math.nan)

    result = run(small_net(), few, recipe(SHORT, epochs=3), callbacks=[Break()])
    assert (result.status, len(result.history)) == ("diverged", 1)
    assert "test loss became nan in epoch 2" in result.reason


def test_last_batch_of_one_sample(few):
    split = Split(few.train.inputs[:65], few.train.targets[:65])
    data = make_dataset("odd", split, few.test, 10, Augmentation(1, False))
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.BatchNorm1d(8), nn.Linear(8, 10))
    assert run(net, data, recipe(SHORT, batch_size=32)).status == "finished"


@pytest.mark.parametrize("training", [True, False])
def test_the_mode_of_the_model_is_kept(few, training):
    model = small_net().train(training)
    run(model, few, recipe(SHORT, epochs=1))
    evaluate(model, few, device="cpu")
    assert model.training is training


def test_evaluate_is_exact_and_changes_nothing(few):
    model = small_net()
    before = copy.deepcopy(model.state_dict())
    for split in ("train", "test"):
        measured = evaluate(model, few, split, device="cpu", batch_size=7)
        inputs, targets = getattr(few, f"{split}_inputs"), getattr(few, f"{split}_targets")
        with torch.no_grad():
            logits = model.eval()(inputs)
        assert measured["accuracy"] == pytest.approx((logits.argmax(1) == targets).double().mean().item())
        assert measured["loss"] == pytest.approx(functional.cross_entropy(logits, targets).item(), rel=1e-5)
        model.train()
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_one_line_is_logged_where_there_is_no_terminal(few, caplog):
    with caplog.at_level(logging.INFO, logger="topo.training"):
        train(small_net(), few, recipe(SHORT, epochs=1), device="cpu")
    assert len(caplog.records) == 1
    assert "trained 1 epochs" in caplog.text


def test_progress_bar(few, capsys):
    train(small_net(), few, recipe(SHORT, epochs=1), device="cpu", progress=True)
    assert "epoch 1" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (build("resnet20"), r"does not take inputs of shape \(1, 1, 8, 8\) of dataset 'digits'"),
        (
            build("digits-mlp", input_shape=(1, 8, 8), n_classes=9),
            "labels from 0 to 9 and the model has 9 outputs; give labels from 0 to 8, or a model of 10",
        ),
        (nn.Conv2d(1, 10, 3), "returned a tensor of shape"),
        (nn.LSTM(8, 10), "does not take inputs"),
    ],
)
def test_models_that_do_not_fit_the_data(few, model, message):
    with pytest.raises(InputError, match=message):
        run(model, few)
    with pytest.raises(InputError, match=message):
        evaluate(model, few, device="cpu")


def test_masks_that_do_not_fit_the_model(few):
    with pytest.raises(InputError, match="nowhere"):
        run(small_net(), few, masks=Masks({"nowhere.weight": torch.ones(2, 2, dtype=torch.bool)}))


class Recorded(Callback):
    """Writes down what is called, and when."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, int]] = []

    def on_start(self, state):
        self.calls.append(("start", state.step))
        assert state.masks is not None and not torch.any(state.model[1].weight[~state.masks["1.weight"]])

    def penalty(self, state):
        self.calls.append(("penalty", state.step))

    def on_epoch_end(self, state):
        self.calls.append(("epoch", state.step))

    def on_end(self, state):
        self.calls.append(("end", state.step))


def half_of(model) -> Masks:
    generator = torch.Generator().manual_seed(0)
    return Masks({"1.weight": torch.rand(model[1].weight.shape, generator=generator) < 0.5})


def test_callbacks_are_called_at_the_start_and_at_the_end(few):
    model, recorded = small_net(name="digits-mlp"), Recorded()
    run(model, few, masks=half_of(model), callbacks=[recorded])
    steps = [("penalty", step) for step in range(8)]
    assert recorded.calls == [("start", 0), *steps[:4], ("epoch", 4), *steps[4:], ("epoch", 8), ("end", 8)]


def test_a_run_that_diverges_has_no_end(few):
    model, recorded = small_net(name="digits-mlp"), Recorded()
    result = run(model, few, recipe(SHORT, learning_rate=1e30), masks=half_of(model), callbacks=[recorded])
    assert result.status == "diverged" and recorded.calls[0] == ("start", 0)
    assert "end" not in dict(recorded.calls)


def test_a_penalty_is_added_to_the_loss_and_not_to_the_history(few):
    """Minus a weight times its sum: its gradient by one weight is constant, so one plain step moves it by as much."""

    class Pull(Callback):
        def penalty(self, state):
            return -3.0 * state.model[1].weight.sum()

    plan = Recipe(epochs=1, batch_size=200, learning_rate=0.01, momentum=0, weight_decay=0, augment=False)
    plain, pulled, twice = (small_net(name="digits-mlp") for _ in range(3))
    histories = [
        run(net, few, plan, callbacks=[Pull()] * count).history for net, count in ((plain, 0), (pulled, 1), (twice, 2))
    ]
    torch.testing.assert_close(pulled[1].weight, plain[1].weight + 0.03, rtol=0, atol=1e-6)
    torch.testing.assert_close(twice[1].weight, plain[1].weight + 0.06, rtol=0, atol=1e-6)
    torch.testing.assert_close(pulled[3].weight, plain[3].weight, rtol=0, atol=0)
    assert len({float(history["train_loss"].iloc[0]) for history in histories}) == 1


def test_the_result_holds_the_masks_of_the_end(few):
    model = small_net(name="digits-mlp")
    start, end = half_of(model), Masks({"1.weight": torch.eye(64, dtype=torch.bool)})

    class Swap(Callback):
        def on_end(self, state):
            state.hold(end)

    assert run(model, few, masks=start).masks is start
    assert run(model, few, masks=start, callbacks=[Swap()]).masks is end
    assert not torch.any(model[1].weight[~end["1.weight"]])
    assert run(model, few).masks is None


class TwoInputs(nn.Module):
    """Logits of two feature vectors, so that a model takes several inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.head = nn.Linear(4, 8), nn.Linear(3, 8), nn.Linear(8, 3)

    def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return self.head(torch.relu(self.first(a) + self.second(b)))


@pytest.mark.parametrize("form", ["tuple", "dict", "loader", "torch dataset"])
def test_models_of_several_inputs_are_trained_and_evaluated_alike_from_every_form_of_data(form):
    generator = torch.Generator().manual_seed(0)
    a, b = torch.randn(60, 4, generator=generator), torch.randn(60, 3, generator=generator)
    targets = (a[:, 0] > 0).long() + (b[:, 0] > 0).long()
    samples = [({"b": y, "a": x}, int(t)) for x, y, t in zip(a, b, targets, strict=True)]

    class Samples(torch.utils.data.Dataset):
        def __len__(self):
            return len(samples)

        def __getitem__(self, index):
            return samples[index]

    data = {
        "tuple": ((a, b), targets),
        "dict": ({"b": b, "a": a}, targets),
        "loader": torch.utils.data.DataLoader(Samples(), batch_size=7),
        "torch dataset": Samples(),
    }
    runs = []
    for given in (data[form], data["tuple"]):
        torch.manual_seed(0)
        model = TwoInputs()
        run = train(model, given, recipe("digits", epochs=4, batch_size=16), device="cpu")
        assert run.status == "finished"
        assert run.history["test_accuracy"].isna().all()
        runs.append((run.history["train_loss"].tolist(), evaluate(model, given, device="cpu")))
    assert runs[0] == runs[1]
    assert runs[0][1]["accuracy"] > 0.5
    train(model, as_dataset(data[form], test=data[form]), recipe("digits", epochs=1), device="cpu")
    with pytest.raises(InputError, match=r"does not take inputs of shape \(1, 4\)"):
        train(model, (a, targets), recipe("digits", epochs=1), device="cpu")


def test_a_callback_that_fails_is_named():
    class Broken(Callback):
        def on_step_end(self, state):
            return state.mask

    data = torch.zeros(4, 4), torch.arange(4) % 2
    with pytest.raises(InputError, match=r"callback Broken failed with AttributeError: .*'mask'") as failure:
        train(nn.Linear(4, 2), data, recipe("digits", epochs=1), callbacks=[Broken()], device="cpu")
    assert isinstance(failure.value.__cause__, AttributeError)


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        (
            torch.arange(4),
            "data' has labels from 0 to 3 and the model has 2 outputs; give labels from 0 to 1, or a model",
        ),
        (
            torch.arange(4.0) % 2,
            r"are torch.float32 of shape \(4,\) and may be labels or numbers; .* or give classes as whole numbers",
        ),
        (torch.arange(3), r"differ in length \(4 inputs, 3 targets\)"),
    ],
)
def test_labels_that_do_not_fit_the_model(targets, message):
    with pytest.raises(InputError, match=message):
        train(nn.Linear(4, 2), (torch.zeros(4, 4), targets), recipe("digits", epochs=1), device="cpu")


def test_a_traced_network_cannot_be_trained():
    dag = topo.trace(nn.Linear(4, 2), (4,))
    with pytest.raises(InputError, match=r"needs an nn.Module; got Dag"):
        train(dag, (torch.zeros(4, 4), torch.arange(4) % 2), "digits")


def test_a_model_made_in_inference_mode_is_told_what_to_do(few):
    with torch.inference_mode():
        model = small_net()
    with pytest.raises(InputError, match=r"inside torch.inference_mode.*copy.deepcopy\(model\)"):
        run(model, few)
    assert run(copy.deepcopy(model), few, recipe("digits", epochs=1)).status == "finished"


def test_batch_norms_of_one_sample_are_told_what_they_lack():
    net, data = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3)), (torch.rand(1, 4), torch.tensor([0]))
    with pytest.raises(InputError, match=r"module '1' .*batch norms have no statistics of one sample alone"):
        train(net, data, recipe("digits", epochs=1), device="cpu", progress=False)
    with pytest.raises(InputError, match=r"module '1' .*batch norms have no statistics of one sample alone"):
        topo.prune(net, "px", sparsity=0.5, data=data, device="cpu")


@pytest.mark.parametrize("fails", [False, True])
def test_every_module_is_in_its_own_mode_afterwards(fails):
    """As frozen batch norms are, which stay in evaluation mode in a network in training."""
    net = nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Dropout(), nn.Linear(5, 3))
    net[1].eval()
    pair = torch.randn(9, 4), torch.arange(9) % 3
    data = topo.datasets.as_dataset(pair, test=pair)

    def loss(outputs, targets):
        if fails and len(targets) > 1:
            raise ZeroDivisionError
        return nn.functional.cross_entropy(outputs, targets)

    calls = [
        lambda: topo.training.evaluate(net, data, device="cpu", loss=loss),
        lambda: topo.training.measure_targets(net, data, device="cpu", loss=loss),
        lambda: run(net, data, SHORT, loss=loss),
        lambda: topo.pruning.variational.train(net, data, SHORT, nu=0.0, device="cpu", progress=False, loss=loss),
    ]
    for call in calls:
        with suppress(*[InputError] * fails):
            call()
        assert [module.training for module in net] == [True, False, True, True] and net.training
