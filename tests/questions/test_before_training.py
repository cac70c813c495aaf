"""Question 7: what it may read, which encodings take part, and what is held out whole."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.stats.grids import grid
from topo.encoding import ENCODINGS, encoding
from topo.features import METRICS, column_names, metric
from topo.questions import Evidence
from topo.questions.before_training import SETTING, before_training, mask_sets
from topo.questions.grouping import networks_with_drop
from topo.questions.multipartite_wording import power_text
from topo.results.schema import metric_columns, reads_weights
from topo.stats.regression import held_out

LAYERS = ("rolled", "rolled_channel", "unrolled")
COLUMNS = [*column_names(), *(f"{e}__{c}" for e in LAYERS for c in column_names(layers=True))]


def measured(columns: list[str], seed: int = 0) -> pd.DataFrame:
    """Networks with random values in these columns."""
    table = grid(seed, models=2, datasets=2, seeds=1).drop(columns=["signal", "blank", "named"])
    values = np.random.default_rng(seed).uniform(1, 2, size=(len(table), len(columns)))
    return pd.concat([table, pd.DataFrame(values, columns=columns)], axis=1)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.sampled_from(COLUMNS), min_size=1, max_size=30, unique=True))
def test_no_set_holds_a_metric_that_reads_weights(columns):
    for name, chosen in mask_sets(measured(columns)).items():
        metrics = [c for c in chosen if c not in SETTING]
        assert not any(map(reads_weights, metrics)), name
        assert set(metrics) <= set(metric_columns(measured(columns)))


def test_what_reads_weights_is_what_the_registration_says(monkeypatch):
    monkeypatch.setattr(METRICS, "_entries", dict(METRICS._entries))
    metric("energy", category="paths", reads_weights=True)(lambda view: 0.0)
    metric("bottlenecks", category="paths")(lambda view: 0.0)
    sets = mask_sets(measured(["energy", "bottlenecks", "unrolled__energy_mean", "unrolled__bottlenecks_mean"]))
    assert sets["mask"] == ["bottlenecks", "unrolled__bottlenecks_mean", "sparsity"]


@pytest.mark.parametrize("head", ["rolled", "rolled_channel", "unrolled"])
def test_any_encoding_of_layers_answers(head):
    sets = mask_sets(measured([f"{head}__k_core_mean", f"{head}__strength_mean"]))
    assert sets["mask"] == [f"{head}__k_core_mean", "sparsity"]


def test_an_encoding_of_ones_own_takes_part(monkeypatch):
    monkeypatch.setattr(ENCODINGS, "_entries", dict(ENCODINGS._entries))
    encoding("fan-in", layers=True)(lambda dag, masks: [])
    sets = mask_sets(measured(["k_core", "rolled__k_core_mean", "fan_in__k_core_mean", "fan_in__strength_mean"]))
    assert sets["mask"] == ["k_core", "rolled__k_core_mean", "fan_in__k_core_mean", "sparsity"]


@pytest.mark.parametrize("by", ["dataset", "model", "pruner"])
def test_neither_a_copy_nor_a_seed_of_a_cell_is_on_two_sides_of_a_fold(by):
    """ER and ERK made the same masks: one of them is left out, and all seeds of a cell are held out together."""
    columns = ["edges", "nodes", "k_core", "sink_nodes", "source_nodes", "cut_nodes"]
    table = pd.concat([measured(columns, seed).assign(seed=seed) for seed in range(2)], ignore_index=True)
    erk, er = (table.index[table["pruner"] == name] for name in ("erk", "er"))
    table.loc[erk, columns] = table.loc[er, columns].to_numpy()
    table = table.assign(accuracy=0.9 - 0.1 * table["drop"].rank(pct=True), dense_accuracy=0.9).drop(columns="drop")
    networks, _ = networks_with_drop(Evidence.of(table))
    assert "erk" not in set(networks["pruner"]) and "er" in set(networks["pruner"])
    predicted = held_out(networks, ["k_core"], by=by, model="ridge")
    mask = networks[columns].round(12).astype(str).agg(" ".join, axis=1)
    sides = predicted["fold"].groupby(mask).nunique()
    cells = predicted["fold"].groupby([networks[c] for c in ("dataset", "model", "pruner", "sparsity")]).nunique()
    assert (sides == 1).all() and (cells == 1).all()


def test_many_algorithms_in_one_setting_are_compared_with_their_mean(monkeypatch):
    monkeypatch.setattr("topo.stats.predictors.TREES", 30)
    names = tuple(f"p{i:02d}" for i in range(12))
    table = grid(0, models=1, datasets=1, pruners=names, seeds=1).query("sparsity == 0.9").assign(family="initial")
    table["k_core"], table["accuracy"] = table["signal"], 0.9 - 0.05 * table["signal"].rank(pct=True)
    verdict = before_training(Evidence.of(table.drop(columns="drop"))).verdict
    assert verdict.said == "yes" and "mean of training rows to" in verdict.sentence


@pytest.mark.parametrize(
    ("found", "text"), [(0.02, "a difference of 2.0 points would"), (1.357, "7 algorithms and 8 pairs of dataset and")]
)
def test_a_difference_larger_than_the_whole_error_is_none_that_could_be_found(found, text):
    part = pd.DataFrame({"detectable": [found], "algorithms": 7, "pairs": 8})
    sentence = power_text(part, 0.06)
    assert text in sentence and ("too few to tell the two apart" in sentence) == (found > 0.06)
