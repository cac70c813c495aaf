from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from torch.utils.data import Dataset as TorchDataset

import topo
from topo.datasets import Dataset, as_dataset, load
from topo.errors import InputError

FIRST, SECOND = torch.arange(12.0).view(6, 2), torch.arange(18, dtype=torch.float64).view(6, 3)
TARGETS = torch.tensor([0, 1, 2, 0, 1, 2])


class Pairs(TorchDataset):
    """Samples of any form, one target each."""

    def __init__(self, sample, count: int = 6) -> None:
        self.sample, self.count = sample, count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int):
        return self.sample(index), int(TARGETS[index])


FORMS = {
    "tensor": (FIRST, TARGETS),
    "arrays": (FIRST.numpy(), TARGETS.numpy().astype("uint16")),
    "int32 targets": (FIRST, TARGETS.int()),
    "list of samples": [(FIRST[i], TARGETS[i]) for i in range(6)],
    "list of arrays and numbers": [(FIRST[i].numpy(), int(TARGETS[i])) for i in range(6)],
    "tuple": ((FIRST, SECOND), TARGETS),
    "dict": ({"a": FIRST, "b": SECOND}, TARGETS),
    "tensor dataset": TensorDataset(FIRST, TARGETS),
    "tensor dataset of two inputs": TensorDataset(FIRST, SECOND, TARGETS),
    "map-style dataset": Pairs(lambda i: FIRST[i]),
    "map-style dataset of tuples": Pairs(lambda i: (FIRST[i], SECOND[i])),
    "map-style dataset of dicts": Pairs(lambda i: {"a": FIRST[i], "b": SECOND[i]}),
    "loader": DataLoader(TensorDataset(FIRST, TARGETS), batch_size=4),
    "loader of dicts": DataLoader(Pairs(lambda i: {"a": FIRST[i], "b": SECOND[i]}), batch_size=4),
    "list of batches": [(FIRST[:4], TARGETS[:4]), (FIRST[4:], TARGETS[4:])],
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_data_becomes_the_same_samples(form):
    data = as_dataset(FORMS[form])
    assert data.n_classes == 3
    assert torch.equal(data.train.targets, TARGETS)
    assert data.test is None
    inputs = data.train_inputs
    if isinstance(inputs, torch.Tensor):
        assert torch.equal(inputs, FIRST)
        assert data.example.shape == (1, 2)
    else:
        first, second = inputs.values() if isinstance(inputs, dict) else inputs
        assert torch.equal(first, FIRST)
        assert torch.equal(second, SECOND.float()), "floating-point inputs are handed out as float32"
        assert not isinstance(inputs, dict) or list(inputs) == ["a", "b"]
    shuffled = [targets for _, targets in data.batches("train", 4, generator=torch.Generator(), augment=True)]
    assert [len(part) for part in shuffled] == [4, 2]


@pytest.mark.parametrize("wrap", [lambda both: (both,), lambda both: {"batch": both}])
def test_an_argument_may_be_a_dict(wrap):
    class OneDict(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Linear(2, 3), nn.Linear(3, 3)

        def forward(self, batch):
            return self.first(batch["a"]) + self.second(batch["b"].float())

    data = (wrap({"a": FIRST, "b": SECOND}), TARGETS)
    loader = [
        (wrap({"a": FIRST[:4], "b": SECOND[:4]}), TARGETS[:4]),
        (wrap({"a": FIRST[4:], "b": SECOND[4:]}), TARGETS[4:]),
    ]
    assert topo.prune(OneDict(), "snip", sparsity=0.4, data=data, device="cpu").counts()["kept"].sum() == 9
    inputs = as_dataset(loader).train_inputs
    (both,) = inputs.values() if isinstance(inputs, dict) else inputs
    assert torch.equal(both["b"], SECOND)
    with pytest.raises(InputError, match=r"a model whose one argument is a dict takes it in a tuple"):
        topo.prune(OneDict(), "snip", sparsity=0.5, data=({"a": FIRST, "b": SECOND}, TARGETS), device="cpu")


def test_images_are_kept_as_they_are():
    images = torch.rand(6, 1, 4, 4)
    data = as_dataset((images, TARGETS))
    batch, _ = next(data.batches("train", 6, augment=True, generator=torch.Generator().manual_seed(0)))
    assert sorted(batch.flatten(1).sum(1).tolist()) == sorted(images.flatten(1).sum(1).tolist())


def test_a_dataset_stays_itself_and_takes_test_samples():
    data = load("digits", subset=5)
    assert as_dataset(data) is data
    images = torch.rand(4, 1, 8, 8)
    assert len(as_dataset(data, test=(images, torch.arange(4))).test) == 4
    assert as_dataset((FIRST, TARGETS), test=(FIRST, TARGETS + 1)).n_classes == 4
    with pytest.raises(InputError, match="test classes 0 to 12, but they must lie in 0 to 9"):
        as_dataset(data, test=(images, torch.arange(4) * 4))
    with pytest.raises(InputError, match="test samples of"):
        as_dataset(data, test=(images[..., :7], torch.arange(4)))


def test_reading_leaves_the_global_random_state_and_is_the_same_each_time():
    loader = DataLoader(TensorDataset(FIRST, TARGETS), batch_size=2, shuffle=True)
    before = torch.get_rng_state()
    first = as_dataset(loader).train.targets
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(3)
    assert torch.equal(as_dataset(loader).train.targets, first)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (None, "data is a NoneType; give a dataset of topo.datasets"),
        (3, "data is a int; give"),
        ("digits", "data is a str; give"),
        ({"x": FIRST, "y": TARGETS}, "data is a dict; give"),
        ((FIRST, TARGETS / 0), "has training targets that are no finite numbers"),
        ((FIRST, torch.full((6, 3), -1)), r"or a position \(-100 for none\), not torch.int64 of shape \(6, 3\)"),
        ((FIRST, torch.full((6, 3), -100)), "has no training targets: all are -100"),
        ((FIRST, TARGETS - 1), r"one whole number from 0 up a sample, .* not torch.int64 .* from -1 to 1"),
        ((FIRST, TARGETS[:4]), "differ in length"),
        ((FIRST[:0], TARGETS[:0]), "no samples"),
        (Pairs(lambda i: FIRST[i], count=0), "no samples"),
        (Pairs(lambda i: "text"), "every batch of data must be a pair"),
        (Pairs(lambda i: torch.zeros(i + 1)), "do not form a batch"),
        ([], "holds no batches"),
        ([FIRST], "every batch of data must be a pair"),
        (([[0.5]], [1]), r"of tensors or NumPy arrays, not list; .* torch\.as_tensor makes"),
        ((FIRST, torch.tensor(1)), "must have samples along their first axis"),
        ([(FIRST, TARGETS), (SECOND, TARGETS)], "do not have one shape"),
        (iter([(FIRST, TARGETS)]), "an iterator, which can be read only once"),
        ([(FIRST, SECOND, TARGETS)], "every batch of data must be a pair"),
    ],
)
def test_unfit_data(data, message):
    with pytest.raises(InputError, match=message):
        as_dataset(data)


def test_a_split_that_is_not_there_is_named():
    data = as_dataset((FIRST, TARGETS))
    with pytest.raises(InputError, match="has no test samples; give split='train'"):
        data.split("test")
    with pytest.raises(InputError, match="2 inputs, so that no one shape is theirs"):
        _ = as_dataset(((FIRST, SECOND), TARGETS)).input_shape
    assert isinstance(data, Dataset)
