from __future__ import annotations

import math

import pytest
import torch

import topo
from topo.training import recipe


def flat(mask) -> list[int]:
    return mask.flatten().nonzero().flatten().tolist()


def test_updates_written_out(follow, lively):
    """Of 12 steps pruning lasts until the eighth; updates are every other step."""
    run = follow("granet", model=lively, sparsity=0.5, start_sparsity=0.2, interval=2, prune_until=0.7)
    first = round(0.8 * run.callback.total)
    total, kept = run.callback.total, run.callback.kept
    assert [update.step for update in run.updates] == [2, 4, 6, 8, 10]
    assert int(run.callback.masks.counts()["kept"].sum()) == first
    revived = returned = 0
    for update in run.updates:
        weights = {layer: w.flatten().tolist() for layer, w in update.weights.items()}
        slopes = {layer: g.flatten().tolist() for layer, g in update.gradients.items()}
        held = [(layer, i) for layer, mask in update.before.items() for i in flat(mask)]
        remaining = max(0.0, 1 - update.step / 8) ** 3
        count = round((kept / total + (first - kept) / total * remaining) * total)
        ranked = sorted(held, key=lambda place: -abs(weights[place[0]][place[1]]))
        fraction = 0.25 * (1 + math.cos(math.pi * update.step / 12))
        for layer, after in update.after.items():
            left = [i for of, i in ranked[:count] if of == layer]
            gone = int(fraction * len(left))
            surviving = set(left[: len(left) - gone])
            others = [i for i in range(after.numel()) if i not in surviving]
            grown = set(sorted(others, key=lambda i: -abs(slopes[layer][i]))[:gone])
            assert set(flat(after)) == surviving | grown
            values = update.weights_after[layer].flatten().tolist()
            memory = update.memory_after[layer]["momentum_buffer"].flatten().tolist()
            for i in grown - set(left):
                assert values[i] == memory[i] == 0
            revived += len((grown - set(left)) & set(flat(update.before[layer])))
            for i in surviving | (grown & set(left)):
                assert values[i] == weights[layer][i]
            returned += len(grown & set(left))
    # Some were pruned, or dropped, and grown in one update.
    assert revived > 0 and returned > 0
    assert int(run.training.masks.counts()["kept"].sum()) == kept


@pytest.mark.parametrize(
    ("settings", "first"),
    [({}, 0.5), ({"start_sparsity": 0.0}, 1.0), ({"start_sparsity": 0.7}, 0.3), ({"start_sparsity": 1.0}, 0.2)],
    ids=str,
)
def test_it_starts_at_the_sparsity_given_and_ends_at_that_asked_for(follow, lively, settings, first):
    run = follow("granet", model=lively, sparsity=0.8, interval=3, **settings)
    total = run.callback.total
    counts = [int(run.callback.masks.counts()["kept"].sum())]
    counts += [sum(int(mask.sum()) for mask in update.after.values()) for update in run.updates]
    assert counts[0] == round(first * total) and counts == sorted(counts, reverse=True)
    assert run.training.masks.counts()["kept"].sum() == round(0.2 * total)


@pytest.mark.parametrize("until", [0.1, 1.0])
def test_the_count_is_exact_without_any_update(follow, lively, until):
    run = follow("granet", model=lively, sparsity=0.8, interval=1000, prune_until=until)
    assert run.updates == []
    assert run.training.masks.counts()["kept"].sum() == run.callback.kept
    # Nothing is grown, so that what is kept was kept in the beginning.
    assert not any(torch.any(mask & ~run.callback.masks[name]) for name, mask in run.training.masks.items())


def test_networks_with_the_start_asked_for_are_not_pruned_below_it(few):
    net = topo.models.build("digits-mlp", input_shape=(1, 8, 8))
    masks = topo.prune(net, "granet", sparsity=0.3, data=few, recipe=recipe("digits", epochs=2), device="cpu")
    assert masks.counts()["kept"].sum() == round(0.7 * masks.counts()["total"].sum())
