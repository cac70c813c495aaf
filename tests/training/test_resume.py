from __future__ import annotations

import pytest
import torch

from topo.datasets import load
from topo.errors import InputError
from topo.masks import Masks
from topo.models import build
from topo.pruning import sparse_training_callback
from topo.training import Callback, batch_loss, recipe, train

PLAN = recipe("digits", epochs=4, optimizer="adamw", augment=True)


class Counting(Callback):
    """Remembers steps, and stops the run in the middle of an epoch."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.steps, self.stop_after, self.losses = 0, stop_after, []

    def on_step_end(self, state) -> None:
        self.steps += 1
        with torch.no_grad():
            self.losses.append(float(batch_loss(state.model, *state.batch, state.recipe)[0]))
        if self.steps == self.stop_after:
            raise KeyboardInterrupt

    def state_dict(self):
        return {"steps": self.steps, "losses": list(self.losses)}

    def load_state_dict(self, state, held) -> None:
        self.steps, self.losses = held["steps"], held["losses"]


@pytest.fixture
def digits():
    return load("digits", subset=25)


def net(seed: int = 0):
    return build("digits-cnn", input_shape=(1, 8, 8), seed=seed)


def same(a, b) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("masked", [False, True])
def test_an_interrupted_run_ends_as_if_it_had_not_been(digits, tmp_path, masked):
    def masks(model):
        name, weight = next((n, p) for n, p in model.named_parameters() if p.ndim == 2)
        kept = torch.rand(weight.shape, generator=torch.Generator().manual_seed(0)) > 0.5
        return Masks({name: kept}) if masked else None

    whole, halted = net(), net()
    steady, shaken = Counting(), Counting(stop_after=10)
    assert digits.n_batches("train", PLAN.batch_size) == 4
    options = {"device": "cpu", "progress": False, "seed": 3}
    expected = train(whole, digits, PLAN, masks=masks(whole), callbacks=[steady], **options)
    file = tmp_path / "run.pt"
    with pytest.raises(KeyboardInterrupt):
        train(halted, digits, PLAN, masks=masks(halted), callbacks=[shaken], checkpoint=file, **options)
    other, again = net(seed=9), Counting()
    resumed = train(other, digits, PLAN, masks=masks(other), callbacks=[again], checkpoint=file, **options)
    assert same(other, whole) and again.losses == steady.losses
    columns = [c for c in expected.history if c != "seconds"]
    assert resumed.history[columns].equals(expected.history[columns])
    once_more = train(net(), digits, PLAN, masks=masks(whole), callbacks=[Counting()], checkpoint=file, **options)
    assert once_more.history[columns].equals(expected.history[columns])


def test_a_checkpoint_of_another_run_is_refused(digits, tmp_path):
    file = tmp_path / "run.pt"
    options = {"device": "cpu", "progress": False, "checkpoint": file}
    train(net(), digits, recipe("digits", epochs=1), **options)
    with pytest.raises(InputError, match="another run: it differs in recipe"):
        train(net(), digits, recipe("digits", epochs=2), **options)
    with pytest.raises(InputError, match="differs in seed"):
        train(net(), digits, recipe("digits", epochs=1), seed=1, **options)
    with pytest.raises(InputError, match="differs in its callbacks"):
        train(net(), digits, recipe("digits", epochs=1), callbacks=[Counting()], **options)
    with pytest.raises(InputError, match="checkpoint of another model"):
        train(build("digits-mlp", input_shape=(1, 8, 8)), digits, recipe("digits", epochs=1), **options)
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(InputError, match="damaged"):
        train(net(), digits, recipe("digits", epochs=1), **options)


def test_callbacks_that_remember_nothing_may_differ_where_a_run_goes_on(digits, tmp_path):
    options = {"device": "cpu", "progress": False, "checkpoint": tmp_path / "run.pt"}
    first = train(net(), digits, recipe("digits", epochs=1), callbacks=[Counting(), Callback()], **options)
    again = train(net(), digits, recipe("digits", epochs=1), callbacks=[Counting()], **options)
    assert again.history.equals(first.history)
    assert repr(again).startswith("Training(finished, 1 epoch, test_loss=") and repr(digits).startswith("Dataset('dig")


def test_a_pruner_that_cannot_be_resumed_says_so(digits, tmp_path):
    model = net()
    rigl = sparse_training_callback(model, "rigl", sparsity=0.5)
    with pytest.raises(InputError, match="train without a checkpoint"):
        train(
            model,
            digits,
            recipe("digits", epochs=1),
            masks=rigl.masks,
            callbacks=[rigl],
            device="cpu",
            checkpoint=tmp_path / "run.pt",
        )


def test_another_network_can_take_the_place_between_epochs(digits):
    class Swap(Callback):
        def on_epoch_end(self, state) -> None:
            if state.epoch == 1:
                self.left = {name: value.clone() for name, value in state.model.state_dict().items()}
                self.taken = net(seed=5)
                state.replace(self.taken, torch.optim.SGD(self.taken.parameters(), lr=0.1))

    model, swap = net(), Swap()
    train(model, digits, recipe("digits", epochs=2), callbacks=[swap], device="cpu", progress=False)
    assert all(torch.equal(value, swap.left[name]) for name, value in model.state_dict().items())
    assert not same(swap.taken, net(seed=5))

    masks = Masks.dense(net())
    with pytest.raises(InputError, match="masks are held"):
        train(net(), digits, recipe("digits", epochs=1), masks=masks, callbacks=[Swap()], device="cpu", progress=False)
