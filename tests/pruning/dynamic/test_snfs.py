from __future__ import annotations

import torch

from topo.pruning.dynamic.updater import spread


def test_momentum_decides_where_weights_are_grown(follow, lively):
    run = follow("snfs", model=lively, sparsity=0.5, interval=2, smoothing=0.8, drop_fraction=0.5, annealing="constant")
    assert len(run.updates) == 5
    sizes = set()
    for update in run.updates:
        momentum = {layer: torch.zeros_like(weight) for layer, weight in update.weights.items()}
        for gradients in run.gradients[: update.step + 1]:
            for layer, gradient in gradients.items():
                momentum[layer] = 0.8 * momentum[layer] + 0.2 * gradient
        left, shares, dropped = {}, [], 0
        for layer, before in update.before.items():
            count = int(0.5 * int(before.sum()))
            magnitude = update.weights[layer].abs().masked_fill(~before, torch.inf).flatten()
            left[layer] = before.flatten().clone()
            left[layer][magnitude.argsort()[:count]] = False
            shares.append(float(momentum[layer][before].abs().mean()))
            dropped += count
        counts = spread(dropped, shares, [int((~mask).sum()) for mask in left.values()])
        for (layer, mask), count in zip(left.items(), counts, strict=True):
            best = momentum[layer].abs().flatten().masked_fill(mask, -1.0).argsort(descending=True)[:count]
            mask[best] = True
            assert torch.equal(update.after[layer].flatten(), mask)
        sizes.add(tuple(int(mask.sum()) for mask in update.after.values()))
    assert len(sizes) > 1 and len({sum(size) for size in sizes}) == 1
