from __future__ import annotations

import pytest

from topo.pruning.dynamic.updater import spread


@pytest.mark.parametrize("threshold", [1e-4, 0.05, 0.3])
def test_one_threshold_for_all_layers_that_doubles_and_halves(follow, lively, threshold):
    run = follow("dsr", model=lively, sparsity=0.5, interval=1, threshold=threshold, tolerance=0.1, drop_fraction=0.2)
    aim, sizes = 0.2 * run.callback.kept, set()
    assert len(run.updates) == 8
    for update in run.updates:
        left = {layer: before & (update.weights[layer].abs() >= threshold) for layer, before in update.before.items()}
        surviving = [int(mask.sum()) for mask in left.values()]
        dropped = run.callback.kept - sum(surviving)
        counts = spread(dropped, surviving, [int((~mask).sum()) for mask in left.values()])
        for (layer, mask), count in zip(left.items(), counts, strict=True):
            assert not (mask & ~update.after[layer]).any()
            assert int(update.after[layer].sum()) == int(mask.sum()) + count
        sizes.add(tuple(int(mask.sum()) for mask in update.after.values()))
        if dropped < 0.9 * aim:
            threshold *= 2
        elif dropped > 1.1 * aim:
            threshold /= 2
    assert run.callback.threshold == threshold
    assert len(sizes) > 1 and {sum(size) for size in sizes} == {run.callback.kept}
