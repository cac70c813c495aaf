from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from topo.stats.resampling import KINDS, correlations, draw_counts

FROM_SCIPY = {"pearson": stats.pearsonr, "spearman": stats.spearmanr, "kendall": stats.kendalltau}
values = st.integers(-5, 5)


@pytest.mark.parametrize("kind", KINDS)
@given(rows=st.lists(st.tuples(values, values, values, st.integers(0, 3)), min_size=6, max_size=25))
def test_counts_are_the_same_as_repeated_rows(kind, rows):
    table = np.array(rows, dtype=float)
    x, y, counts = table[:, :2], table[:, 2], table[:, 3].astype(int)
    resampled = correlations(kind, x, y, np.stack([counts, np.ones(len(x), dtype=int)]))
    for drawn, row in ((np.repeat(np.arange(len(x)), counts), resampled[0]), (np.arange(len(x)), resampled[1])):
        for j in range(2):
            a, b = x[drawn, j], y[drawn]
            if len(a) < 2 or np.ptp(a) == 0 or np.ptp(b) == 0:
                assert np.isnan(row[j])
            else:
                assert row[j] == pytest.approx(FROM_SCIPY[kind](a, b).statistic, abs=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_tiny_and_huge_values_change_nothing(kind):
    generator = np.random.default_rng(1)
    x, y = generator.normal(size=(30, 1)), generator.normal(size=30)
    ones = np.ones((1, 30))
    expected = correlations(kind, x, y, ones)
    assert correlations(kind, 1e-9 * x + 1e-7, 1e12 * y, ones) == pytest.approx(expected, abs=1e-6)


def test_long_tables_are_cut_into_pieces(monkeypatch):
    generator = np.random.default_rng(0)
    x, y = generator.normal(size=(40, 3)), generator.normal(size=40)
    whole = np.concatenate(list(draw_counts(50, 40, np.random.default_rng(5))))
    expected = correlations("spearman", x, y, whole)
    monkeypatch.setattr("topo.stats.resampling.MOST_NUMBERS", 300)
    pieces = list(draw_counts(50, 40, np.random.default_rng(5)))
    assert len(pieces) > 1
    assert np.concatenate(pieces) == pytest.approx(whole)
    assert correlations("spearman", x, y, whole) == pytest.approx(expected)


def test_clusters_come_with_all_their_rows():
    clusters = np.array([0, 0, 1, 1, 1, 2])
    (counts,) = draw_counts(200, 6, np.random.default_rng(0), clusters=clusters)
    for c in range(3):
        assert (counts[:, clusters == c] == counts[:, clusters == c][:, :1]).all()
    assert (counts[:, [0, 2, 5]].sum(1) == 3).all()


def test_kendall_of_many_rows_has_a_number_and_no_resamples(monkeypatch):
    monkeypatch.setattr("topo.stats.resampling.MOST_PAIRED_ROWS", 10)
    monkeypatch.setattr("topo.stats.resampling.FEW_ROWS", 10)
    x, y = np.arange(20.0)[:, None], np.arange(20.0) % 7
    assert correlations("kendall", x, y, np.ones((1, 20)))[0, 0] == pytest.approx(
        stats.kendalltau(x[:, 0], y).statistic
    )
    assert np.isnan(correlations("kendall", x, y, np.full((3, 20), 2))).all()
