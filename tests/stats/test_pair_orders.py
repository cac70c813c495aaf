from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from topo.stats.pair_orders import PairOrders, detectable, mean_with_interval, pair_signs

levels = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=2, max_size=12)


def orders(scores: np.ndarray, truth: np.ndarray, settings: np.ndarray | None = None) -> PairOrders:
    known = np.isfinite(truth)
    asked = known[:, :, None] & known[:, None] & ~np.eye(truth.shape[1], dtype=bool)
    return PairOrders(
        pair_signs(scores), pair_signs(truth), asked, np.arange(len(truth)) if settings is None else settings
    )


@given(levels)
def test_tau_equals_scipy(pairs):
    x, y = np.array(pairs, dtype=float).T
    expected = stats.kendalltau(x, y).statistic
    assert orders(x[None], y[None]).tau()[0] == pytest.approx(0.0 if np.isnan(expected) else expected)


def test_pairs_by_hand_with_a_tie_and_a_missing_pruner():
    of = orders(np.array([[1.0, 2.0, 2.0, 9.0]]), np.array([[1.0, 2.0, 3.0, np.nan]]))
    assert of.right()[0] == pytest.approx(2.5 / 3)
    assert of.tau()[0] == pytest.approx(2 / np.sqrt(2 * 3))


@given(st.integers(0, 10**6))
def test_leaving_a_pruner_out_equals_doing_without_it(seed):
    scores, truth = np.random.default_rng(seed).integers(0, 4, size=(2, 3, 5)).astype(float)
    without = orders(scores, truth).without_each_pruner()
    for pruner in range(5):
        part = orders(np.delete(scores, pruner, axis=1), np.delete(truth, pruner, axis=1))
        np.testing.assert_allclose(without[:, pruner], part.tau(), atol=1e-12)


def drawn(generator: np.random.Generator, pruners: int, settings: int, effect: float) -> PairOrders:
    """Score and truth that share pruners' effects over all settings, and those of pruners in a setting."""
    truth, other = (
        generator.normal(size=(1, pruners))
        + 0.7 * np.repeat(generator.normal(size=(settings, pruners)), 3, axis=0)
        + 0.7 * generator.normal(size=(3 * settings, pruners))
        for _ in range(2)
    )
    score = effect * truth + np.sqrt(1 - effect**2) * other
    return orders(score, truth, np.repeat(np.arange(settings), 3))


@pytest.mark.parametrize(("pruners", "settings"), [(7, 3), (7, 10), (11, 4)])
@pytest.mark.parametrize("effect", [0.0, 0.7])
def test_intervals_cover_what_they_say(pruners, settings, effect):
    generator = np.random.default_rng(pruners + settings)
    found = [mean_with_interval(drawn(generator, pruners, settings, effect)) for _ in range(300)]
    # Kendall's tau of normal variables with this correlation.
    expected = 2 / np.pi * np.arcsin(effect)
    covered = np.mean([one["low"] <= expected <= one["high"] for one in found])
    assert 0.9 <= covered <= 0.995
    if not effect:
        assert np.mean([one["p"] < 0.05 for one in found]) <= 0.08


@pytest.mark.slow
def test_differences_keep_their_level_and_what_is_detectable_is_detected():
    generator = np.random.default_rng(0)
    claimed, detected = [], []
    for _ in range(300):
        truth = drawn(generator, 9, 5, 0.0)
        first, second = (
            PairOrders(drawn(generator, 9, 5, 0.0).signs, truth.truth, truth.asked, truth.settings) for _ in "ab"
        )
        gain = mean_with_interval(first, second)
        claimed.append(gain["p"] < 0.05)
        detected.append(detectable(gain["error"], gain["df"]))
    assert np.mean(claimed) <= 0.07
    spread = np.std([mean_with_interval(drawn(generator, 9, 5, 0.0))["mean"] for _ in range(300)])
    # Of two independent scores: the spread of a difference, times what 80% power takes.
    assert np.median(detected) == pytest.approx(3 * np.sqrt(2) * spread, rel=0.25)


def test_few_settings_are_taken_as_they_are_and_two_pruners_have_no_interval():
    two = np.array([[1.0, 2.0, 3.0, 4.0], [2.0, 1.0, 3.0, 4.0]])
    found = mean_with_interval(orders(two, two[::-1].copy()))
    assert found["df"] == pytest.approx(3) and -1 <= found["low"] < found["mean"] < found["high"] <= 1
    assert np.isnan(mean_with_interval(orders(two[:, :2], two[:, :2]))["low"])
    perfect = mean_with_interval(orders(two, two))
    assert perfect["mean"] == perfect["low"] == perfect["high"] == 1 and perfect["p"] == 0
