from __future__ import annotations

import math


def flat(mask) -> list[int]:
    return mask.flatten().nonzero().flatten().tolist()


def test_the_smallest_weights_go_and_the_largest_gradients_come(follow, lively):
    run = follow("rigl", model=lively, sparsity=0.5, interval=2)
    assert [update.step for update in run.updates] == [2, 4, 6, 8]
    returned = 0
    for update in run.updates:
        fraction = 0.15 * (1 + math.cos(math.pi * update.step / (0.75 * 12)))
        for layer, before in update.before.items():
            weight, gradient = update.weights[layer].flatten().tolist(), update.gradients[layer].flatten().tolist()
            kept = flat(before)
            count = int(fraction * len(kept))
            dropped = sorted(kept, key=lambda i: abs(weight[i]))[:count]
            left = set(kept) - set(dropped)
            candidates = [i for i in range(len(weight)) if i not in left]
            grown = sorted(candidates, key=lambda i: -abs(gradient[i]))[:count]
            assert set(flat(update.after[layer])) == left | set(grown)
            again = set(grown) & set(dropped)
            returned += len(again)
            # what comes back at once has never left
            assert all(float(update.weights_after[layer].flatten()[i]) == weight[i] for i in again)
    assert returned > 0
