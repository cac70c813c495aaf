"""What the questions say of small tables: no number that is not there, no count that is not theirs, no false claim."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest

from topo.questions import QUESTIONS, Answer, Evidence
from topo.questions.multipartite_or_bipartite import _agreement, _held_out_counts
from topo.questions.pruner_from_mask import _recognised
from topo.results import example_results


def small(
    models: int = 2,
    pruners: tuple[str, ...] = ("snip", "magnitude"),
    seeds: int = 2,
    sparsities: tuple[float, ...] = (0.9,),
) -> pd.DataFrame:
    """One dataset, few models and pruners."""
    table = example_results(seeds=seeds, sparsities=sparsities)
    table = table[table["pruner"].isin(["dense", *pruners])]
    generator = np.random.default_rng(0)
    parts = [
        table.assign(model=f"net{i}", accuracy=table["accuracy"] * (1 - i / 20) + generator.normal(0, 0.01, len(table)))
        for i in range(models)
    ]
    return pd.concat(parts, ignore_index=True)


TABLES = {
    "2 models, 2 pruners": small(),
    "4 networks": small(models=1),
    "4 networks of one seed": small(seeds=1),
    "one pruner": small(models=1, pruners=("snip",)),
    "3 pruners": small(models=1, pruners=("snip", "magnitude", "erk"), seeds=3, sparsities=(0.8, 0.9)),
}


def texts(answer: Answer) -> list[str]:
    shown = [answer.verdict.sentence] if answer.verdict else []
    return [
        *(answer.reason, *answer.sentences, answer.caption, answer.method, *answer.caveats, *shown),
        *answer.titles.values(),
    ]


@pytest.fixture(scope="module", autouse=True)
def few_trees():
    """Forests that are quick to grow: what is looked at is what is said, not what is found."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("topo.stats.predictors.TREES", 4)
        patch.setattr("topo.stats.rank_score.TREES", 20)
        yield


HAVE_VERDICTS = ("pruner_from_mask", "similar_networks", "multipartite_or_bipartite", "before_training")
STARTS = {"yes": "Yes", "no": "No", "open": "Can not tell"}


def fits_the_page(answer: Answer) -> bool:
    """Whether verdict, titles and table are what a page shows; an answer without numbers has none of them."""
    if answer.reason or answer.verdict is None:
        return answer.verdict is None and not answer.titles and answer.summary is None
    sentence = answer.verdict.sentence
    assert sentence.startswith(STARTS[answer.verdict.said]) and len(sentence) <= 300, sentence
    assert set(answer.titles) == set(answer.figures), (set(answer.titles), set(answer.figures))
    assert answer.summary.shape[0] <= 15 and answer.summary.shape[1] <= 8
    assert set(answer.summary.columns) <= set(answer.columns)
    return True


@pytest.mark.slow
@pytest.mark.parametrize("name", TABLES)
def test_no_text_holds_a_missing_number_or_a_fixed_count(name: str):
    for question in QUESTIONS:
        answer = QUESTIONS[question](Evidence.of(TABLES[name]))
        if question in HAVE_VERDICTS:
            assert fits_the_page(answer) and (answer.reason or answer.verdict), question
        for text in texts(answer):
            assert not re.search(r"\bnan\b|\binf\b", text), (question, text)
            assert "two datasets and four models" not in text
            assert not re.search(r"\b1 (groups|rows|networks|datasets|models|algorithms|columns)\b", text), text


def test_the_fewness_of_groups_is_counted():
    assert _held_out_counts(Evidence.of(TABLES["3 pruners"]).sparse) == "3 algorithms"
    assert _held_out_counts(Evidence.of(TABLES["2 models, 2 pruners"]).sparse) == "2 models and 2 algorithms"
    assert "not compared" in _agreement(np.nan) and _agreement(0.5).endswith("W of the folds 0.50")


@pytest.mark.parametrize("name", ["2 models, 2 pruners", "4 networks"])
def test_what_few_networks_can_not_show_is_not_promised(name: str):
    for question in ("pruner_from_mask", "similar_networks"):
        verdict = QUESTIONS[question](Evidence.of(TABLES[name])).verdict
        assert verdict.said == "open" and "show nothing" in verdict.sentence and "four times" not in verdict.sentence


def test_two_algorithms_are_not_called_most_and_least_similar():
    sentence = QUESTIONS["similar_networks"](Evidence.of(TABLES["2 models, 2 pruners"])).sentences[1]
    assert "ost similar" not in sentence and sentence.startswith("magnitude and snip lie 0.")


@pytest.mark.parametrize(
    ("shares", "sentence"),
    [
        ([[1.0, 0.0], [0.0, 1.0]], "Every algorithm is recognised in all of its networks."),
        ([[0.5, 0.5], [0.5, 0.5]], "Every algorithm is recognised equally often (50%); most often b is taken for a"),
        ([[1.0, 0.0], [0.25, 0.75]], "Recognised best: a (100%); worst: b (75%); most often b is taken for a (25%)."),
        (
            [[0.9, 0.1, 0.0], [0.05, 0.95, 0.0], [0.55, 0.35, 0.1]],
            "Recognised best: b and a (90% to 95%); worst: c (10%); most often c is taken for a (55%).",
        ),
        (
            [[0.5, 0.5, 0.0], [0.46, 0.54, 0.0], [0.0, 0.0, 1.0]],
            "Recognised best: c (100%); worst: a and b (50% to 54%); most often a is taken for b (50%) and b for a (46",
        ),
        (np.eye(5) * 0.5 + np.roll(np.eye(5), 1, axis=0) * 0.5, "Every algorithm is recognised equally often (50%); "),
    ],
)
def test_ties_of_recognition_are_said_plainly(shares: list, sentence: str):
    names = list("abcde")[: len(shares)]
    text = _recognised(pd.DataFrame(shares, index=names, columns=names).rename_axis("made by"), "algorithm")
    assert text.startswith(sentence) and (len(names) < 5 or text.endswith(" and 2 more nearly as often."))
