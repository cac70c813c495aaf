"""Every setting of every pruner is documented, and others are refused."""

from __future__ import annotations

import inspect

import pytest
import torch
from torch import nn

import topo
from topo.errors import InputError
from topo.pruning import PRUNERS, settings_of
from topo.pruning.setting_ranges import check_ranges


@pytest.mark.parametrize("name", PRUNERS)
def test_every_setting_of_every_pruner_is_documented(name):
    entry = PRUNERS.entry(name)
    assert entry.summary
    assert entry.info["paper"]
    for setting in settings_of(name):
        assert len(setting.text) > 15, f"{name} says nothing of {setting.name} under Parameters"
        assert setting.text.endswith("."), setting.text
        assert setting.type, f"{name} does not say of what type {setting.name} is"
        assert setting.default is not inspect.Parameter.empty, f"{setting.name} of {name} has no default"
    texts = [setting.text for setting in settings_of(name)]
    assert len(set(texts)) == len(texts), f"settings of {name} share a text: `topo list` shows each with its own"


@pytest.mark.parametrize("name", PRUNERS)
def test_settings_that_a_pruner_does_not_have_are_refused(name):
    with pytest.raises(InputError, match=f"pruner '{name}'.*'nonsense'"):
        topo.prune(nn.Linear(3, 3), name, sparsity=0.5, nonsense=1)


def test_settings_keep_the_defaults_and_the_order_of_the_signature():
    assert [setting.name for setting in settings_of("snip")] == ["batch_size", "allocation", "rounds"]
    by_name = {setting.name: setting for setting in settings_of("rigl")}
    assert by_name["drop_fraction"].default == 0.3
    assert by_name["interval"].type == "int | None"
    with pytest.raises(InputError, match="unknown pruner 'snipp'; did you mean 'snip'"):
        settings_of("snipp")


LOOKED_AT_LATER = {("taylor", "batch_size"), ("grasp", "batch_size"), ("obs", "damping"), ("sparsegpt", "damping")}
"""What an algorithm looks at only with data at hand."""


@pytest.mark.parametrize("name", PRUNERS)
def test_settings_out_of_range_are_known_without_a_network(name):
    for setting in settings_of(name):
        wrong = {"int": -3, "float": -3.0}.get(setting.type.partition(" ")[0])
        if wrong is not None and (name, setting.name) not in LOOKED_AT_LATER:
            with pytest.raises(InputError, match=rf"^{setting.name}\b.* must be .*not -3"):
                check_ranges(name, {setting.name: wrong})
    check_ranges(name, {setting.name: setting.default for setting in settings_of(name)})


@pytest.mark.parametrize("name", [name for name in PRUNERS if "budget" in {s.name for s in settings_of(name)}])
def test_an_unknown_budget_is_named(name):
    net = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))
    data = (torch.zeros(4, 6), torch.arange(4) % 3)
    with pytest.raises(InputError, match=r"^unknown value of budget 'flops'; "):
        topo.prune(net, name, sparsity=0.5, data=data, recipe="digits", device="cpu", budget="flops")
