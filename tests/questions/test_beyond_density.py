from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tests.published_tables import write
from tests.questions.networks import INITIAL, planted
from topo.questions import QUESTIONS, Evidence
from topo.questions.confounding import Steps
from topo.stats.permutation import permutation_correlation

ask = QUESTIONS["beyond_density"]


def controlled(table: pd.DataFrame) -> pd.DataFrame:
    controlled_table = ask(Evidence.of(table)).tables["controlled"]
    return controlled_table[controlled_table["scope"] == "initial"].set_index(["control", "metric"])


def test_a_planted_confounder_is_exposed():
    controlled_table = controlled(planted(size=1.5, families=(INITIAL,)))
    assert controlled_table.loc[("alone", "motifs_norm"), "low"] > 0.3
    given = controlled_table.loc[("given edges", "motifs_norm")]
    assert given["p"] > 0.05 and given["low"] < 0 < given["high"]
    assert controlled_table.loc[("given edges", "edges"), "reason"] == "the covariates determine the metric"


def test_a_planted_effect_stays():
    answer = ask(Evidence.of(planted(effect=-1.0, size=1.0, families=(INITIAL,))))
    controlled_table = answer.tables["controlled"].set_index(["control", "metric"])
    assert controlled_table.loc[("given edges", "sink_nodes_norm"), "high"] < -0.3
    assert answer.verdict.said == "yes" and "most of all sink nodes (norm.) (mean ρ -0." in answer.verdict.sentence
    assert "the mean ρ of sink nodes (norm.) is -0." in answer.sentences[0]


@pytest.mark.slow
def test_confounding_is_exposed_at_the_stated_rate():
    hits = []
    for seed in range(40):
        networks = Evidence.of(planted(seed, size=1.5, families=(INITIAL,))).sparse
        correlations = Steps(networks, ["motifs_norm"], 5, seed).correlations().set_index("control")
        hits.append([correlations.loc[control, "p"] < 0.05 for control in ("alone", "given edges")])
    alone, given = np.mean(hits, axis=0)
    assert alone > 0.9 and given <= 0.1


def test_what_the_logarithm_of_edges_does_to_single_networks_is_not_left_to_a_metric():
    """Seeds differ widely in edges, so that the logarithm of their mean is not the mean of their logarithms."""
    generator = np.random.default_rng(2)
    table = planted(families=(INITIAL,))
    spread = 1.5 * generator.random(len(INITIAL))[pd.factorize(table["pruner"])[0]]
    log = 10 + spread * (table["seed"] - 1) + generator.normal(size=len(table)) * 0.3
    noise = generator.normal(size=(2, len(table))) * 0.02
    table = table.assign(edges=np.exp(log), accuracy=0.5 + 0.01 * (log + noise[0]), k_core_norm=log + noise[1])
    p = Steps(Evidence.of(table).sparse, ["k_core_norm"], 5, 0).correlations().set_index("control")["p"]
    assert p["alone"] < 0.001 and p["given edges"] > 0.05
    means = table.groupby(["model", "sparsity", "pruner"])[["edges", "accuracy", "k_core_norm"]].mean()
    means = np.log(means[["edges"]]).join(means[["accuracy", "k_core_norm"]]).reset_index().assign(dataset="digits")
    of_means = permutation_correlation(means, ["k_core_norm"], given=["edges"], kind="pearson")
    assert of_means["p"].iloc[0] < 0.01


def test_the_recipe_of_a_family_shows_in_its_weights():
    answer = ask(Evidence.of(planted(recipe=3.0)))
    weights = answer.tables["weights"].set_index(["model", "family"])
    assert weights.loc[("all", "dynamic"), "ratio"] == pytest.approx(np.exp(-1.5), rel=0.15)
    assert weights.loc[("all", "initial"), "ratio"] == 1
    assert "dynamic networks have 0." in answer.sentences[1] and "strength" in answer.sentences[1]


def test_redundant_columns_are_grouped_with_their_formula():
    table = planted().assign(one_hop_norm=lambda t: (1 + t["edges"] / t["nodes"]) / t["edges"])
    redundant = ask(Evidence.of(table)).tables["redundant"].set_index("metric")
    assert redundant.loc["one_hop_norm", "formula"] == "(1 + E/N)/E"
    assert redundant.loc["one_hop_norm", "group"] == redundant.loc["edges", "group"] == 1
    assert redundant.loc["k_core_norm", "size"] == 1


def test_edges_of_algorithms_that_differ_by_a_known_factor():
    table = planted(families=(INITIAL,))
    table["edges"] = 1000.0 * (1 + 2 * (table["pruner"] == "snip")) + table["seed"]
    answer = ask(Evidence.of(table))
    assert answer.tables["edge_spread"]["ratio"].round(2).unique().tolist() == [3.0]
    assert (answer.tables["edge_spread"]["most_pruner"] == "snip").all()
    assert "a median 3.0 times those of the one with the fewest (at most 3.0)" in answer.sentences[1]


@pytest.mark.slow
def test_layers_show_what_ramanujan_metrics_follow(tmp_path):
    evidence = Evidence.open(published=write(tmp_path / "t"))
    layers = evidence.layers.assign(delta_r=lambda t: t["layer_density"] ** 2)
    answer = ask(Evidence(evidence.name, evidence.networks, layers), min_rows=4)
    correlations = answer.tables["ramanujan_and_density"].set_index(["dataset", "model", "metric"])["r"]
    assert correlations["all", "all", "delta_r"] == pytest.approx(1)
    assert "has ρ +1.00 with their density (+1.00 to +1.00 in the networks of single algorithms)" in answer.sentences[2]
    assert "ramanujan_and_accuracy" in answer.tables
    assert len(answer.figures["confounders"].axes) == 3


@pytest.mark.parametrize(
    "table, words",
    [
        (planted().drop(columns="edges"), "column 'edges'"),
        (planted().assign(edges=np.nan), "column 'edges'"),
        (planted().assign(accuracy=np.nan), "no sparse network"),
        (planted().groupby(["model", "sparsity"]).head(3), "no group has enough"),
        (planted().assign(edges=5, sink_nodes_norm=0, motifs_norm=1, strength_norm=2, k_core_norm=3), "no metric"),
    ],
)
def test_evidence_that_cannot_answer_gives_a_reason(table, words):
    answer = ask(Evidence.of(table))
    assert words in answer.reason and not answer.sentences


def test_without_strength_or_density_there_are_fewer_controls():
    answer = ask(Evidence.of(planted(families=(INITIAL,)).drop(columns="strength_norm")))
    assert answer.tables["controlled"]["control"].unique().tolist() == ["alone", "given edges"]
    assert "weights" not in answer.tables and len(answer.figures["confounders"].axes) == 1
    assert "family" not in answer.sentences[1] and "families" not in answer.sentences[1]


def test_z_scores_against_random_masks_are_the_last_step_and_decide():
    table = planted(families=(INITIAL,))
    wiring = np.random.default_rng(0).normal(size=len(table))
    noise = np.random.default_rng(1).normal(size=len(table))
    table = table.assign(k_core_z=wiring, motifs_z=noise, accuracy=table["accuracy"] + 0.06 * wiring)
    answer = ask(Evidence.of(table))
    rows = answer.tables["controlled"].set_index(["control", "metric"]).loc["given layer densities (z)"]
    assert sorted(rows.index) == ["k_core_norm", "motifs_norm"] and (rows["q"] < 0.05).tolist().count(True) == 1
    assert answer.verdict.said == "yes" and answer.verdict.sentence.startswith(
        "Yes: as z-scores against random masks with the same layer densities, 1 of 2 metrics clearly moves with"
    )
    assert "k core (norm.)" in answer.verdict.sentence and len(answer.summary.columns) <= 8
    # Without an effect of wiring the question stays open, and says what would have been found.
    blank = ask(Evidence.of(table.assign(accuracy=planted(families=(INITIAL,))["accuracy"])))
    assert blank.verdict.said == "open" and "would have been found with 80% probability" in blank.verdict.sentence
    assert len(blank.verdict.sentence) <= 300
