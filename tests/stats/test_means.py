from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from topo.stats.means import mean_interval


@pytest.mark.parametrize("level", [0.8, 0.95])
def test_the_interval_is_that_of_the_t_test(level: float) -> None:
    values = pd.Series(np.random.default_rng(0).normal(3, 2, size=7))
    mean, low, high = mean_interval(values, level)
    assert mean == pytest.approx(values.mean())
    assert (low, high) == pytest.approx(tuple(stats.ttest_1samp(values, 0).confidence_interval(level)))


def test_it_covers_the_true_mean_as_often_as_it_says() -> None:
    drawn = np.random.default_rng(1).normal(5, 1, size=(2000, 4))
    ends = np.array([mean_interval(pd.Series(row))[1:] for row in drawn])
    assert np.mean((ends[:, 0] <= 5) & (ends[:, 1] >= 5)) == pytest.approx(0.95, abs=0.02)


def test_few_values() -> None:
    np.testing.assert_array_equal(mean_interval(pd.Series([2.0])), (2, np.nan, np.nan))
    np.testing.assert_array_equal(mean_interval(pd.Series([], dtype=float)), (np.nan, np.nan, np.nan))
    assert mean_interval(pd.Series([1.5, 1.5])) == (1.5, 1.5, 1.5)
