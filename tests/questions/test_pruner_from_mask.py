from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest

from tests.questions.networks import planted
from topo.questions import QUESTIONS, Answer, Evidence
from topo.questions.pruner_from_mask import _verdict

# Forests are grown for every set and split.
pytestmark = pytest.mark.slow

ask = QUESTIONS["pruner_from_mask"]
PRUNERS = tuple(f"p{i}" for i in range(8))


@pytest.fixture(scope="module", autouse=True)
def few_trees():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("topo.stats.predictors.TREES", 4)
        yield


def networks(seed: int = 0, *, mark: float = 3.0, names_mean_something: bool = True) -> pd.DataFrame:
    """Eight algorithms of two families, each with its own level of a metric of three encodings."""
    table = planted(seed, families=(PRUNERS[:4], PRUNERS[4:]), models=("a", "b", "c"))
    table = table[(table["seed"] < 2) & (table["sparsity"] < 0.95)].reset_index(drop=True)
    generator = np.random.default_rng(seed)
    table["family"] = np.where(table["pruner"].isin(PRUNERS[:4]), "initial", "dynamic")
    known = table["pruner"]
    if not names_mean_something:
        orders = {model: dict(zip(PRUNERS, generator.permutation(PRUNERS), strict=True)) for model in ("a", "b", "c")}
        known = pd.Series([orders[m][p] for m, p in zip(table["model"], known, strict=True)])
    for metric in ("sink_nodes_norm", "unrolled__k_core_mean", "my_own__k_core_mean"):
        level = dict(zip(PRUNERS, generator.permutation(8), strict=True))
        table[metric] = mark * known.map(level) + generator.normal(size=len(table))
    table["rolled__density_mean"] = generator.uniform(size=len(table))
    return table.drop(columns=["k_core_norm", "motifs_norm"])


@pytest.fixture(scope="module")
def told() -> Answer:
    return ask(Evidence.of(networks()))


def test_an_encoding_that_no_file_names_takes_part(told):
    scores = told.tables["scores"]
    assert {"unrolled", "my_own"} <= set(scores["features"])
    assert scores.set_index("features").loc["topology", "columns"].iloc[0] == 3


def test_wiring_alone_stands_beside_layer_density_where_a_study_has_controls():
    table = networks()
    table["sink_nodes_z"] = table["sink_nodes_norm"]
    answer = ask(Evidence.of(table))
    assert "wiring" in set(answer.tables["scores"]["features"]) and "wiring alone" in answer.verdict.sentence
    assert any("z-scores" in text for text in answer.summary["read from"])
    table.loc[table["model"] == "a", "sink_nodes_z"] = np.nan
    assert "wiring" not in set(ask(Evidence.of(table)).tables["scores"]["features"])


def test_a_table_of_one_layer_encoding_answers():
    table = networks().drop(
        columns=["sink_nodes_norm", "my_own__k_core_mean", "nodes", "edges", "rolled__density_mean"]
    )
    answer = ask(Evidence.of(table))
    assert answer.verdict.said == "yes" and "unrolled" in set(answer.tables["scores"]["features"])


def test_a_mark_of_every_algorithm_names_it_beyond_layer_density_and_not_the_family_of_another(told):
    answer = told
    assert answer.verdict.said == "yes" and "8 algorithms" in answer.verdict.sentence
    assert "layer densities alone" in answer.verdict.sentence
    assert "more than layer densities is open" not in answer.verdict.sentence
    scores = answer.tables["scores"]
    row = scores[(scores["label"] == "pruner") & (scores["features"] == "topology")].iloc[0]
    unclear = row.copy()
    unclear["gain_low"], unclear["gain_high"] = -0.1, 0.3
    assert ", not clearly less)" in _verdict(scores, unclear, None).sentence
    assert "family of an unseen algorithm is open" in answer.verdict.sentence
    assert "confusion_of_pruner" in answer.figures and "confusion_of_family" not in answer.figures
    assert any("family is not told" in caveat for caveat in answer.caveats)


def test_names_that_change_their_meaning_from_model_to_model_are_not_told():
    """Within a model everything tells the algorithm; from one model to another nothing does."""
    answer = ask(Evidence.of(networks(names_mean_something=False)))
    assert answer.verdict.said != "yes" and "confusion_of_pruner" not in answer.figures


def test_what_layer_density_tells_as_well_is_no_gain():
    table = networks(mark=0.0)
    table["rolled__density_mean"] = table["pruner"].map(dict(zip(PRUNERS, np.linspace(0, 1, 8), strict=True)))
    table["sink_nodes_norm"] = 2 * table["rolled__density_mean"] + 1
    answer = ask(Evidence.of(table))
    assert answer.verdict.said == "yes" and re.search("no clear diff|clearly more", answer.verdict.sentence)


def test_numbers_of_the_verdict_are_those_of_its_table(told):
    answer = told
    scores = answer.tables["scores"].set_index(["label", "view", "held_out", "features"])
    row = scores.loc[("pruner", "relative to its group", "model", "topology")]
    shares = answer.tables["confusion_of_pruner"].set_index("made by")
    assert row["balanced_accuracy"] == pytest.approx(np.diag(shares.loc[:, shares.index]).mean())
    assert f"for {row['balanced_accuracy']:.0%} of masks" in answer.verdict.sentence
    density = scores.loc[("pruner", "relative to its group", "model", "density"), "balanced_accuracy"]
    assert f"layer densities alone {density:.0%}" in answer.verdict.sentence
    assert row["gain"] == pytest.approx(row["balanced_accuracy"] - density)
