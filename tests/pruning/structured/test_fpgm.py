from __future__ import annotations

import torch

import topo.pruning


def test_sum_of_distances_to_the_other_filters(exact):
    scores = topo.pruning.score(exact, "fpgm", example=(1, 8, 8))
    for layers in (["conv1"], ["hidden"], ["stem", "conv2"], ["wide", "depthwise"]):
        weights = [getattr(exact, layer).weight.detach() for layer in layers]
        for unit in range(len(weights[0])):
            expected = sum((w[unit] - w[other]).norm() for w in weights for other in range(len(w)))
            torch.testing.assert_close(scores[f"{layers[0]}.weight"][unit].flatten()[0], expected, rtol=1e-6, atol=1e-6)


def test_the_filter_at_the_median_goes_first_however_large_it_is(exact):
    with torch.no_grad():
        exact.hidden.weight.copy_(10 + torch.arange(7.0)[:, None].expand(7, 5))
    kept = topo.prune(exact, "fpgm", sparsity=0.01, example=(1, 8, 8), include="hidden.weight")["hidden.weight"]
    assert kept.any(dim=1).tolist() == [True, True, True, False, True, True, True]


def test_distances_do_not_change_when_all_filters_move(exact):
    before = topo.pruning.score(exact, "fpgm", example=(1, 8, 8))["conv1.weight"]
    with torch.no_grad():
        exact.conv1.weight += torch.randn(4, 3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(topo.pruning.score(exact, "fpgm", example=(1, 8, 8))["conv1.weight"], before)


def test_in_later_rounds_removed_filters_do_not_count(exact):
    # Were the removed filter left where pruning puts it, at zero, distances to it would count.
    values = torch.tensor([-9.0, 1.0, 2.0, 3.0, 4.0, 5.0, 40.0])
    with torch.no_grad():
        exact.hidden.weight.zero_()
        exact.hidden.weight[:, 0] = values
    options = {"example": (1, 8, 8), "include": "hidden.weight", "sparsity_of": "all"}
    total = sum(p.numel() for p in topo.masks.prunable_parameters(exact).values())
    removed = 2 * 15  # two hidden units, each with 5 weights that write and 10 that read it
    masks = topo.prune(exact, "fpgm", sparsity=removed / total, rounds=2, **options)
    left = list(range(7))
    for _ in range(2):
        sums = [sum(abs(values[a] - values[b]) for b in left) for a in left]
        left.pop(min(range(len(left)), key=lambda i: sums[i]))
    assert masks["hidden.weight"].any(dim=1).nonzero().flatten().tolist() == left
