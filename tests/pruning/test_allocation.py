from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torch import nn

import topo.pruning
from topo.errors import InputError
from topo.pruning.allocation import (
    ALLOCATIONS,
    allocation,
    er_share,
    erk_share,
    keep_best,
    keep_in_rows,
    keep_largest,
    layer_counts,
    uniform_share,
)

shape = st.one_of(
    st.tuples(st.integers(1, 40), st.integers(1, 40)),
    st.tuples(st.integers(1, 16), st.integers(1, 16), st.integers(1, 5), st.integers(1, 5)),
)
shapes = st.lists(shape, min_size=1, max_size=7).map(lambda s: {f"layer{i}": tuple(x) for i, x in enumerate(s)})
# Few different values, so that ties are common.
score_lists = st.lists(st.lists(st.integers(0, 4), min_size=1, max_size=12), min_size=1, max_size=5)
SHARES = {"uniform": uniform_share, "er": er_share, "erk": erk_share}


def by_bisection(shapes: dict, kept: int, share) -> np.ndarray:
    """The real-valued counts, found without any of the code under test."""
    sizes = np.array([math.prod(s) for s in shapes.values()], dtype=float)
    rates = np.array([share(s) for s in shapes.values()]) * sizes
    low, high = 0.0, 1e9
    for _ in range(300):
        middle = (low + high) / 2
        total = np.minimum(np.maximum(middle * rates, 1.0), sizes).sum()
        low, high = (middle, high) if total < kept else (low, middle)
    return np.minimum(np.maximum(high * rates, 1.0), sizes)


@pytest.mark.parametrize("name", SHARES)
@given(shapes=shapes, fraction=st.floats(0, 1))
def test_layer_counts_are_exact_in_all_and_within_one_in_each(name, shapes, fraction):
    sizes = [math.prod(s) for s in shapes.values()]
    kept = max(len(shapes), round(fraction * sum(sizes)))
    counts = layer_counts(shapes, kept, SHARES[name])
    assert sum(counts) == kept
    assert all(1 <= count <= size for count, size in zip(counts, sizes))
    assert np.abs(np.array(counts) - by_bisection(shapes, kept, SHARES[name])).max() < 1 + 1e-6


def test_shares_are_the_formulas():
    assert er_share((10, 20)) == pytest.approx(30 / 200)
    assert er_share((10, 20, 3, 3)) == pytest.approx(30 / 200)
    assert erk_share((10, 20, 3, 3)) == pytest.approx(36 / 1800)
    assert uniform_share((10, 20)) == 1.0


def test_erk_by_hand():
    # rates sum(shape): 27, 54, 74; epsilon = 310 / 155 = 2
    shapes = {"a": (16, 5, 3, 3), "b": (16, 32, 3, 3), "c": (64, 10)}
    assert layer_counts(shapes, 310, erk_share) == [54, 108, 148]


def test_an_overfull_layer_is_dense_and_the_others_share_the_rest():
    shapes = {"small": (2, 3, 1, 1), "a": (50, 50), "b": (100, 50)}
    counts = layer_counts(shapes, 6 + 500, er_share)
    assert counts == [6, 200, 300]


def test_a_starved_layer_keeps_one_weight():
    assert layer_counts({"big": (1000, 1000), "tiny": (2, 2)}, 101, uniform_share) == [100, 1]


def test_fewer_weights_than_layers():
    with pytest.raises(InputError, match="2 weights cannot be spread over 3 layers"):
        layer_counts({"a": (5, 5), "b": (5, 5), "c": (5, 5)}, 2, uniform_share)
    with pytest.raises(InputError, match="1 weight cannot be spread over 2 layers"):
        layer_counts({"a": (5, 5), "b": (5, 5)}, 1, uniform_share)


@given(lists=score_lists, fraction=st.floats(0, 1))
def test_keep_largest_against_a_stable_sort(lists, fraction):
    scores = {str(i): torch.tensor(values, dtype=torch.float32) for i, values in enumerate(lists)}
    flat = np.concatenate([np.array(values) for values in lists])
    kept = round(fraction * len(flat))
    expected = np.zeros(len(flat), dtype=bool)
    expected[np.argsort(-flat, kind="stable")[:kept]] = True
    masks = keep_largest(scores, kept)
    assert np.array_equal(np.concatenate([m.numpy() for m in masks.values()]), expected)


@given(lists=score_lists, a=st.floats(0, 1), b=st.floats(0, 1))
def test_fewer_kept_weights_lie_within_more(lists, a, b):
    scores = {str(i): torch.tensor(values, dtype=torch.float64) for i, values in enumerate(lists)}
    total = sum(map(len, lists))
    few, many = (keep_largest(scores, round(x * total)) for x in sorted((a, b)))
    assert all(not (few[name] & ~many[name]).any() for name in scores)


@given(
    lists=score_lists, fraction=st.floats(0, 1), scale=st.sampled_from([0.25, 8.0, 1024.0]), shift=st.integers(-3, 3)
)
def test_only_the_order_of_scores_matters(lists, fraction, scale, shift):
    scores = {str(i): torch.tensor(values, dtype=torch.float64) for i, values in enumerate(lists)}
    kept = round(fraction * sum(map(len, lists)))
    moved = keep_largest({name: score * scale + shift for name, score in scores.items()}, kept)
    assert all(torch.equal(mask, moved[name]) for name, mask in keep_largest(scores, kept).items())


@given(seed=st.integers(0, 1000), kept=st.integers(1, 40))
def test_permuting_distinct_scores_permutes_the_mask(seed, kept):
    generator = torch.Generator().manual_seed(seed)
    score, order = torch.randperm(40, generator=generator).double(), torch.randperm(40, generator=generator)
    mask = keep_largest({"w": score}, kept)["w"]
    assert torch.equal(keep_largest({"w": score[order]}, kept)["w"], mask[order])


def test_shapes_and_layer_wise_choice():
    scores = {"a": torch.tensor([[1.0, 5.0], [3.0, 2.0]]), "b": torch.tensor([[[9.0]], [[8.0]]])}
    masks = keep_best(scores, [2, 1])
    assert masks["a"].tolist() == [[False, True], [True, False]]
    assert masks["b"].tolist() == [[[True]], [[False]]]
    for allocate in ALLOCATIONS.values():
        kept = allocate(scores, 3)
        assert sum(int(mask.sum()) for mask in kept.values()) == 3
        assert all(kept[name].shape == scores[name].shape for name in scores)


def test_minus_infinity_is_kept_last():
    scores = {"a": torch.tensor([-torch.inf, -5.0, -torch.inf, 0.0])}
    assert keep_largest(scores, 2)["a"].tolist() == [False, True, False, True]
    assert keep_largest(scores, 4)["a"].all()
    assert not keep_largest(scores, 0)["a"].any()


def test_scores_of_any_layout_and_type():
    transposed = torch.arange(6.0).view(2, 3).T
    mask = keep_largest({"w": transposed}, 2)["w"]
    assert transposed[mask].tolist() == [4.0, 5.0]
    half = torch.tensor([1.0, 3.0, 2.0], dtype=torch.bfloat16)
    assert keep_largest({"w": half}, 1)["w"].tolist() == [False, True, False]
    # In float32 the two would be equal, and the first one would win.
    mixed = {"a": torch.tensor([1.0]), "b": torch.tensor([1.0 + 1e-12], dtype=torch.float64)}
    assert [m.item() for m in keep_largest(mixed, 1).values()] == [False, True]


def test_the_scores_stay_as_they_were():
    score = torch.tensor([3.0, 1.0, 2.0], requires_grad=True)
    keep_largest({"w": score}, 1)
    assert score.tolist() == [3.0, 1.0, 2.0]


@given(rows=st.integers(1, 7), columns=st.integers(1, 7), fraction=st.floats(0, 1), seed=st.integers(0, 99))
def test_rows_keep_the_same_number_and_their_best(rows, columns, fraction, seed):
    score = torch.randint(5, (rows, columns), generator=torch.Generator().manual_seed(seed)).float()
    kept = round(fraction * rows * columns)
    mask = keep_in_rows(score, kept)
    assert mask.sum() == kept
    assert mask.sum(1).max() - mask.sum(1).min() <= 1
    for values, chosen in zip(score, mask):
        expected = np.zeros(columns, dtype=bool)
        expected[np.argsort(-values.numpy(), kind="stable")[: int(chosen.sum())]] = True
        assert np.array_equal(chosen.numpy(), expected)
    # The rows with one more have the larger next scores.
    each = kept // rows
    following = [float(values.sort(descending=True).values[each]) if each < columns else 0.0 for values in score]
    more = mask.sum(1) > each
    if more.any() and not more.all():
        assert min(f for f, m in zip(following, more) if m) >= max(f for f, m in zip(following, more) if not m)


def test_row_allocation_over_layers():
    scores = {"a": torch.rand(4, 3, 3, 3), "b": torch.rand(7, 10), "c": torch.rand(5)}
    masks = ALLOCATIONS["row"](scores, 60)
    assert sum(int(mask.sum()) for mask in masks.values()) == 60
    for name, mask in masks.items():
        per_row = mask.flatten(1).sum(1) if mask.ndim > 1 else mask.sum()[None]
        assert per_row.max() - per_row.min() <= 1
        assert mask.shape == scores[name].shape


@given(
    shapes=st.lists(
        st.one_of(
            st.tuples(st.integers(1, 9), st.integers(1, 20)),
            st.tuples(st.integers(1, 5), st.integers(1, 9), st.integers(1, 3), st.integers(1, 3)),
            st.tuples(st.integers(1, 9)),
        ),
        min_size=1,
        max_size=4,
    ),
    m=st.integers(1, 8),
    data=st.data(),
)
def test_a_pattern_holds_in_every_group(shapes, m, data):
    n = data.draw(st.integers(1, m))
    scores = {str(i): torch.rand(shape) for i, shape in enumerate(shapes)}
    total = sum(score.numel() for score in scores.values())
    kept = round(total * n / m)
    assume(kept > 0)
    masks = allocation(f"{n}:{m}", kept, total)(scores, kept)
    assert sum(int(mask.sum()) for mask in masks.values()) == kept
    for name, mask in masks.items():
        score = scores[name]
        assert mask.shape == score.shape
        # Rows of inputs, written out: vectors are one row, kernels give a row for each output and place.
        places = (
            [(mask[None], score[None])]
            if mask.ndim == 1
            else [
                (mask[o][:, *place], score[o][:, *place])
                for o in range(mask.shape[0])
                for place in np.ndindex(mask.shape[2:])
            ]
        )
        for chosen, values in places:
            for start in range(0, chosen.shape[-1], m):
                group = chosen.reshape(-1)[start : start + m]
                if len(group) == m:
                    assert group.sum() == n
                else:
                    assert abs(int(group.sum()) - len(group) * n / m) < 1
                inside = values.reshape(-1)[start : start + m]
                if group.any() and not group.all():
                    assert inside[group].min() >= inside[~group].max()


def test_a_pattern_in_a_convolution_runs_over_its_input_channels():
    score = torch.zeros(1, 4, 1, 2)
    score[0, :, 0, 0] = torch.tensor([4.0, 1.0, 3.0, 2.0])
    score[0, :, 0, 1] = torch.tensor([1.0, 2.0, 3.0, 4.0])
    mask = allocation("2:4", 4, 8)({"w": score}, 4)["w"]
    assert mask[0, :, 0, 0].tolist() == [True, False, True, False]
    assert mask[0, :, 0, 1].tolist() == [False, False, True, True]


@pytest.mark.parametrize("name", ["magnitude", "synflow"])
def test_a_pattern_serves_any_score_also_over_rounds(name):
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Flatten(), nn.Linear(8, 10))
    settings = {"example": (3, 3, 3)} if name == "synflow" else {"rounds": 7}
    masks = topo.prune(net, name, sparsity=0.5, allocation="2:4", **settings)
    assert masks.counts()["kept"].tolist() == [108, 40]
    assert (masks["2.weight"].view(10, 2, 4).sum(2) == 2).all()
    assert (masks["0.weight"].sum(1) - 1.5).abs().max() == 0.5


def test_row_allocation_over_rounds_never_takes_a_weight_back():
    net = nn.Linear(13, 7)
    masks = topo.prune(net, "magnitude", sparsity=0.83, allocation="row", rounds=9)["weight"]
    once = topo.prune(net, "magnitude", sparsity=0.83, allocation="row")["weight"]
    assert torch.equal(masks, once)  # the scores of what is left stay the same


@pytest.mark.parametrize("name", ["gobal", "2:", "2-4", "", None, 3])
def test_unknown_allocations(name):
    with pytest.raises(InputError, match="allocation"):
        allocation(name, 5, 10)
    with pytest.raises(InputError, match="must keep between 1 and M"):
        allocation("5:4", 5, 10)


def test_a_sparsity_that_does_not_fit_the_pattern():
    net = nn.Linear(8, 4)
    with pytest.raises(InputError, match=r"'2:4' keeps 2 of every 4 weights, and 13 of 32 were .*give sparsity=0.5"):
        topo.prune(net, "magnitude", sparsity=0.6, allocation="2:4")
    with pytest.raises(InputError, match=r"give sparsity=0.75"):
        topo.prune(net, "magnitude", sparsity=0.5, allocation="1:4")
    assert topo.prune(net, "magnitude", sparsity=1 - 1 / 3, allocation="1:3").counts()["kept"].sum() == 11
