from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import balanced_accuracy_score

from tests.stats.grids import grid
from topo.errors import InputError
from topo.stats.classification import (
    CLASSIFIERS,
    classify_held_out,
    confusion_shares,
    relative_to_group,
)


def marked(seed: int = 0, shift: float = 0.0, **settings) -> pd.DataFrame:
    """Every pruner has its own level of `mark`; every model shifts it."""
    table = grid(seed, **settings)
    own = table["pruner"].map({p: 4.0 * i for i, p in enumerate(table["pruner"].unique())})
    return table.assign(mark=own + 0.3 * table["signal"] + shift * table["model"].str[1:].astype(int))


@pytest.mark.parametrize("model", CLASSIFIERS)
def test_a_planted_mark_is_classified_and_noise_is_not(model):
    table = marked()
    read = classify_held_out(table, ["mark"], label="pruner", by="model", model=model)
    assert balanced_accuracy_score(read["actual"], read["predicted"]) > 0.8
    blind = classify_held_out(table, ["blank"], label="pruner", by="model", model=model)
    assert balanced_accuracy_score(blind["actual"], blind["predicted"]) < 1 / 6 + 0.12


def test_noise_scores_one_over_the_number_of_kinds():
    values = []
    for seed in range(25):
        table = grid(seed, models=2)
        predictions = classify_held_out(table, ["signal", "blank"], label="pruner", by="model", model="logistic")
        values.append(balanced_accuracy_score(predictions["actual"], predictions["predicted"]))
    assert np.mean(values) == pytest.approx(1 / 6, abs=3 * np.std(values) / 5 + 0.005)


def test_no_group_is_on_both_sides():
    predictions = classify_held_out(marked(), ["mark"], label="family", by="dataset", model="logistic")
    assert len(predictions.drop_duplicates(["fold", "group"])) == 2 and len(predictions) == len(marked())


def test_a_confounder_between_models_is_exposed_and_removed_relative_to_the_group():
    """A mark that every model shifts by as much as two pruners lie apart is read in known models only."""
    table = marked(shift=8.0)
    seen = classify_held_out(table, ["mark"], label="pruner", by="seed")
    unseen = classify_held_out(table, ["mark"], label="pruner", by="model")
    relative = classify_held_out(relative_to_group(table, ["mark"]), ["mark"], label="pruner", by="model")
    accuracy = [balanced_accuracy_score(t["actual"], t["predicted"]) for t in (seen, unseen, relative)]
    assert accuracy[0] > accuracy[1] + 0.05 and accuracy[1] < 0.6 and accuracy[2] > 0.8


def test_relative_to_group_has_mean_zero_and_deviation_one_and_needs_no_label():
    table = marked().assign(still=3.0)
    relative = relative_to_group(table, ["mark", "still", "mark"])
    grouped = relative.groupby(["dataset", "model", "sparsity"])["mark"]
    np.testing.assert_allclose(grouped.mean(), 0, atol=1e-12)
    np.testing.assert_allclose(grouped.std(ddof=0), 1)
    assert (relative["still"] == 0).all()
    shuffled = table.assign(pruner=table["pruner"].sample(frac=1, random_state=0).to_numpy())
    np.testing.assert_array_equal(relative["mark"], relative_to_group(shuffled, ["mark"])["mark"])


def test_confusion_rows_add_up_and_its_diagonal_is_the_balanced_accuracy():
    predictions = classify_held_out(marked(), ["mark", "blank"], label="pruner", by="model")
    shares = confusion_shares(predictions)
    np.testing.assert_allclose(shares.sum(axis=1), 1)
    assert np.diag(shares).mean() == pytest.approx(
        balanced_accuracy_score(predictions["actual"], predictions["predicted"])
    )
    odd = confusion_shares(pd.DataFrame({"actual": ["a", "a"], "predicted": ["a", "b"]}))
    assert odd.loc["a"].tolist() == [0.5, 0.5] and odd.loc["b"].isna().all()


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda t: t.drop(columns="mark"), "no column 'mark'"),
        (lambda t: t.assign(pruner="er"), "one algorithm only"),
        (lambda t: t.assign(model="m"), "one model only"),
        (
            lambda t: t.assign(pruner=np.where(t["model"] == "m0", "a", "b")).query("model in ['m0', 'm1']"),
            "hold one algorithm",
        ),
    ],
)
def test_refusals(change, words):
    with pytest.raises(InputError, match=words):
        classify_held_out(change(marked()), ["mark"], label="pruner", by="model")


def test_unknown_classifier():
    with pytest.raises(InputError, match="unknown classifier"):
        classify_held_out(marked(), ["mark"], label="pruner", by="model", model="oracle")


def test_predictions_where_all_features_are_missing():
    predictions = classify_held_out(marked().assign(mark=np.nan), ["mark"], label="family", by="model")
    assert balanced_accuracy_score(predictions["actual"], predictions["predicted"]) == 0.5
