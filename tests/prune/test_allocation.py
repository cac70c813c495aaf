from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from topo.errors import InputError
from topo.prune.allocation import (
    ALLOCATIONS,
    er_share,
    erk_share,
    keep_best,
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
