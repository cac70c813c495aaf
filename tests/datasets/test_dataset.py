from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from topo.datasets import DATASETS, Split, load, make_dataset
from topo.errors import InputError


def images_like(targets: torch.Tensor) -> torch.Tensor:
    """Each image carries its own number in both pixels, low and high byte."""
    number = torch.arange(len(targets))
    return torch.stack([number % 256, number // 256], 1).to(torch.uint8)[:, None, None, :]


def numbered(count: int, n_classes: int = 3):
    targets = torch.arange(count) % n_classes
    split = Split(images_like(targets), targets)
    return make_dataset("numbered", split, split, n_classes)


def numbers(data, inputs: torch.Tensor) -> torch.Tensor:
    raw = (inputs * data.std + data.mean).round().long()[:, 0, 0]
    return raw[:, 0] + 256 * raw[:, 1]


@settings(max_examples=50, deadline=None)
@given(count=st.integers(3, 400), batch_size=st.integers(1, 50), shuffled=st.booleans())
def test_batches_cover_the_split_once(count, batch_size, shuffled):
    data = numbered(count)
    generator = torch.Generator().manual_seed(count) if shuffled else None
    batches = list(data.batches("train", batch_size, generator=generator))
    assert len(batches) == data.n_batches("train", batch_size)
    seen = torch.cat([numbers(data, inputs) for inputs, _ in batches])
    assert torch.equal(torch.cat([targets for _, targets in batches]), seen % 3)
    assert torch.equal(seen if not shuffled else seen.sort().values, torch.arange(count))
    if batch_size > 1:
        assert min(len(targets) for _, targets in batches) > 1, "batch norm needs two"
    assert max(len(targets) for _, targets in batches) <= batch_size + (batch_size > 1)


def test_shuffling_follows_the_generator():
    data = numbered(60)
    orders = []
    for seed in (0, 0, 1):
        batches = data.batches("train", 60, generator=torch.Generator().manual_seed(seed), augment=True)
        orders.append(next(batches)[1])
    assert torch.equal(orders[0], orders[1])
    assert not torch.equal(orders[0], orders[2])


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_training_images_are_normalised_by_channel(dtype):
    images = torch.randint(0, 256, (40, 3, 5, 6), generator=torch.Generator().manual_seed(0)).to(dtype)
    images[:, 2] = 7
    targets = torch.arange(40) % 2
    data = make_dataset("x", Split(images, targets), Split(images[:10], targets[:10]), 2)
    assert data.train_inputs.dtype == torch.float32
    assert data.train_inputs.mean((0, 2, 3)).abs().max() < 1e-5
    assert torch.allclose(data.train_inputs[:, :2].std((0, 2, 3), correction=0), torch.ones(2), atol=1e-5)
    assert not torch.any(data.train_inputs[:, 2]), "a constant channel is zero, not nan"
    assert torch.equal(data.test_inputs, data.train_inputs[:10])
    assert data.input_shape == (3, 5, 6)


def test_subset_keeps_the_first_of_each_class_and_the_normalisation():
    targets = torch.tensor([2, 0, 0, 1, 2, 2, 0, 1])
    split = Split(images_like(targets), targets)
    data = make_dataset("x", split, split, 3)
    small = data.subset(2)
    assert numbers(small, small.train_inputs).tolist() == [0, 1, 2, 3, 4, 7]
    assert small.test_targets.tolist() == [2, 0, 0, 1, 2, 1]
    assert torch.equal(small.mean, data.mean)


def test_balanced_batch_draws_every_class_without_replacement():
    data = numbered(30)
    inputs, targets = data.balanced_batch(4, torch.Generator().manual_seed(0))
    chosen = numbers(data, inputs)
    assert targets.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    assert torch.equal(chosen % 3, targets)
    assert len(set(chosen.tolist())) == 12
    again, _ = data.balanced_batch(4, torch.Generator().manual_seed(0))
    other, _ = data.balanced_batch(4, torch.Generator().manual_seed(1))
    assert torch.equal(inputs, again)
    assert not torch.equal(inputs, other)
    inputs_of_all, _ = data.balanced_batch(10, torch.Generator().manual_seed(0))
    assert torch.equal(numbers(data, inputs_of_all).sort().values, torch.arange(30))


@pytest.mark.parametrize("per_class", [0, 11])
def test_impossible_balanced_batches(per_class):
    with pytest.raises(InputError, match="smallest class of 'numbered' has 10"):
        numbered(30).balanced_batch(per_class, torch.Generator())


def test_digits():
    data = load("digits")
    assert (data.input_shape, data.n_classes) == ((1, 8, 8), 10)
    assert (len(data.train), len(data.test)) == (898, 899)
    shares = [torch.bincount(t) / len(t) for t in (data.train_targets, data.test_targets)]
    assert (shares[0] - shares[1]).abs().max() < 0.003, "stratified"
    assert torch.equal(data.train_inputs, load("digits").train_inputs)
    assert not data.augmentation.flip
    assert data.to("cpu") is data
    earlier = load("digits", test=360)
    assert (len(earlier.train), len(earlier.test)) == (1437, 360)
    with pytest.raises(InputError, match="test, the number of digits to test on, must be a whole number from 20"):
        load("digits", test=1790)


def test_random_state_is_left_alone():
    before = torch.random.get_rng_state()
    data = load("digits", subset=20)
    list(data.batches("train", 16, generator=torch.Generator().manual_seed(0), augment=True))
    assert torch.equal(before, torch.random.get_rng_state())


def split_of(*targets: int, size: int = 2) -> Split:
    return Split(torch.zeros(len(targets), 1, size, size), torch.tensor(targets, dtype=torch.int64))


@pytest.mark.parametrize(
    ("train", "test", "message"),
    [
        (split_of(), split_of(0), "no training samples"),
        (split_of(0), split_of(), "no test samples"),
        (split_of(0, 2), split_of(0), "training classes 0 to 2, but they must lie in 0 to 1"),
        (split_of(0), split_of(-1), "test classes -1"),
        (split_of(0), split_of(0, size=3), r"\(1, 2, 2\) but test samples of \(1, 3, 3\)"),
    ],
)
def test_splits_that_do_not_belong_together(train, test, message):
    with pytest.raises(InputError, match=message):
        make_dataset("x", train, test, 2)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: load("digit"), "unknown dataset 'digit'; did you mean 'digits'"),
        (lambda: load("digits", size=3), "unknown setting of dataset 'digits' 'size'; Known: test"),
        (lambda: load("digits", subset=0), "subset, .*must be a whole number of at least 1"),
        (lambda: load("digits", device="tpu"), "unknown device"),
        (lambda: next(load("digits").batches("valid", 8)), "unknown value of split 'valid'"),
        (lambda: next(load("digits").batches("train", 0)), "batch_size must be a whole number of at least 1"),
        (lambda: next(load("digits").batches("train", 8, augment=True)), "give a generator"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(InputError, match=message):
        call()


def test_a_dataset_of_ones_own_that_fails_is_named(monkeypatch):
    monkeypatch.setattr(DATASETS, "_entries", dict(DATASETS._entries))
    DATASETS.register("own")(lambda root, download: root / "images")
    with pytest.raises(InputError, match="dataset 'own' failed with TypeError: unsupported operand"):
        load("own")
    DATASETS.register("own")(lambda root, download: (torch.zeros(2, 3), torch.arange(2)))
    with pytest.raises(InputError, match=r"dataset 'own' returned a tuple; it must return a topo\.datasets\.Dataset"):
        load("own")


def test_every_dataset_says_what_it_is():
    assert all(entry.summary and "root" in entry.info for entry in DATASETS.entries())
