from __future__ import annotations

import torch
from torch import nn

import topo
from topo.pruning.dynamic.bipartite import ch3_l3p
from topo.pruning.dynamic.updater import largest


def test_the_best_predicted_links_are_grown_and_ties_are_drawn():
    callback = topo.pruning.sparse_training_callback(nn.Linear(12, 9), "cht", sparsity=0.5, device="cpu")
    weight = torch.zeros(9, 12)
    mask = torch.rand(9, 12, generator=torch.Generator().manual_seed(0)) < 0.3
    scores = ch3_l3p(mask.double())
    for count in range(1, int((~mask).sum())):
        grown = largest(callback.grow("weight", weight, mask), ~mask, count)
        rest = ~mask & ~grown
        assert scores[grown].min() >= scores[rest].max() - 1e-6
    empty = torch.zeros(9, 12, dtype=torch.bool)
    draws = {str(largest(callback.grow("weight", weight, empty), ~empty, 5).nonzero().tolist()) for _ in range(20)}
    assert len(draws) == 20


def test_the_prediction_is_of_what_is_left_after_the_drop(follow, lively):
    run = follow("cht", model=lively, sparsity=0.5, interval=2, settled=1.0)
    compared = 0
    for update in run.updates:
        for layer, after in update.after.items():
            before = update.before[layer]
            gone = int(0.3 * int(before.sum()))
            order = update.weights[layer].abs().masked_fill(~before, torch.inf).flatten().argsort()
            left = before.flatten().clone()
            left[order[:gone]] = False
            left = left.view(before.shape)
            grown = after & ~left
            scores = ch3_l3p(left.flatten(1).double()).view(left.shape)
            assert not torch.any(left & ~after) and int(grown.sum()) == gone
            if not after.all():
                assert scores[grown].min() >= scores[~after].max() - 1e-6
                compared += int(scores[grown].min() > 0)
    assert compared >= 8


def test_groups_are_read_from_the_model(follow):
    groups = follow("cht").callback.groups
    assert groups == {
        "conv.weight": 1, "grouped.weight": 2, "depthwise.weight": 8, "up.weight": 2, "head.weight": 1
    }  # fmt: skip


def test_a_layer_that_grows_back_what_it_dropped_comes_to_rest(follow):
    run = follow("cht", interval=1, sparsity=0.7, settled=0.0)
    assert run.callback.at_rest == set(run.callback.names) and len(run.updates) > 3
    for update in run.updates[1:]:
        assert all(torch.equal(update.before[layer], update.after[layer]) for layer in update.after)
    free = follow("cht", interval=1, sparsity=0.9)
    for update in free.updates:
        for layer, before in update.before.items():
            overlap = 1 - int((update.after[layer] & ~before).sum()) / max(int(0.3 * int(before.sum())), 1)
            assert overlap < 0.9 or layer in free.callback.at_rest
    assert "head.weight" not in follow("cht", interval=1, sparsity=0.9, settled=1.0).callback.at_rest
