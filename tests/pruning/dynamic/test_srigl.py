from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import topo
from topo.pruning.dynamic.srigl import places
from topo.training import Recipe


def fan_ins(mask) -> list[int]:
    return mask.flatten(1).sum(1).tolist()


def by_hand(weight, slope, before, fraction, share, ablates):
    """One update of a layer of lists of rows: rows that stay, and the places that each of them has."""
    rows, columns = len(weight), len(weight[0])
    held = [(r, c) for r in range(rows) for c in range(columns) if before[r][c]]
    steepest = [(r, c) for r in range(rows) for c in range(columns)]
    total, gone = len(held), int(fraction * len(held))
    held.sort(key=lambda place: -abs(weight[place[0]][place[1]]))
    steepest.sort(key=lambda place: -abs(slope[place[0]][place[1]]))
    salient = [0] * rows
    for r, _ in {*held[: total - gone], *steepest[:gone]}:
        salient[r] += 1
    active = list(range(rows))
    if ablates:
        best = sorted(active, key=lambda r: (-salient[r], r))[: math.ceil(total / columns)]
        active = [r for r in active if salient[r] >= max(1, int(share * (total // rows))) or r in best]
    left = [place for place in held if place[0] in active][: total - gone]
    left_of = {r: [c for of, c in left if of == r] for r in active}
    extra = sorted(active, key=lambda r: (-len(left_of[r]), r))[: total % len(active)]
    result = {}
    for r in active:
        fan_in = total // len(active) + (r in extra)
        kept = left_of[r][:fan_in]
        others = sorted((c for c in range(columns) if c not in kept), key=lambda c: -abs(slope[r][c]))
        result[r] = set(kept) | set(others[: fan_in - len(kept)])
    return result


@pytest.mark.parametrize("share", [0.0, 0.3, 0.95])
def test_updates_written_out(follow, lively, share):
    run = follow("srigl", model=lively, sparsity=0.6, interval=2, salient=share, drop_fraction=0.5)
    assert [update.step for update in run.updates] == [2, 4, 6, 8]
    ablated = 0
    for update in run.updates:
        fraction = 0.25 * (1 + math.cos(math.pi * update.step / 9))
        for layer, after in update.after.items():
            matrices = (update.weights, update.gradients, update.before)
            lists = [of[layer].flatten(1).tolist() for of in matrices]
            expected = by_hand(*lists, fraction, share, layer != run.callback.names[-1])
            found = {r: set(row.nonzero().flatten().tolist()) for r, row in enumerate(after.flatten(1)) if row.any()}
            assert found == expected
            ablated += len(after) - len(found)
            new = after & ~update.before[layer]
            assert not update.weights_after[layer][new].any()
    assert (ablated > 0) == (share == 0.95)


def test_the_fan_in_is_constant_and_rises_where_neurons_are_ablated(follow, lively):
    run = follow("srigl", model=lively, sparsity=0.7, interval=1, salient=0.95, drop_fraction=0.9, initial="uniform")
    for masks in (run.callback.masks, *(update.after for update in run.updates)):
        for layer, mask in masks.items():
            counts = [count for count in fan_ins(mask) if count]
            assert max(counts) - min(counts) <= 1
            assert sum(counts) == int(run.callback.masks[layer].sum())
    first, last = run.callback.masks["2.weight"], run.training.masks["2.weight"]
    assert 0 in fan_ins(last) and 0 not in fan_ins(first)
    assert max(fan_ins(last)) > max(fan_ins(first))
    assert 0 not in fan_ins(run.training.masks["5.weight"])


@settings(max_examples=30)
@given(st.integers(1, 5), st.integers(1, 6), st.integers(0, 99))
def test_places_are_those_of_sorting(rows, columns, seed):
    generator = torch.Generator().manual_seed(seed)
    scores = torch.rand(rows, columns, generator=generator)
    among = torch.rand(rows, columns, generator=generator) < 0.6
    found = places(scores, among)
    for row, mask, ranks in zip(scores.tolist(), among.tolist(), found.tolist(), strict=True):
        order = sorted(range(columns), key=lambda c: (not mask[c], -row[c] if mask[c] else c))
        assert [order.index(c) for c in range(columns)] == ranks


def test_the_fan_in_of_a_transposed_convolution_is_that_of_its_outputs():
    generator = torch.Generator().manual_seed(0)
    inputs, targets = torch.randn(12, 6, 2, 2, generator=generator), torch.arange(12) % 8
    net = nn.Sequential(nn.ConvTranspose2d(6, 8, 2, groups=2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    net = nn.Sequential(*net, nn.Linear(8, 8))
    plan = Recipe(epochs=3, batch_size=4, learning_rate=0.1, augment=False)
    settings = {"interval": 1, "salient": 0.0, "initial": "uniform"}
    masks = topo.prune(net, "srigl", sparsity=0.5, data=(inputs, targets), recipe=plan, **settings)
    by_output = masks["0.weight"].unflatten(0, (2, 3)).sum((1, 3, 4)).flatten().tolist()
    assert by_output == [6] * 8
