from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import topo.pruning
from topo.errors import InputError
from topo.pruning.initial.regular import bound_gap, draw_regular

NAMES = ("expander", "ramanujan")


def spread(degrees: torch.Tensor) -> int:
    return int(degrees.max() - degrees.min())


@given(rows=st.integers(1, 14), columns=st.integers(1, 14), fraction=st.floats(0, 1), seed=st.integers(0, 999))
def test_a_drawn_graph_is_regular_on_both_sides(rows, columns, fraction, seed):
    edges = round(fraction * rows * columns)
    graph = draw_regular(rows, columns, edges, torch.Generator().manual_seed(seed))
    assert graph.shape == (rows, columns)
    assert graph.sum() == edges
    assert spread(graph.sum(0)) <= 1
    assert spread(graph.sum(1)) <= 1


@pytest.mark.slow
def test_every_edge_and_every_graph_is_as_likely():
    # Of degree one on three and three nodes there are six graphs, the permutations: 1000 expected of 6000, s.d. 29.
    generator = torch.Generator().manual_seed(0)
    seen: dict[bytes, int] = {}
    for _ in range(6000):
        graph = draw_regular(3, 3, 3, generator).numpy().tobytes()
        seen[graph] = seen.get(graph, 0) + 1
    assert len(seen) == 6
    assert all(abs(count - 1000) < 5 * 29 for count in seen.values())
    # Uneven degrees: all edges have probability 5 / 12; 1250 expected of 3000, s.d. 27.
    counts = sum(draw_regular(3, 4, 5, generator).double() for _ in range(3000))
    assert (counts - 1250).abs().max() < 5 * 27


def net() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 16, 3), nn.Conv2d(16, 32, 3, groups=2), nn.Conv2d(32, 64, 1), nn.Flatten(), nn.Linear(64, 10)
    )


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("unit", ["kernel", "weight"])
@pytest.mark.parametrize("sparsity", [0.0, 0.3, 0.517, 0.9, 0.973])
def test_counts_and_degrees_of_layers(name, unit, sparsity):
    masks = topo.prune(net(), name, sparsity=sparsity, unit=unit)
    uniform = topo.prune(net(), "uniform", sparsity=sparsity)
    assert masks.counts()["kept"].tolist() == uniform.counts()["kept"].tolist()
    for mask in masks.values():
        kernels = mask.reshape(*mask.shape[:2], -1)
        if unit == "kernel":
            partial = kernels.any(2) & ~kernels.all(2)
            assert partial.sum() <= 1
            graph = kernels.any(2)
        else:
            graph = mask.flatten(1)
        assert spread(graph.sum(0)) <= 1
        assert spread(graph.sum(1)) <= 1


@pytest.mark.parametrize("allocation", ["er", "erk"])
def test_densities_follow_the_allocation(allocation):
    ours, theirs = (
        topo.prune(net(), name, sparsity=0.9, **s)
        for name, s in (("expander", {"allocation": allocation}), (allocation, {}))
    )
    assert ours.counts()["kept"].tolist() == theirs.counts()["kept"].tolist()


def test_the_gap_is_that_of_the_metric():
    model = nn.Sequential(nn.Linear(30, 20))
    masks = topo.prune(model, "uniform", sparsity=0.7)
    graph = masks["0.weight"]
    values = np.linalg.svd(graph.double().numpy(), compute_uv=False)
    bound = np.sqrt(int(graph.sum()) / 20 - 1) + np.sqrt(int(graph.sum()) / 30 - 1)
    assert graph.any(0).all()
    assert graph.any(1).all()
    assert bound_gap(graph) == pytest.approx(1 - values[1] / bound)


def test_the_gap_by_hand():
    assert bound_gap(torch.ones(3, 5).bool()) == pytest.approx(1.0)
    # Two squares: every degree is two, singular values 2, 2, 0, 0, bound 2.
    assert bound_gap(torch.block_diag(torch.ones(2, 2), torch.ones(2, 2)).bool()) == pytest.approx(0.0)
    # A node without edges is left out; matchings have bound zero.
    assert bound_gap(torch.eye(3, 4).bool()) == -np.inf
    assert bound_gap(torch.ones(1, 5).bool()) == np.inf
    assert bound_gap(torch.zeros(4, 5).bool()) == np.inf


@given(seed=st.integers(0, 20))
def test_ramanujan_layers_meet_the_bound(seed):
    model = nn.Sequential(nn.Linear(40, 60), nn.ReLU(), nn.Linear(60, 30))
    masks = topo.prune(model, "ramanujan", sparsity=0.85, seed=seed)
    for mask in masks.values():
        degrees = mask.sum().item() / 40, mask.sum().item() / 60
        assert min(degrees) > 2
        values = np.linalg.svd(mask.double().numpy(), compute_uv=False)
        assert values[1] <= sum((mask.sum().item() / size - 1) ** 0.5 for size in mask.shape) + 1e-9


def test_a_bound_that_single_draws_miss_takes_further_ones():
    gaps = {1: [], 20: []}
    for seed in range(40):
        for draws, gap in gaps.items():
            mask = topo.prune(nn.Linear(12, 12), "ramanujan", sparsity=1 - 30 / 144, seed=seed, draws=draws)["weight"]
            gap.append(bound_gap(mask))
    assert min(gaps[1]) < 0 <= min(gaps[20])


def test_what_cannot_meet_the_bound_is_still_drawn_and_exact():
    masks = topo.prune(nn.Linear(10, 10), "ramanujan", sparsity=0.9)["weight"]
    assert masks.sum() == 10
    assert bound_gap(masks) == -np.inf


@pytest.mark.parametrize("name", NAMES)
@given(seed=st.integers(0, 30))
def test_masks_do_not_depend_on_the_weights_and_differ_by_seed(name, seed):
    assert topo.prune(net(), name, sparsity=0.9, seed=seed) == topo.prune(net(), name, sparsity=0.9, seed=seed)
    assert topo.prune(net(), name, sparsity=0.9, seed=seed) != topo.prune(net(), name, sparsity=0.9, seed=seed + 1)


@pytest.mark.parametrize("name", NAMES)
def test_odd_layers(name, awkward):
    masks = topo.prune(awkward, name, sparsity=0.7, include=["*weight", "head.bias"])
    assert masks.counts()["kept"].sum() == round(0.3 * masks.counts()["total"].sum())
    assert masks.empty_layers() == []


@pytest.mark.parametrize("name", NAMES)
def test_bad_settings(name):
    with pytest.raises(InputError, match="unit"):
        topo.prune(net(), name, sparsity=0.5, unit="channel")
    with pytest.raises(InputError, match="allocation"):
        topo.prune(net(), name, sparsity=0.5, allocation="global")
    with pytest.raises(InputError, match="cannot be spread"):
        topo.prune(net(), name, sparsity=0.9999)
    if name == "ramanujan":
        with pytest.raises(InputError, match="draws"):
            topo.prune(net(), name, sparsity=0.5, draws=0)


def test_degrees_of_single_weights_are_those_of_outputs_also_of_transposed_convolutions():
    layer = nn.ConvTranspose2d(6, 4, 3, groups=2)
    masks = topo.prune(layer, "expander", sparsity=0.5, example=(6, 5, 5), unit="weight")
    by_output = masks["weight"].unflatten(0, (2, 3)).sum((1, 3, 4))
    assert sorted(by_output.flatten().tolist()) == [13, 13, 14, 14]
