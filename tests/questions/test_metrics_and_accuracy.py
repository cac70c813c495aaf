from __future__ import annotations

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest

from tests.questions.networks import DYNAMIC, INITIAL, planted
from tests.stats import test_permutation
from topo.questions import QUESTIONS, Evidence
from topo.results import example_results

ask = QUESTIONS["metrics_and_accuracy"]


def test_a_planted_effect_is_found_and_named():
    answer = ask(Evidence.of(planted(effect=-3.0)), n_boot=100)
    assert answer.sentences[0].startswith(
        "Among initial pruners the metric that moves most with accuracy is sink nodes (norm.) (mean ρ -0."
    )
    pooled = answer.tables["pooled"].set_index(["scope", "metric"])
    assert pooled.loc[("initial", "sink_nodes_norm"), "high"] < -0.4
    assert (pooled["q"] < 0.05).groupby("metric").sum().to_dict() == {
        "edges": 0, "k_core_norm": 0, "motifs_norm": 0, "sink_nodes_norm": 3, "strength_norm": 0
    }  # fmt: skip


@pytest.mark.slow
def test_independent_effects_of_algorithms_are_found_at_the_stated_rate_in_every_table(monkeypatch):
    for drawing in ("forest_plot", "pooled_heatmap"):
        monkeypatch.setattr(f"topo.questions.metrics_and_accuracy.{drawing}", lambda *_, **__: None)
    names = ["edges", "sink_nodes_norm", "motifs_norm", "strength_norm", "k_core_norm"]
    found, flips = [], 0
    for seed in range(16):
        table = test_permutation.drawn(seed, algorithms=7, models=2, sparsities=2, seeds=2, metrics=5).drop(
            columns="edges"
        )
        table = table.rename(columns={f"metric{i}": name for i, name in enumerate(names)})
        table = table.assign(pruner=[INITIAL[i] for i in table["pruner"]], sparsity=0.8 + table["sparsity"] / 10)
        table["accuracy"] = 0.5 + table["accuracy"] / 20
        answer = ask(Evidence.of(table), n_boot=0)
        found.append([answer.tables[name]["q"].min() < 0.05 for name in ("pooled", "by_grouping", "correlations")])
        found[-1].append(answer.verdict.said == "yes")
        flips += len(answer.tables["sign_flips"])
    # One table in twenty; of sixteen more than three with a chance of 1%.
    assert (np.sum(found, axis=0) <= 3).all() and flips == 0


def test_no_metric_is_named_as_moving_with_accuracy_where_none_clearly_does():
    answer = ask(Evidence.of(planted(1, families=(INITIAL,))), n_boot=0)
    assert (answer.tables["pooled"]["q"] >= 0.05).all()
    assert "chance alone may give" in answer.sentences[0] and answer.verdict.said == "open"
    assert answer.verdict.sentence.startswith(
        "Can not tell: none of 5 metrics clearly moves with accuracy among initial"
    )


def test_families_that_differ_by_recipe_are_told_apart_from_a_metric():
    table = ask(Evidence.of(planted(recipe=3.0)), n_boot=0).tables["pooled"]
    by_metric = table.set_index(["scope", "metric"])
    assert by_metric.loc[("all families", "strength_norm"), "high"] < -0.3
    for family in ("initial", "dynamic"):
        assert by_metric.loc[(family, "strength_norm"), "low"] < 0 < by_metric.loc[(family, "strength_norm"), "high"]


@pytest.mark.slow
def test_signs_that_flip_with_the_architecture():
    answer = ask(Evidence.of(planted(effect=4.0, flip=True)), n_boot=0)
    flips = answer.tables["sign_flips"].query("scope == 'initial' and grouping == 'architecture'")
    assert flips[["metric", "positive_in", "negative_in"]].values.tolist() == [["sink_nodes_norm", "conv6", "resnet20"]]
    assert "the sign flips with architecture for 1 metric (most for sink nodes (norm.)" in answer.sentences[2]
    straight = ask(Evidence.of(planted(effect=4.0)), n_boot=0)
    assert straight.tables["sign_flips"].empty and "no metric has clearly opposite signs" in straight.sentences[2]


def test_numbers_in_sentences_are_those_of_the_tables():
    answer = ask(Evidence.of(planted(effect=-1.0, size=0.5)), n_boot=0)
    best = answer.tables["pooled"].query("scope == 'initial'").set_index("metric")["r"]
    assert f"{best[best.abs().idxmax()]:+.2f}" in answer.sentences[0]
    assert len(answer.sentences) == 3 and not any("nan" in s for s in answer.sentences)


def test_kinds_of_correlation_stand_side_by_side():
    each = ask(Evidence.of(planted(effect=-1.0)), n_boot=50).tables["correlations"]
    assert (each[["r", "pearson", "kendall"]].corr().to_numpy() > 0.8).all()
    assert (each["low"] <= each["r"]).all() and (each["r"] <= each["high"]).all()


@pytest.mark.parametrize(
    "table, words",
    [
        (planted()[["dataset", "model", "pruner", "sparsity", "seed", "accuracy"]], "no metric of the whole network"),
        (planted().assign(edges=5, sink_nodes_norm=0, motifs_norm=1, strength_norm=2, k_core_norm=3), "no metric"),
        (planted().assign(accuracy=np.nan), "no sparse network has an accuracy"),
        (planted().assign(accuracy=0.5), "differ"),
        (planted().groupby(["model", "sparsity"]).head(3), "has 5 networks"),
        (planted().assign(pruner="dense"), "no sparse network"),
    ],
)
def test_evidence_that_cannot_answer_gives_a_reason(table, words):
    answer = ask(Evidence.of(table), n_boot=0)
    assert words in answer.reason and not answer.sentences and not answer.figures


def test_pruners_of_unknown_family_are_said_to_be_so():
    table = planted(effect=2.0, families=(INITIAL,)).assign(family="other")
    answer = ask(Evidence.of(table), n_boot=0)
    assert "among pruners of unknown family" in answer.verdict.sentence and "other pruners" not in answer.text()
    assert repr(answer) == f"<Answer to 'Metrics and accuracy': {answer.verdict.sentence}>"


def test_one_group_one_family_and_one_algorithm():
    one = planted(effect=2.0, families=(INITIAL,), models=("conv6",)).query("sparsity == 0.9")
    answer = ask(Evidence.of(one), n_boot=50)
    assert not answer.reason and "Only initial pruners" in answer.sentences[1]
    # One algorithm with many seeds: rows are the sample.
    alone = pd.concat([planted(s, effect=2.0, families=(DYNAMIC[:1],)).assign(seed=s) for s in range(12)])
    alone_answer = ask(Evidence.of(alone), n_boot=50)
    assert alone_answer.verdict.said == "open" and "fewer than 4 algorithms" in alone_answer.verdict.sentence
    assert (alone_answer.tables["correlations"]["clusters"] == alone_answer.tables["correlations"]["n"]).all()


@pytest.mark.slow
def test_figures_have_no_overlapping_text(tmp_path):
    for table in (planted(effect=1.0), example_results()):
        for drawn in ask(Evidence.of(table), n_boot=20).figures.values():
            drawn.draw_without_rendering()
            for ax in drawn.axes:
                labels = [t for t in ax.get_yticklabels() if t.get_text()]
                boxes = [t.get_window_extent() for t in labels]
                assert all(not a.overlaps(b) for a, b in pairwise(boxes))
                assert all(b.x0 >= 0 for b in boxes)
