from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DataLoader, TensorDataset

import topo.datasets
from topo.errors import InputError
from topo.pruning.samples import Samples, chunks


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def labelled(labels: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
    """Inputs whose first number is their position, so that a sample can be recognised."""
    return torch.arange(len(labels)).float()[:, None].repeat(1, 3), torch.tensor(labels)


def dataset() -> topo.datasets.Dataset:
    return topo.datasets.as_dataset(labelled([label for label in range(4) for _ in range(6)]))


@given(labels=st.lists(st.integers(0, 4), min_size=1, max_size=60), per_class=st.integers(1, 9))
def test_balanced_takes_as_many_of_each_class_as_there_are(labels, per_class):
    inputs, targets = Samples(labelled(labels), generator()).balanced(per_class)
    positions = inputs[:, 0].long().tolist()
    assert len(set(positions)) == len(positions)
    assert [labels[p] for p in positions] == targets.tolist()
    for label in range(5):
        assert targets.tolist().count(label) == min(per_class, labels.count(label))


def test_balanced_is_random_by_seed_and_not_ordered_by_class():
    pair = labelled([0] * 50 + [1] * 50)
    first, second = (Samples(pair, generator(1)).balanced(10)[0] for _ in range(2))
    assert torch.equal(first, second)
    assert not torch.equal(first, Samples(pair, generator(2)).balanced(10)[0])
    assert Samples(pair, generator()).balanced(10)[1].sort().values.tolist() == [0] * 10 + [1] * 10
    assert (Samples(pair, generator()).balanced(10)[1].diff() != 0).sum() > 1


def test_a_dataset_is_asked_for_its_balanced_batch():
    samples = Samples(dataset(), generator())
    assert samples.example().shape == (1, 3)
    assert samples.balanced(5)[1].bincount().tolist() == [5] * 4
    assert samples.batch(8)[1].bincount().tolist() == [2] * 4
    assert samples.batch(1)[1].bincount().tolist() == [1] * 4


def test_batch_of_tensors():
    inputs, targets = labelled([0, 1, 2] * 4)
    samples = Samples((inputs, targets), generator())
    assert samples.batch(12)[0] is inputs
    assert samples.batch(6)[1].bincount().tolist() == [2, 2, 2]
    real = Samples((inputs, torch.rand(12)), generator())
    assert len(real.batch(5)[1]) == 5
    assert len(real.balanced(2)[1]) == 12
    assert samples.example().shape == (1, 3)


def test_batches_are_read_until_every_class_has_enough():
    inputs, targets = labelled([0, 1] * 50)
    read = []

    def batches():
        for i in range(0, 100, 10):
            read.append(i)
            yield inputs[i : i + 10], targets[i : i + 10]

    _, chosen = Samples(batches(), generator()).balanced(12)
    assert chosen.bincount().tolist() == [12, 12]
    assert read == [0, 10, 20]
    assert Samples(batches(), generator()).batch(3)[1].tolist() == targets[:10].tolist()


def test_a_loader_and_a_list_of_batches():
    inputs, targets = labelled([0, 1, 2] * 10)
    loader = DataLoader(TensorDataset(inputs, targets), batch_size=9)
    assert Samples(loader.dataset, generator()).balanced(4)[1].bincount().tolist() == [4, 4, 4]
    assert Samples(loader, generator()).balanced(4)[1].bincount().tolist() == [4, 4, 4]
    pairs = [(inputs[:9], targets[:9]), (inputs[9:18], targets[9:18])]
    assert Samples(pairs, generator()).balanced(4)[1].bincount().tolist() == [4, 4, 4]
    assert Samples(pairs, generator()).example().shape == (1, 3)


def test_several_inputs():
    inputs, targets = labelled([0, 1] * 6)
    samples = Samples(((inputs, inputs * 2), targets), generator())
    (a, b), labels = samples.balanced(2)
    assert torch.equal(b, a * 2)
    assert len(labels) == 4
    assert [tuple(part.shape) for part in samples.example()] == [(1, 3), (1, 3)]


def test_inputs_by_name():
    inputs, targets = labelled([0, 1] * 6)
    samples = Samples(({"a": inputs, "b": targets}, targets), generator())
    batch, labels = samples.balanced(2)
    assert torch.equal(batch["b"], labels)
    assert torch.equal(batch["a"][:, 0].long() % 2, labels)
    example = samples.example()
    assert {name: tuple(value.shape) for name, value in example.items()} == {"a": (1, 3), "b": (1,)}
    assert not example["a"].any()
    assert all(list(part[0]) == ["a", "b"] for part in chunks((batch, labels), 3))


def test_of_a_torch_dataset_only_as_many_samples_are_read_as_are_asked_for():
    read = []

    class Counting(torch.utils.data.Dataset):
        def __len__(self):
            return 10_000

        def __getitem__(self, index):
            read.append(index)
            return torch.full((3,), float(index)), index % 4

    samples = Samples(Counting(), generator())
    inputs, targets = samples.batch(20)
    assert len(read) == 20
    assert torch.equal(inputs[:, 0].long() % 4, targets)
    assert samples.example().shape == (1, 3)
    _, labels = samples.balanced(30)
    assert labels.bincount().tolist() == [30] * 4
    assert len(read) < 1000
    again, _ = Samples(Counting(), generator()).batch(20)
    assert torch.equal(again, inputs)
    assert len({tuple(batch[0][:, 0].tolist()) for batch, _ in zip(samples.batches(5), range(3))}) == 3


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (3, "data is a int; give"),
        ("folder", "data is a str"),
        (torch.zeros(3), "data is a Tensor"),
        ((torch.zeros(0, 2), torch.zeros(0)), "no samples"),
        ((torch.zeros(3, 2), torch.zeros(4)), "differ in length"),
        (([], torch.zeros(4)), "pair"),
        ([torch.zeros(3, 2)], "must be a pair"),
        ([], "no batches"),
    ],
)
def test_unfit_data(data, message):
    with pytest.raises(InputError, match=message):
        Samples(data, generator()).batch(10)


@given(count=st.integers(1, 50), size=st.integers(1, 20))
def test_chunks_cover_all_samples_in_order(count, size):
    inputs, targets = labelled(list(range(count)))
    parts = list(chunks((inputs, targets), size))
    assert torch.cat([part[1] for part in parts]).tolist() == targets.tolist()
    assert all(torch.equal(part[0][:, 0].long(), part[1]) and 1 <= len(part[1]) <= size for part in parts)


def test_batches_without_end():
    pair = (torch.arange(8.0)[:, None], torch.arange(8) % 2)
    samples = Samples(pair, torch.Generator().manual_seed(0))
    drawn = [inputs.flatten().sort().values.tolist() for (inputs, _), _ in zip(samples.batches(4), range(6))]
    assert all(len(batch) == 4 for batch in drawn)
    assert len({tuple(batch) for batch in drawn}) > 1
    listed = [(torch.full((2, 1), float(i)), torch.tensor([0, 1])) for i in range(3)]
    samples = Samples(listed, torch.Generator())
    numbers = [int(inputs[0]) for (inputs, _), _ in zip(samples.batches(9), range(6))]
    assert sorted(numbers[:3]) == sorted(numbers[3:]) == [0, 1, 2]


def test_the_order_of_storage_plays_no_part():
    """Of data that are stored class by class, the first batch has one class only."""
    inputs, targets = labelled([0] * 40 + [1] * 40 + [2] * 40)
    stored = DataLoader(TensorDataset(inputs, targets), batch_size=20)
    for loader in (stored, DataLoader(TensorDataset(inputs, targets), batch_size=20, collate_fn=stored.collate_fn)):
        drawn, classes = Samples(loader, generator(1)).batch(20)
        assert len(classes.unique()) == 3 and len(drawn) == 20
        assert torch.equal(drawn, Samples(loader, generator(1)).batch(20)[0])
        assert not torch.equal(drawn, Samples(loader, generator(2)).batch(20)[0])
    listed = list(stored)
    assert {int(Samples(listed, generator(seed)).batch(20)[1][0]) for seed in range(20)} == {0, 1, 2}
    assert Samples(listed, generator()).balanced(4)[1].bincount().tolist() == [4, 4, 4]
    chosen = DataLoader(TensorDataset(inputs, targets), sampler=[7, 3, 50], batch_size=2)
    assert Samples(chosen, generator()).batch(2)[0][:, 0].tolist() == inputs[[7, 3], 0].tolist()


def test_a_dataset_with_too_few_of_a_class_gives_what_its_smallest_class_has():
    data = topo.datasets.load("digits", subset=100)
    _, targets = Samples(data, torch.Generator()).balanced(1000)
    counts = targets.bincount(minlength=10)
    assert (counts == data.train.targets.bincount(minlength=10).min()).all()
