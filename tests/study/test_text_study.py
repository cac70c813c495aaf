"""Studies of language models and of sequences."""

from __future__ import annotations

import math

import pytest

from topo.report.accuracy_table import perplexity_table
from topo.report.place import Place
from topo.results import collapsed_networks, metric_columns
from topo.stats.pruners import accuracy_summary

TEXT = {
    "datasets": [{"name": "text", "context": 8, "train": 40, "test": 20}],
    "models": [{"name": "gpt", "width": 8, "heads": 2, "layers": 1}],
    "pruners": ["snip", "l1-filter"],
    "sparsities": [0.5],
    "recipe": {"name": "text", "epochs": 1},
    "encodings": [],
}


@pytest.mark.slow
def test_a_study_of_a_language_model_has_perplexity_as_an_outcome(tiny, here):
    study = tiny(**TEXT)
    table = study.run(executor=here, progress=False)
    assert table["status"].tolist() == ["finished"] * 3, table["reason"].tolist()
    assert table["perplexity"].tolist() == pytest.approx([math.exp(loss) for loss in table["loss"]])
    assert set(table["classes"]) == {25} and set(table["test_samples"]) == {20 * 8}
    dataset = study.dataset(table["cell"].iloc[0])
    share = int(dataset.test.targets.flatten().bincount().max()) / (20 * 8)
    assert table["chance"].tolist() == [share] * 3
    assert "perplexity" not in metric_columns(table) and "chance" not in metric_columns(table)
    # A network that always answers with the commonest character has learned nothing, though it is right so often.
    guessing = table.assign(accuracy=[0.9, share, 0.8])
    assert collapsed_networks(guessing)["accuracy"].tolist() == [share]
    assert table.loc[table["pruner"] == "l1-filter", "compact_parameters"].iloc[0] > 0
    shown = perplexity_table(accuracy_summary(table, "perplexity"), Place())
    assert [row[2] for row in shown.rows] == ["dense", "l1-filter", "snip"]
    assert shown.rows[0][3] == f"{table['perplexity'].iloc[0]:.2f}"


@pytest.mark.slow
def test_a_study_of_sequences_takes_their_recipe(tiny, here):
    waves = {
        "datasets": [{"name": "waves", "steps": 4, "train": 40, "test": 40}],
        "models": ["rnn"],
        "pruners": ["wanda"],
    }
    study = tiny(**waves, sparsities=[0.5], recipe={"name": "sequences", "epochs": 1}, encodings=[])
    table = study.run(executor=here, progress=False)
    assert table["status"].tolist() == ["finished"] * 2, table["reason"].tolist()
    assert "perplexity" not in table and set(table["chance"]) == {0.25}
