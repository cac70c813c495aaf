"""Tables from elsewhere: percentages, text, missing names and seeds say what they said, or one clear sentence."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from topo.errors import InputError
from topo.questions import QUESTIONS, Evidence
from topo.results import example_results
from topo.results.collapsed import collapsed_networks
from topo.results.schema import tidy_results


def table() -> pd.DataFrame:
    return example_results(sparsities=(0.9,))


def issues(evidence: Evidence) -> set[tuple[str, str, int]]:
    return set(evidence.data_issues[["column", "what", "rows"]].itertuples(index=False, name=None))


def test_percentages_are_read_as_shares():
    given = table()
    percent = given.assign(**{c: 100 * given[c] for c in ("accuracy", "dense_accuracy", "accuracy_drop", "sparsity")})
    evidence = Evidence.of(percent)
    columns = ["accuracy", "dense_accuracy", "accuracy_drop", "sparsity"]
    np.testing.assert_allclose(evidence.networks[columns], given[columns])
    assert ("accuracy", "values are percentages", 18) in issues(evidence)
    assert Evidence.of(given).data_issues.empty


def test_networks_near_chance_are_found_among_percentages():
    given = table()
    given.loc[3, "accuracy"] = 0.12
    percent = given.assign(accuracy=100 * given["accuracy"], dense_accuracy=100 * given["dense_accuracy"])
    assert list(collapsed_networks(percent).index) == list(collapsed_networks(given).index) == [3]


def test_rows_that_say_too_little_are_left_out_and_listed():
    given = table()
    given["sparsity"] = given["sparsity"].mask(given["pruner"].isin(["dense", "snip"]))
    given["pruner"] = given["pruner"].mask(given["pruner"] == "erk")
    evidence = Evidence.of(given)
    assert {("sparsity", "rows have no sparsity", 2), ("pruner", "rows have no pruner", 2)} == issues(evidence)
    assert set(evidence.networks["pruner"]) == set(table()["pruner"]) - {"snip", "erk"}
    assert (evidence.networks.loc[evidence.networks["pruner"] == "dense", "sparsity"] == 0).all()
    with pytest.raises(InputError, match="no row of the results table has a pruner and a sparsity"):
        Evidence.of(given.assign(pruner=None))


@pytest.mark.parametrize("seeds", [None, [0] * 9 + [None] * 9, ["a"] * 9 + [None] * 9])
def test_unknown_seeds_are_seeds_of_their_own(seeds):
    evidence = Evidence.of(table().assign(seed=seeds))
    assert len(evidence.networks) == 18 and evidence.networks["seed"].nunique() == 2
    assert QUESTIONS["similar_networks"](evidence).verdict is not None


def test_infinite_accuracies_and_metrics_are_missing():
    given = table()
    given.loc[2, "accuracy"], given.loc[3, "spectral_gap"] = np.inf, -np.inf
    evidence = Evidence.of(given)
    assert evidence.networks[["accuracy", "spectral_gap"]].isna().sum().tolist() == [1, 1]
    assert ("accuracy", "values are infinite", 1) in issues(evidence)


def test_text_that_holds_numbers_is_numbers():
    given = table()
    text = given.assign(edges=given["edges"].astype(str), accuracy=given["accuracy"].astype(str))
    pd.testing.assert_frame_equal(tidy_results(text), tidy_results(given), check_dtype=False)


@pytest.mark.parametrize(
    ("broken", "sentence"),
    [
        (lambda t: t.assign(edges="many"), "column 'edges' of the results table holds values that are not numbers"),
        (lambda t: t.assign(edges=[[1]] * len(t)), "column 'edges' of the results table holds values that are not"),
        (lambda t: t.assign(edges=t["edges"] + 1j), "column 'edges' of the results table holds values that are not"),
        (lambda t: pd.concat([t, t["edges"]], axis=1), "several columns called 'edges'"),
    ],
)
def test_what_can_not_be_read_is_one_sentence(broken, sentence):
    with pytest.raises(InputError, match=sentence):
        Evidence.of(broken(table()))


def test_names_that_are_missing_are_unnamed():
    networks = tidy_results(table().assign(dataset=None))
    assert set(networks["dataset"]) == {"unnamed"}


def test_shares_that_cannot_be_are_missing_and_change_no_others():
    given = table()
    given.loc[[2, 3, 4], "accuracy"], given.loc[5, "sparsity"] = [-5, 1.7, 250], 2.0
    evidence = Evidence.of(given)
    assert {("accuracy", "values are no shares", 3), ("sparsity", "values are no shares", 1)} < issues(evidence)
    assert ("sparsity", "rows have no sparsity", 1) in issues(evidence)
    kept = table().drop(index=5)
    expected = kept["accuracy"].mask(kept.index.isin([2, 3, 4]))
    np.testing.assert_array_equal(evidence.networks["accuracy"], expected)
    assert evidence.networks["sparsity"].tolist() == kept["sparsity"].tolist()


def test_names_are_shown_on_one_line_and_told_apart():
    given = table()
    rows = len(given)
    given["model"] = ["net", " net ", "", "\x00", None, "a" * 10_000, "a" * 10_000 + "b"] + ["x\x1b[2J\ny"] * (rows - 7)
    networks = tidy_results(given)
    assert networks["model"].tolist()[:5] == ["net", "net", "unnamed", "unnamed", "unnamed"]
    assert networks["model"].iloc[-1] == "x y"
    long = networks["model"].iloc[5:7]
    assert long.nunique() == 2 and long.str.len().max() < 80 and long.str.startswith("aaaa").all()
    column = tidy_results(given.rename(columns={"edges": "e" * 10_000})).columns
    assert max(map(len, column)) < 80
