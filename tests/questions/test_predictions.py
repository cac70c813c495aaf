from __future__ import annotations

import re
from functools import partial

import numpy as np
import pandas as pd
import pytest

from tests.stats.grids import grid
from topo.questions import QUESTIONS, Evidence
from topo.questions.answer import Answer
from topo.questions.grouping import limit_networks

# The answers that most tests look at take a while.
pytestmark = pytest.mark.slow

NAMES = ("multipartite_or_bipartite", "ranking_pruners", "pruner_from_mask", "before_training")


def evidence(seed: int = 0, *, effect: float = 0.05, **settings) -> pd.DataFrame:
    """A table with metrics of three encodings; the multipartite sink nodes move the drop, the layers' are noise."""
    table = grid(seed, noise=0.01, **{"models": 3, "seeds": 1, **settings})
    generator = np.random.default_rng(seed + 7)
    own = table["pruner"].map({p: i / 3 for i, p in enumerate(table["pruner"].unique())})
    table["sink_nodes_norm"] = own + 0.1 * table["signal"]
    table["drop"] += effect * table["sink_nodes_norm"] + 0.5 * (table["sparsity"] - 0.8)
    for name in ("strength_norm", "rolled__k_core_mean", "rolled__strength_mean", "rolled_channel__cut_nodes_mean"):
        table[name] = generator.uniform(size=len(table))
    table["edges"] = generator.integers(100, 200, len(table))
    table["rolled__density_mean"] = generator.uniform(size=len(table))
    return table.assign(accuracy=0.9 - table["drop"], dense_accuracy=0.9).drop(columns="drop")


def ask(name: str, table: pd.DataFrame, **settings):
    return QUESTIONS[name](Evidence.of(table), **settings)


@pytest.fixture(scope="module", autouse=True)
def few_trees():
    """Forests that are quick to grow; what is planted is plain enough for four trees."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("topo.stats.predictors.TREES", 4)
        yield


class Answers(dict):
    """Answers to the same evidence, each asked for when a test first needs it."""

    def __missing__(self, name: str) -> Answer:
        self[name] = ask(name, evidence())
        return self[name]


@pytest.fixture(scope="module")
def answers() -> Answers:
    return Answers()


@pytest.fixture(scope="module")
def large_table() -> pd.DataFrame:
    pruners = tuple(f"p{i}" for i in range(10))
    table = evidence(models=3, datasets=2, seeds=84, pruners=("snip", "er", "erk", *pruners[3:]))
    assert len(table) >= 10_000
    return table.drop(columns=["rolled__k_core_mean", "rolled_channel__cut_nodes_mean"])


@pytest.mark.parametrize("name", NAMES)
def test_an_answer_has_all_its_parts(name, answers, tmp_path):
    answer = answers[name]
    assert answer.reason == "" and len(answer.sentences) == 3
    assert not any("nan" in s for s in answer.sentences), answer.sentences
    assert len(answer.verdict.sentence) <= 300
    assert answer.caption and answer.method and answer.caveats
    files = answer.save(tmp_path)
    shown = answer.summary is not None
    assert len(files) == 3 * len(answer.figures) + len(answer.tables) + shown and all(f.stat().st_size for f in files)


def test_the_encoding_that_carries_the_effect_wins_pooled_and_within(answers):
    explained = answers["multipartite_or_bipartite"].tables["explained"]
    of = explained[explained["target"] == "drop"].set_index(["scope", "features"])["adjusted_r2"]
    for scope in ("pooled", "within groups"):
        assert of[scope, "multipartite"] > of[scope, "rolled"] + 0.3
    within = (
        answers["multipartite_or_bipartite"]
        .tables["held_out"]
        .query("scope == 'within groups' and held_out == 'model'")
    )
    best = within[within["model"] == "ridge"].set_index("features")["r2"]
    assert best.idxmax().startswith("multipartite") and best["rolled"] < 0.1
    importance = answers["multipartite_or_bipartite"].tables["importance_of_groups"]
    assert importance["name"].iloc[0] == "sink nodes (norm.)"
    assert "multipartite metrics explain an adjusted R²" in answers["multipartite_or_bipartite"].sentences[0]


def test_baselines_are_in_every_table(answers):
    held = answers["multipartite_or_bipartite"].tables["held_out"]
    cells = {"setting", "family_setting", "algorithm_model", "algorithm_model_sparsity"}
    assert {"mean", "sparsity", "density", "edges_density", *cells} <= set(held["features"])
    assert {"random", "algorithm", "family", "density"} <= set(answers["ranking_pruners"].tables["ranking"]["features"])
    assert "density" in set(answers["pruner_from_mask"].tables["scores"]["features"])
    cells.remove("family_setting")  # all of them are of one family
    assert {"mean", "sparsity", "density", *cells} <= set(answers["before_training"].tables["scores"]["features"])


def test_the_planted_mark_names_the_algorithm_and_ranks_it(answers):
    scores = answers["pruner_from_mask"].tables["scores"]
    best = scores[scores["label"] == "pruner"].groupby("features")["balanced_accuracy"].max()
    assert best["multipartite_untrained"] > 0.5 and best["density"] < 0.35
    ranking = answers["ranking_pruners"].tables["ranking"].query("scope == 'all families'")
    tau = ranking.set_index(["held_out", "features"])["tau"]
    assert tau["model", "multipartite_untrained"] > 0.7 and abs(tau["model", "density"]) < 0.4


def test_before_training_reads_no_trained_weight_and_only_masks_of_before(answers):
    """Putting garbage into what training makes, or into networks pruned during training, changes nothing."""
    table = evidence()
    table[["strength_norm", "rolled__strength_mean"]] = 1e6 * np.random.default_rng(0).normal(size=(len(table), 2))
    late = table["family"] != "initial"
    table.loc[late, "sink_nodes_norm"] = -5
    again = ask("before_training", table)
    pd.testing.assert_frame_equal(again.tables["scores"], answers["before_training"].tables["scores"])


def test_pure_noise_predicts_nothing():
    table = evidence(3, effect=0.0)
    scores = ask("before_training", table).tables["scores"]
    forest = scores[scores["model"] == "ridge"].set_index(["held_out", "features"])["mae"]
    assert forest["model", "mask"] > 0.95 * forest["model", "sparsity"]


def changed(**columns) -> pd.DataFrame:
    return evidence().assign(**columns)


METRICS = [c for c in evidence() if c.endswith(("_norm", "_mean")) or c == "edges"]
BAD = {
    "no accuracy": changed(accuracy=np.nan),
    "no metrics": evidence().drop(columns=METRICS),
    "constant metrics": changed(**dict.fromkeys(METRICS, 1.0)),
    "missing metrics": changed(**dict.fromkeys(METRICS, np.nan)),
    "one of each": evidence(models=1, datasets=1, seeds=1, pruners=("er",)),
    "two rows": evidence().iloc[:2],
    "constant accuracy": changed(accuracy=0.5),
}


@pytest.mark.parametrize("case", BAD)
@pytest.mark.parametrize("name", NAMES)
def test_evidence_that_cannot_answer_says_why(name, case):
    answer = ask(name, BAD[case])
    if case == "constant accuracy" and name == "pruner_from_mask":
        assert answer.reason == ""  # which needs no accuracy to differ
    else:
        assert len(answer.reason) > 20 and answer.reason.endswith("."), answer.sentences
        assert not answer.sentences and not answer.figures


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "table",
    [evidence(models=1, datasets=1, seeds=2), evidence(datasets=1, pruners=("er", "erk", "snip"))],
    ids=["one model", "three algorithms"],
)
def test_small_studies_get_an_answer_or_a_reason(name, table):
    answer = ask(name, table)
    assert (len(answer.sentences) == 3) != bool(answer.reason)
    assert not any("nan" in s for s in answer.sentences), answer.sentences


@pytest.mark.parametrize("name", NAMES)
def test_of_large_tables_some_networks_are_drawn(name, large_table, monkeypatch):
    monkeypatch.setattr(f"topo.questions.{name}.limit_networks", partial(limit_networks, most=80))
    answer = ask(name, large_table)
    assert answer.reason == "" and re.search(r"Of [\d,]+ networks \d+ were used", answer.method)
