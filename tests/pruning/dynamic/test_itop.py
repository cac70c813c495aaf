from __future__ import annotations

import pytest
import torch

from topo.pruning.dynamic.itop import ITOP


@pytest.mark.parametrize("growth", ["gradient", "random"])
def test_the_union_is_of_all_masks_there_have_been(follow, growth):
    run = follow("itop", interval=2, growth=growth)
    assert isinstance(run.callback, ITOP) and len(run.updates) == 5
    for layer in run.callback.names:
        union = run.callback.masks[layer].clone()
        for update in run.updates:
            union |= update.after[layer]
        assert torch.equal(run.callback.union[layer], union)
    seen = sum(int(mask.sum()) for mask in run.callback.union.values())
    assert run.callback.explored == seen / run.callback.total > run.training.masks.density


def test_it_grows_as_rigl_or_at_random(follow):
    first = {}
    for name, options in (("rigl", {}), ("itop", {}), ("random", {"growth": "random"})):
        algorithm = "rigl" if name == "rigl" else "itop"
        run = follow(algorithm, interval=2, drop_fraction=0.5, annealing="constant", stop=1.0, **options)
        first[name] = run.updates[0].after
    assert all(torch.equal(first["rigl"][layer], first["itop"][layer]) for layer in first["rigl"])
    assert any(not torch.equal(first["rigl"][layer], first["random"][layer]) for layer in first["rigl"])
