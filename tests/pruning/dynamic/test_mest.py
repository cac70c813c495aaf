from __future__ import annotations

import math

import pytest
import torch


@pytest.mark.parametrize("factor", [0.0, 3.0])
def test_magnitude_and_gradient_decide_what_goes(follow, lively, factor):
    run = follow("mest", model=lively, sparsity=0.5, interval=2, gradient_weight=factor, drop_fraction=0.4)
    gone_in_all = 0
    for update in run.updates:
        fraction = 0.2 * (1 + math.cos(math.pi * update.step / 9))
        for layer, before in update.before.items():
            score = (update.weights[layer].abs() + factor * update.gradients[layer].abs())[before]
            count = int(fraction * len(score))
            gone = (before & ~update.after[layer])[before]
            assert set(gone.nonzero().flatten().tolist()) <= set(score.argsort()[:count].tolist())
            gone_in_all += int(gone.sum())
    assert gone_in_all > 20


def test_a_soft_bound_grows_first_and_is_exact_in_the_end(follow, lively):
    run = follow("mest", model=lively, sparsity=0.5, interval=2, soft_bound=True, drop_fraction=0.4)
    own = {layer: int(mask.sum()) for layer, mask in run.callback.masks.items()}
    assert [update.step for update in run.updates] == [2, 4, 6, 8]
    for update in run.updates[:-1]:
        fraction = 0.2 * (1 + math.cos(math.pi * update.step / 9))
        for layer, after in update.after.items():
            pruned = after.numel() - own[layer]
            assert int(after.sum()) == own[layer] + min(int(fraction * own[layer]), pruned)
    last = run.updates[-1]
    assert {layer: int(mask.sum()) for layer, mask in last.after.items()} == own
    for layer, before in last.before.items():  # nothing is grown, the lowest scores go
        assert not torch.any(last.after[layer] & ~before)
    assert run.training.masks.counts()["kept"].sum() == run.callback.kept
