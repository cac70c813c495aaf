"""Masks that a model holds already: new ones lie within them, and are chosen by the same scores."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.utils import prune

import topo
from topo.pruning import PRUNERS
from topo.pruning import api as pruning_api
from topo.pruning.masks_within import kept_within
from topo.pruning.sparse_training import SparseTrainingCallback

PLAN = topo.training.recipe("digits", epochs=2, batch_size=8)
DATA = (torch.randn(24, 6, generator=torch.Generator().manual_seed(0)), torch.arange(24) % 3)
SCORED = [
    ("magnitude", {"rounds": 5}), ("snip", {"rounds": 5}), ("grasp", {"rounds": 5}), ("obd", {"rounds": 5}),
    ("px", {"rounds": 5}), ("ntk-sap", {"rounds": 5}), ("force", {"rounds": 5}), ("iterative-snip", {"rounds": 5}),
    ("woodfisher", {"rounds": 5}), ("ac-dc", {}), ("str", {}), ("continuous-sparsification", {}), ("edge-popup", {}),
    ("movement", {"allocation": "global"}), ("gmp", {"allocation": "global"}), ("imp", {"rate": 0.5}),
]  # fmt: skip


def network() -> nn.Sequential:
    """A third of the weights of every layer pruned."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3))
        for layer in net[::2]:
            prune.random_unstructured(layer, "weight", amount=1 / 3)
    return net


@pytest.mark.parametrize(("name", "settings"), SCORED, ids=[name for name, _ in SCORED])
def test_scores_choose_within_the_masks_of_the_model(name, settings, monkeypatch):
    """What an algorithm returns lies within them by itself, so that nothing is replaced at random."""
    moved = []

    def watched(masks, within, refill, generator):
        found = kept_within(masks, within, refill, generator)
        moved.append(any(bool((found[key] & ~masks[key].cpu()).any()) for key in found))
        return found

    monkeypatch.setattr(pruning_api, "kept_within", watched)
    net = network()
    masks = topo.prune(net, name, sparsity=0.6, data=DATA, recipe=PLAN, device="cpu", **settings)
    assert sum(int(mask.sum()) for mask in masks.values()) == round(0.4 * 136)
    for key, mask in masks.items():
        assert not (mask & (net.get_submodule(key.partition(".")[0]).weight_mask == 0)).any()
    assert moved and not any(moved)


BY_LAYER = [
    *(("magnitude", {"allocation": allocation}) for allocation in ("uniform", "erk", "row")),
    *((name, {}) for name in ("obs", "sparsegpt", "owl", "edge-popup", "top-kast", "srigl", "erk", "expander")),
]


@pytest.mark.parametrize(("name", "settings"), BY_LAYER, ids=lambda value: str(value))
def test_layers_that_the_model_has_pruned_whole_leave_their_share_to_the_others(name, settings):
    net = network()
    prune.custom_from_mask(net[2], "weight", torch.zeros(8, 8))
    masks = topo.prune(net, name, sparsity=0.8, data=DATA, recipe=PLAN, device="cpu", **settings)
    kept = {key: int(mask.sum()) for key, mask in masks.items()}
    assert sum(kept.values()) == round(0.2 * 136) and kept["2.weight"] == 0
    if settings.get("allocation") == "uniform":
        # Shares of 27 in proportion to 48 and 24 weights, the largest of those that the masks let stay.
        assert kept == {"0.weight": 18, "2.weight": 0, "4.weight": 9}
        for layer in (0, 4):
            sizes = net[layer].weight.detach().abs()
            least = sizes[masks[f"{layer}.weight"]].min()
            assert bool((sizes[~masks[f"{layer}.weight"]] <= least).all())


@pytest.mark.parametrize("name", [e.name for e in PRUNERS.entries() if e.info["stage"] == "training"])
def test_training_never_holds_more_than_the_masks_of_the_model(name, monkeypatch):
    """From the first step on, so that what is trained is what is kept in the end."""
    net, held = network(), []
    within = {f"{i}.weight": net[i].weight_mask.bool() for i in (0, 2, 4)}
    change, train = SparseTrainingCallback.change, pruning_api.Task.train

    def started(task, masks=None, **options):
        held.append(masks)
        return train(task, masks, **options)

    def changed(self, state, masks):
        change(self, state, masks)
        held.append(state.masks)

    monkeypatch.setattr(SparseTrainingCallback, "change", changed)
    monkeypatch.setattr(pruning_api.Task, "train", started)
    masks = topo.prune(net, name, sparsity=0.6, data=DATA, recipe=PLAN, device="cpu")
    assert held and not any(bool((now[key].cpu() & ~within[key]).any()) for now in held for key in within)
    assert all(torch.equal(masks[key], held[-1][key].cpu()) for key in masks)
