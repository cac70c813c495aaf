from __future__ import annotations

import torch
from torch import nn

import topo


def test_a_share_of_the_smallest_positive_and_of_the_largest_negative_weights_goes():
    callback = topo.pruning.sparse_training_callback(nn.Linear(10, 1), "set", sparsity=0.1, device="cpu")
    weight = nn.Parameter(torch.tensor([[5.0, 1.0, 2.0, 9.0, 3.0, -7.0, -6.0, -8.0, 0.0, 0.5]]))
    mask = torch.tensor([[True] * 8 + [False, True]])
    left = callback.dropped({"weight": weight}, {"weight": mask}, 0.4)["weight"]
    # two of the six positive ones, 0.5 and 1, and one of the three negative ones, -6, though 2 and 3 are smaller
    assert left.tolist() == [[True, False, True, True, True, True, False, True, False, False]]
    assert callback.dropped({"weight": weight}, {"weight": mask}, 1.0)["weight"].sum() == 0


def test_layers_keep_their_counts(follow):
    run = follow("set", interval=2, drop_fraction=0.4)
    assert len(run.updates) == 5
    for update in run.updates:
        assert all(update.before[layer].sum() == after.sum() for layer, after in update.after.items())
        assert any(torch.any(update.before[layer] & ~after) for layer, after in update.after.items())


def test_growth_is_uniform_over_what_is_pruned(follow):
    """Of the 1,000 weights of the last layer, most of them pruned, each is grown about as often as any other."""
    runs = [follow("set", interval=1, sparsity=0.9, seed=seed) for seed in range(12)]
    grown = sum(
        (u.after["head.weight"] & ~u.before["head.weight"]).double() for run in runs for u in run.updates
    ).flatten()
    total, half = float(grown.sum()), float(grown[: len(grown) // 2].sum())
    assert total > 500 and abs(half - total / 2) < 4 * (total / 4) ** 0.5
    assert torch.count_nonzero(grown) > 0.4 * len(grown)
