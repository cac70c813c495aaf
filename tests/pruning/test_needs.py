"""What a pruner says that it needs is what it needs."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import topo
from topo.pruning import PRUNERS, needs_of
from topo.pruning.needs import NEEDS, NotGiven

GIVEN = {
    "nothing": {},
    "example": {"example": (4,)},
    "data": {"data": (torch.randn(6, 4), torch.arange(6) % 3)},
    "recipe": {"data": (torch.randn(6, 4), torch.arange(6) % 3), "recipe": "table"},
}
BUILT_IN = [entry.name for entry in PRUNERS.entries() if entry.source.built_in]


def prune(name: str, given: str) -> topo.Masks:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))
    return topo.prune(net, name, sparsity=0.5, **GIVEN[given])


@pytest.mark.parametrize("name", BUILT_IN)
def test_a_pruner_that_is_not_given_all_that_it_needs_names_all_of_it(name: str):
    needed = needs_of(name)
    for given in list(NEEDS)[: list(NEEDS).index(needed)]:
        with pytest.raises(NotGiven) as error:
            prune(name, given)
        assert error.value.needs == needed


@pytest.mark.parametrize("name", [name for name in BUILT_IN if needs_of(name) in ("nothing", "example")])
def test_what_a_pruner_says_it_needs_is_enough_and_no_more_than_it_asks_for(name: str, monkeypatch):
    assert prune(name, needs_of(name)).reached() >= 0.5
    if needs_of(name) == "example":
        monkeypatch.delitem(PRUNERS.entry(name).info, "needs_example")
        with pytest.raises(NotGiven, match="needs an example of the model's input"):
            prune(name, "nothing")
