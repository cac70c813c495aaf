from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from topo.errors import InputError
from topo.stats.across_groups import mean_over_groups
from topo.stats.correlation import grouped_correlation


def table(seed: int, algorithms: int = 8, groups: int = 10, effect: float = 0.0, own: float = 1.0) -> pd.DataFrame:
    """The same algorithms in every group; `own` is what metric and accuracy have from the algorithm alone."""
    generator = np.random.default_rng(seed)
    base = generator.normal(size=(2, algorithms))
    rows = [(g, a) for g in range(groups) for a in range(algorithms)]
    frame = pd.DataFrame(rows, columns=["model", "pruner"])
    frame["metric"] = own * base[0, frame["pruner"]] + generator.normal(size=len(rows))
    frame["accuracy"] = own * base[1, frame["pruner"]] + effect * frame["metric"] + generator.normal(size=len(rows))
    return frame.assign(pruner=frame["pruner"].map("p{}".format))


def test_the_mean_is_that_of_the_groups():
    rows = table(0)
    rows.loc[rows.index[:3], "metric"] = np.nan
    each = grouped_correlation(rows, ["metric"], by=["model"], n_boot=0)
    means = mean_over_groups(rows, ["metric"], by=["model"])
    assert means["mean"][0] == pytest.approx(each["r"].mean())
    assert means[["k", "clusters"]].values.tolist() == [[10, 8]]


@pytest.mark.slow
def test_algorithms_that_recur_in_every_group_are_one_sample():
    # True correlation over algorithms is 0; the groups agree with each other because the algorithms recur.
    hits = [
        f["low"][0] <= 0 <= f["high"][0]
        for f in (mean_over_groups(table(s), ["metric"], by=["model"]) for s in range(60))
    ]
    assert np.mean(hits) > 0.8


def test_an_effect_of_the_metric_is_found():
    lows = [mean_over_groups(table(s, effect=2.0, own=0.3), ["metric"], by=["model"])["low"][0] for s in range(20)]
    assert np.mean(np.array(lows) > 0) > 0.9


def test_small_and_constant_groups_do_not_count():
    rows = table(1, groups=3)
    rows.loc[rows["model"] == 0, "metric"] = 1.0
    rows = rows.drop(rows.index[(rows["model"] == 1)][4:])
    assert mean_over_groups(rows, ["metric"], by=["model"])["k"].tolist() == [1]
    none = mean_over_groups(rows[rows["model"] == 0], ["metric"], by=["model"])
    assert none["k"][0] == 0 and none[["mean", "low", "high"]].isna().all(axis=None)


def test_missing_column():
    with pytest.raises(InputError, match="no column 'size'"):
        mean_over_groups(table(0), ["size"], by=["model"])
