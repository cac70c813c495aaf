from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from topo.pruning.schedules import cubic, exponential


def test_the_density_falls_by_one_factor_and_ends_exactly():
    densities = exponential(0.02, 100)
    assert len(densities) == 100
    assert densities[-1] == 0.02
    ratios = [b / a for a, b in zip([1.0, *densities], densities)]
    assert ratios == pytest.approx([0.02**0.01] * 100)


def test_one_round_is_one_shot():
    assert exponential(0.3, 1) == [0.3]


@given(final=st.floats(0.001, 1), initial=st.floats(0.001, 1), t=st.floats(0, 1))
def test_the_cubic_schedule_is_that_of_the_sparsities(final, initial, t):
    s_f, s_i = 1 - final, 1 - initial
    assert 1 - cubic(final, t, initial) == pytest.approx(s_f + (s_i - s_f) * (1 - t) ** 3)


def test_the_cubic_schedule_from_the_dense_network():
    # s_t = s_f (1 - (1 - t)^3) by hand: half way 0.8 * 7/8 of the weights are gone.
    assert cubic(0.2, 0.5) == pytest.approx(1 - 0.8 * 7 / 8)
    assert (cubic(0.2, -1.0), cubic(0.2, 0.0), cubic(0.2, 1.0), cubic(0.2, 7.0)) == (1.0, 1.0, 0.2, 0.2)


def test_most_is_pruned_early():
    falls = [cubic(0.1, t / 10) - cubic(0.1, (t + 1) / 10) for t in range(10)]
    assert falls == sorted(falls, reverse=True)
    assert falls[-1] > 0
