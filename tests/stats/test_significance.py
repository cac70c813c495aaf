from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from topo.errors import InputError
from topo.results import example_results
from topo.stats.significance import cluster_column, q_values, significant, with_q_values


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_is_benjamini_and_hochbergs_definition(p):
    p = np.array(p)
    m, ordered = len(p), np.sort(p)
    expected = [min(min(1, ordered[j] * m / (j + 1)) for j in range(m) if ordered[j] >= one) for one in p]
    assert q_values(p) == pytest.approx(expected)


def test_missing_values_do_not_count():
    q = q_values(np.array([[0.01, np.nan], [0.04, 0.03]]))
    assert q.shape == (2, 2) and np.isnan(q[0, 1])
    assert q[0, 0] == pytest.approx(0.03)
    assert np.isnan(q_values(np.array([np.nan]))).all()


def test_noise_gives_false_discoveries_at_the_stated_rate():
    generator = np.random.default_rng(0)
    any_found = np.mean([(q_values(generator.uniform(size=60)) < 0.05).any() for _ in range(600)])
    assert 0.03 <= any_found <= 0.07


def test_the_share_of_false_ones_is_held_where_effects_are_real():
    generator = np.random.default_rng(1)
    shares, power = [], []
    for _ in range(200):
        z = np.concatenate([generator.normal(0, 1, 80), generator.normal(4, 1, 20)])
        rejected = q_values(2 * stats.norm.sf(np.abs(z))) < 0.1
        shares.append(rejected[:80].sum() / max(rejected.sum(), 1))
        power.append(rejected[80:].mean())
    assert 0.06 <= np.mean(shares) <= 0.1  # 0.1 times the share of true nulls
    assert np.mean(power) > 0.8


def test_under_dependence_values_are_larger():
    p = np.linspace(0.001, 0.5, 20)
    assert (q_values(p, dependent=True) >= q_values(p)).all()


def test_bad_input():
    with pytest.raises(InputError, match="between 0 and 1"):
        q_values(np.array([1.5]))


def test_a_test_is_significant_below_the_false_discovery_rate_of_its_table():
    tests = with_q_values(pd.DataFrame({"p": [0.001, 0.02, 0.04, 0.3, np.nan], "q": 0.0}))
    assert significant(tests).tolist() == [True, True, False, False, False]
    assert significant(with_q_values(tests.iloc[[2]])).tolist() == [True]
    with pytest.raises(InputError, match="no column 'q'"):
        significant(pd.DataFrame({"p": [0.01]}))


def test_algorithms_are_the_sample_where_groups_hold_four_of_them():
    assert cluster_column(example_results(pruners=("er", "snip", "grasp", "synflow"))) == "pruner"
    assert cluster_column(example_results(pruners=("er", "snip", "grasp"), seeds=9)) is None
