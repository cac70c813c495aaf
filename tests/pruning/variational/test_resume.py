"""A run that was interrupted ends as if it had not been, wherever that was."""

from __future__ import annotations

from functools import cache

import pytest
import torch

from tests.pruning.variational.nets import Basic
from tests.pruning.variational.runs import chain, cnn, digits, plan, prune, same
from topo.errors import InputError
from topo.training import Callback

pytestmark = pytest.mark.usefixtures("traced_once")

STEPS = 8  # of an epoch of 150 images, between two looks of the optimiser


class Stop(Callback):
    """Stops the run after so many steps."""

    def __init__(self, after: float = float("inf")) -> None:
        self.after, self.steps = after, 0

    def on_step_end(self, state) -> None:
        self.steps += 1
        if self.steps == self.after:
            raise KeyboardInterrupt


def residual() -> torch.nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        net = Basic(widths=(3, 4), blocks=1)
        net.stem = torch.nn.Conv2d(1, 3, 3, padding=1, bias=False)
        net.head = torch.nn.Linear(4, 10)
        return net


ADAMW = {"optimizer": "adamw", "learning_rate": 0.01, "weight_decay": 0.01, "gradient_clip": 1.0}
CASES = {
    "cnn": (cnn, {}, {"nu": 1.0}),
    "residual": (residual, ADAMW, {"nu": 0.2}),
    "chain": (lambda: chain(0.3), {"freeze_biases": True}, {"nu": 0.1, "config": {"estimator": "uniform"}}),
}


@cache
def uninterrupted(case):
    make, changes, options = CASES[case]
    options = {"seed": 2, "recipe": plan(**changes)} | options
    return make, options, prune(make(), callbacks=[Stop()], **options)


INTERRUPTED = (2, 4, 5)  # whole epochs before each interruption, half an epoch later


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_the_same_weights_probabilities_and_record(case, tmp_path):
    make, options, expected = uninterrupted(case)
    file, done = tmp_path / "run.pt", 0
    for epoch in INTERRUPTED:
        with pytest.raises(KeyboardInterrupt):
            prune(make(), callbacks=[Stop((epoch - done) * STEPS + 4)], checkpoint=file, **options)
        assert torch.load(file, weights_only=True)["epoch"] == epoch
        done = epoch
    result = prune(make(), callbacks=[Stop()], checkpoint=file, **options)
    assert same(result.model, expected.model)
    assert torch.equal(result.thetas, expected.thetas) and torch.equal(result.is_open, expected.is_open)
    timeless = [column for column in expected.record if column != "seconds"]
    assert result.record[timeless].equals(expected.record[timeless])
    columns = [column for column in expected.training.history if column != "seconds"]
    assert result.training.history[columns].equals(expected.training.history[columns])


@pytest.mark.parametrize("case", CASES)
def test_the_interruptions_are_before_and_after_the_network_shrinks_and_after_it_has_settled(case):
    record = uninterrupted(case)[2].record
    assert record["parameters"].iloc[1] == record["parameters"].iloc[0] > record["parameters"].iloc[4]
    gates = record["units"] + record["layers"]
    assert (record["expected_macs"] == record["macs"])[gates.index >= 5].all()
    assert record["expected_macs"].iloc[4] != record["macs"].iloc[4]


def test_a_checkpoint_with_other_gates_is_refused(tmp_path):
    file = tmp_path / "run.pt"
    with pytest.raises(KeyboardInterrupt):
        prune(cnn(), callbacks=[Stop(STEPS + 1)], checkpoint=file)
    with pytest.raises(InputError, match="a network with other gates"):
        prune(cnn(width=5), callbacks=[Stop()], checkpoint=file)
    with pytest.raises(InputError, match="checkpoint of another run: it differs in seed"):
        prune(cnn(), callbacks=[Stop()], checkpoint=file, seed=1)


def test_a_checkpoint_of_other_settings_is_refused(tmp_path):
    file = tmp_path / "run.pt"
    with pytest.raises(KeyboardInterrupt):
        prune(cnn(), nu=1.0, callbacks=[Stop(STEPS + 1)], checkpoint=file)
    for other, said in (
        ({"nu": 0.5}, "another run: nu was 1.0 there and is 0.5 here"),
        ({"nu": 1.0, "kappa": 0.25}, "kappa was 0.5 there and is 0.25 here"),
        ({"nu": 1.0, "config": {"horizon": 0.3}}, "horizon was .* there and is 0.3 here"),
    ):
        with pytest.raises(InputError, match=said):
            prune(cnn(), callbacks=[Stop()], checkpoint=file, **other)


def test_a_finished_run_is_not_trained_again(tmp_path):
    file, count = tmp_path / "run.pt", Stop()
    first = prune(cnn(), checkpoint=file, callbacks=[Stop()])
    again = prune(cnn(seed=5), checkpoint=file, callbacks=[count])
    assert count.steps == 0 and same(first.model, again.model)


@pytest.mark.slow
def test_nothing_gone_is_carried_on_too(tmp_path):
    """Where all gates stay the network is rebuilt all the same, without what no operation reads."""

    def make():
        net = cnn()
        net.spare = torch.nn.Parameter(torch.ones(3))
        return net

    options = {"nu": 0.0, "config": {"settle": 0.3}, "epochs": 4}
    expected = prune(make(), callbacks=[Stop()], **options)
    file = tmp_path / "run.pt"
    with pytest.raises(KeyboardInterrupt):
        prune(make(), callbacks=[Stop(3 * STEPS - 2)], checkpoint=file, **options)
    assert same(prune(make(), callbacks=[Stop()], checkpoint=file, **options).model, expected.model)


def test_steps_of_an_epoch():
    assert digits().n_batches("train", plan().batch_size) == STEPS
