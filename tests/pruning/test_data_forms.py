"""Every pruner takes data in every form, also for models of several inputs and of named inputs."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

import topo
from topo.pruning import PRUNERS
from topo.training import recipe

GENERATOR = torch.Generator().manual_seed(0)
A, B = torch.randn(48, 5, generator=GENERATOR), torch.randn(48, 4, generator=GENERATOR)
TARGETS = torch.arange(48) % 3


class TwoInputs(nn.Module):
    """Logits of two feature vectors of a table."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.second = nn.Linear(5, 12), nn.BatchNorm1d(12), nn.Linear(4, 12)
        self.hidden, self.head = nn.Linear(12, 10), nn.Linear(10, 3)

    def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        joined = torch.relu(self.norm(self.first(a)) + self.second(b))
        return self.head(torch.relu(self.hidden(joined)))


class Table(TorchDataset):
    """Rows of a table as named inputs."""

    def __len__(self) -> int:
        return len(TARGETS)

    def __getitem__(self, index: int):
        return {"b": B[index], "a": A[index]}, int(TARGETS[index])


FORMS = {
    "dict": ({"a": A, "b": B}, TARGETS),
    "torch dataset": Table(),
    "loader": DataLoader(Table(), batch_size=20),
    "topo dataset": topo.datasets.as_dataset(((A, B), TARGETS)),
}
FEW_STEPS = {"recipe": recipe("digits", epochs=2, batch_size=16)}
SETTINGS = {"slimming": {"penalty": 1e-4}, "group-norm": {"penalty": 1e-4}, "synflow": {"rounds": 5}}
SETTINGS |= {name: {"rounds": 2} for name in ("ntk-sap", "px")}


def pruned(name: str, data: object):
    torch.manual_seed(1)
    settings = SETTINGS.get(name, {})
    return topo.prune(TwoInputs(), name, sparsity=0.3, data=data, device="cpu", **FEW_STEPS, **settings)


@pytest.mark.slow
@pytest.mark.parametrize("name", PRUNERS)
def test_a_model_of_several_inputs_is_pruned_by_tuples_and_by_names_alike(name):
    masks = pruned(name, ((A, B), TARGETS))
    assert 0.2 < masks.sparsity < 0.7
    assert pruned(name, FORMS["dict"]) == masks


TRAIN = ["rigl", "gmp", "movement", "imp", "slimming", "group-norm", "l0", "variational"]


@pytest.mark.slow
@pytest.mark.parametrize("form", ["torch dataset", "loader", "topo dataset"])
@pytest.mark.parametrize("name", TRAIN)
def test_pruners_that_train_take_every_form_of_data(name, form):
    masks = pruned(name, FORMS[form])
    assert masks.state is not None
    assert masks == pruned(name, ((A, B), TARGETS))


@pytest.mark.slow
@pytest.mark.parametrize("form", ["torch dataset", "loader", "topo dataset"])
@pytest.mark.parametrize(
    "name", ["snip", "grasp", "prospr", "wanda", "obd", "taylor", "hrank", "synflow", "ntk-sap", "px", "phew", "dag"]
)
def test_pruners_that_read_take_every_form_of_data(name, form):
    assert pruned(name, FORMS[form]).sparsity >= 0.29


@pytest.mark.slow
@pytest.mark.parametrize("name", ["synflow", "ntk-sap", "phew", "l1-filter", "dag"])
def test_an_example_takes_the_place_of_data(name):
    torch.manual_seed(1)
    net = TwoInputs()
    examples = [((5,), (4,)), (A[:2], B[:2]), {"a": (5,), "b": (4,)}, {"a": A[:1], "b": B[:1]}]
    masks = [topo.prune(net, name, sparsity=0.3, example=example, device="cpu") for example in examples]
    assert all(other == masks[0] for other in masks)
    assert topo.prune(net, name, sparsity=0.3, data=FORMS["dict"], device="cpu") == masks[0]


def test_named_inputs_may_come_in_any_order():
    swapped = ({"b": B, "a": A}, TARGETS)
    assert pruned("snip", swapped) == pruned("snip", FORMS["dict"])
    assert pruned("rigl", swapped) == pruned("rigl", FORMS["dict"])


@pytest.mark.parametrize("name", [e.name for e in PRUNERS.entries() if e.info["needs_data"]])
@pytest.mark.parametrize("batches", [False, True])
def test_data_made_in_inference_mode_are_data_like_others(name, batches):
    if batches and PRUNERS.entry(name).info["stage"] == "training":
        pytest.skip("one that trains makes a dataset of both")
    generator = torch.Generator().manual_seed(0)
    usual = torch.randn(12, 1, 4, 4, generator=generator), torch.arange(12) % 3
    with torch.inference_mode():
        pair = usual[0].clone(), usual[1].clone()
    assert pair[0].is_inference()
    settings = {"rounds": 2} if name in ("force", "iterative-snip", "px") else {}

    def masks(data: object) -> topo.Masks:
        torch.manual_seed(0)
        net = nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Linear(12, 3))
        plan = recipe("digits", epochs=1, batch_size=6)
        return topo.prune(net, name, sparsity=0.4, data=data, recipe=plan, device="cpu", **settings)

    assert masks([pair] if batches else pair) == masks([usual] if batches else usual)
