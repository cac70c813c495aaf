from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from topo.errors import InputError
from topo.stats.correlation import grouped_correlation
from topo.stats.partial import partial_correlation


def confounded(seed: int, n: int = 150, effect: float = 0.0) -> pd.DataFrame:
    """Size drives a metric and the accuracy; the metric itself does `effect`."""
    generator = np.random.default_rng(seed)
    edges = generator.normal(size=n)
    metric = edges + 0.7 * generator.normal(size=n)
    accuracy = edges + effect * metric + 0.7 * generator.normal(size=n)
    return pd.DataFrame({"edges": edges, "metric": metric, "accuracy": accuracy})


def test_one_covariate_by_the_textbook_formula():
    table = confounded(0, 40)
    for kind, function in (("pearson", stats.pearsonr), ("spearman", stats.spearmanr)):
        r = {pair: function(table[pair[0]], table[pair[1]]).statistic for pair in
             (("metric", "accuracy"), ("metric", "edges"), ("accuracy", "edges"))}  # fmt: skip
        top = r["metric", "accuracy"] - r["metric", "edges"] * r["accuracy", "edges"]
        expected = top / np.sqrt((1 - r["metric", "edges"] ** 2) * (1 - r["accuracy", "edges"] ** 2))
        partial = partial_correlation(table, ["metric"], ["edges"], kind=kind, by=[])
        assert partial["r"][0] == pytest.approx(expected)
        t = expected * np.sqrt(37 / (1 - expected**2))
        assert partial["p"][0] == pytest.approx(2 * stats.t.sf(abs(t), 37))


def test_two_covariates_by_the_inverse_of_the_correlation_matrix():
    generator = np.random.default_rng(1)
    table = pd.DataFrame(
        generator.normal(size=(60, 4)) @ generator.normal(size=(4, 4)), columns=["metric", "accuracy", "a", "b"]
    )
    precision = np.linalg.inv(table.rank().corr())
    expected = -precision[0, 1] / np.sqrt(precision[0, 0] * precision[1, 1])
    assert partial_correlation(table, ["metric"], ["a", "b"], by=[])["r"][0] == pytest.approx(expected)


def test_without_covariates_it_is_the_plain_correlation():
    table = confounded(2)
    plain = grouped_correlation(table, ["metric"], by=[], n_boot=0)
    partial = partial_correlation(table, ["metric"], [], by=[])
    assert partial["r"][0] == pytest.approx(plain["r"][0]) and partial["p"][0] == pytest.approx(plain["p"][0])


def test_a_planted_confounder_is_exposed_and_a_planted_effect_stays():
    exposed = [partial_correlation(confounded(s), ["metric"], ["edges"], by=[]) for s in range(200)]
    plain = [partial_correlation(confounded(s), ["metric"], [], by=[])["p"][0] for s in range(50)]
    assert max(plain) < 1e-6
    assert 0.02 <= np.mean([f["p"][0] < 0.05 for f in exposed]) <= 0.1
    real = [partial_correlation(confounded(s, effect=0.7), ["metric"], ["edges"], by=[])["p"][0] for s in range(30)]
    assert np.mean(np.array(real) < 0.05) > 0.9


def test_metrics_that_the_covariates_determine_have_no_partial_correlation():
    table = confounded(3).assign(double=lambda t: t["edges"] ** 3, flat=1.0)
    partial = partial_correlation(table, ["edges", "double", "flat", "metric"], ["edges"], by=[]).set_index("metric")
    assert partial.loc[["edges", "double"], "reason"].tolist() == ["the covariates determine the metric"] * 2
    assert partial.loc["flat", "reason"] == "the metric is constant"
    assert partial["r"].notna().tolist() == [False, False, False, True]


def test_constant_and_repeated_covariates_change_nothing():
    table = confounded(4).assign(flat=2.0, again=lambda t: t["edges"])
    one = partial_correlation(table, ["metric"], ["edges"], by=[])["r"][0]
    assert partial_correlation(table, ["metric"], ["edges", "flat", "again"], by=[])["r"][0] == pytest.approx(one)


def test_rows_that_lack_a_value_are_left_out_and_few_rows_say_so():
    table = confounded(5, 8)
    table.loc[0, "edges"] = np.nan
    whole = partial_correlation(table.iloc[1:], ["metric"], ["edges"], by=[])
    assert partial_correlation(table, ["metric"], ["edges"], by=[])["r"][0] == pytest.approx(whole["r"][0])
    few = partial_correlation(table.iloc[:5], ["metric"], ["edges"], by=[])
    assert np.isnan(few["r"][0]) and few["reason"][0] == "fewer than 5 networks have all values"


@pytest.mark.parametrize("kwargs, words", [({"given": ["size"]}, "no column 'size'"), ({"kind": "kendall"}, "unknown")])
def test_bad_input(kwargs, words):
    with pytest.raises(InputError, match=words):
        partial_correlation(confounded(0), **({"metrics": ["metric"], "given": ["edges"], "by": []} | kwargs))
