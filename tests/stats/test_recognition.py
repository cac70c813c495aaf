from __future__ import annotations

from itertools import permutations, product

import numpy as np
import pandas as pd
import pytest

from tests.stats.grids import grid
from topo.errors import InputError
from topo.stats.recognition import (
    LEVEL,
    accuracy_found,
    family_accuracy_found,
    family_predictions,
    family_test,
    mean_over_algorithms,
    name_test,
    recall_of_algorithms,
)
from topo.stats.recognition_table import recognition_table


def told(names: list[list[int]], networks: int = 3) -> pd.DataFrame:
    """Predictions in which every algorithm of a fold is taken, in all its networks, for the one with that number."""
    rows = [
        (fold, f"a{actual}", f"a{taken}")
        for fold, of_fold in enumerate(names)
        for actual, taken in enumerate(of_fold)
        for _ in range(networks)
    ]
    return pd.DataFrame(rows, columns=["fold", "actual", "predicted"])


def test_names_are_permuted_in_every_fold_and_most_folds_decide():
    generator = np.random.default_rng(0)
    table = told([[0, 1, 2, 0, 4], [0, 1, 2, 3, 0], [1, 1, 0, 3, 4]], networks=4)
    mixed = generator.random(len(table)) < 0.3
    table.loc[mixed, "predicted"] = generator.permutation(table.loc[mixed, "predicted"])
    values = []
    for _, fold in table.groupby("fold"):
        names = sorted(set(fold["actual"]))

        def score(order: tuple[str, ...], fold: pd.DataFrame = fold, names: list[str] = names) -> float:
            named = dict(zip(names, order, strict=True))
            return np.mean([np.mean(fold["predicted"][fold["actual"] == n] == named[n]) for n in names])

        scores = [score(order) for order in permutations(names)]
        values.append(np.mean(np.array(scores) >= scores[0] - 1e-9))
    assert name_test(table) == pytest.approx(sorted(values)[1] * 3 / 2)


@pytest.mark.parametrize("folds", [2, 5])
@pytest.mark.parametrize("alike", [False, True])
def test_names_without_meaning_are_told_in_one_of_twenty_tables(folds: int, alike: bool):
    """Also where all folds agree, as the two halves of a cross-validation do."""
    generator = np.random.default_rng(1)
    found = []
    for seed in range(200):
        drawn = [list(generator.permutation(8)) for _ in range(folds)]
        found.append(name_test(told(drawn[:1] * folds if alike else drawn), permutations=199, seed=seed) <= 0.05)
    assert np.mean(found) <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 200)


@pytest.mark.parametrize(("kinds", "folds"), [(8, 2), (11, 5)])
def test_the_stated_accuracy_is_found_at_least_four_times_in_five(kinds: int, folds: int):
    generator = np.random.default_rng(2)
    accuracy = accuracy_found(kinds, folds)
    found = []
    for seed in range(200):
        right = generator.random((folds, kinds)) < accuracy
        other = (np.arange(kinds) + generator.integers(1, kinds, size=(folds, kinds))) % kinds
        table = told(np.where(right, np.arange(kinds), other).tolist(), networks=1)
        found.append(name_test(table, permutations=399, seed=seed) <= LEVEL)
    assert 0.73 < np.mean(found) < 0.99


def resembling(generator: np.random.Generator, families: dict[str, str], own: float, networks: int = 2) -> pd.DataFrame:
    """Shares of every other algorithm for networks, larger by `own` for those of the same family."""
    names = list(families)
    rows = []
    for name in names:
        base = generator.random(len(names)) + own * np.array([families[n] == families[name] for n in names])
        for _ in range(networks):
            shares = base + 0.1 * generator.random(len(names))
            shares[names.index(name)] = np.nan
            rows.append(dict(zip(names, shares / np.nansum(shares), strict=True)) | {"actual": name})
    return pd.DataFrame(rows).assign(fold=0, group="g")


SEVEN_AND_FOUR = {f"a{i}": "initial" if i < 7 else "dynamic" for i in range(11)}


def test_families_are_tested_by_all_other_assignments():
    families = dict(zip("abcdef", ["x", "x", "x", "x", "y", "y"], strict=True))
    shares = resembling(np.random.default_rng(0), families, 0.4)

    def score(assigned: dict[str, str]) -> float:
        right: dict[str, list[float]] = {"x": [], "y": []}
        for name in assigned:
            own = shares[shares["actual"] == name]
            means = {f: own[[n for n in assigned if assigned[n] == f and n != name]].mean(axis=1) for f in "xy"}
            told_right = means[assigned[name]] > means["y" if assigned[name] == "x" else "x"]
            right[assigned[name]].append(told_right.mean())
        return np.mean([np.mean(values) for values in right.values()])

    assignments = set(permutations(families.values()))
    scores = np.array([score(dict(zip("abcdef", order, strict=True))) for order in assignments])
    assert len(scores) == 15
    assert family_test(shares, families)[0] == pytest.approx(np.mean(scores >= score(families) - 1e-9))
    predicted = family_predictions(shares, families)
    assert mean_over_algorithms(recall_of_algorithms(predicted), families)["mean"] == pytest.approx(score(families))


def test_families_without_meaning_are_told_in_one_of_twenty_tables_and_planted_ones_always():
    generator = np.random.default_rng(3)
    p = [family_test(resembling(generator, SEVEN_AND_FOUR, 0.0), SEVEN_AND_FOUR)[0] for _ in range(80)]
    assert np.mean(np.array(p) <= 0.05) <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 80)
    assert family_test(resembling(generator, SEVEN_AND_FOUR, 2.0), SEVEN_AND_FOUR)[0] <= 1 / 330 + 1e-9


def test_the_accuracy_that_finds_a_family_is_that_of_whole_algorithms():
    generator = np.random.default_rng(4)
    accuracy = family_accuracy_found([7, 4], 0.75)
    right = generator.binomial([7, 4], accuracy, size=(4000, 2)) / [7, 4]
    assert np.mean(right.mean(axis=1) > 0.75) == pytest.approx(0.8, abs=0.03)
    assert np.isnan(family_accuracy_found([2, 2], 1.0)) and np.isnan(accuracy_found(3, 5))


@pytest.mark.parametrize("sizes", [(8,), (7, 4), (4, 3, 3)])
def test_intervals_over_few_algorithms_hold_the_mean_in_nineteen_of_twenty_tables(sizes: tuple[int, ...]):
    generator = np.random.default_rng(5)
    names = [f"f{k}a{i}" for k, size in enumerate(sizes) for i in range(size)]
    families = {name: name.split("a")[0] for name in names}
    held = []
    for _ in range(400):
        values = pd.Series(generator.beta(2, 1.5, size=len(names)), names)
        score = mean_over_algorithms(values, families if len(sizes) > 1 else None)
        held.append(score["low"] <= 2 / 3.5 <= score["high"])
    assert 0.92 < np.mean(held) < 0.985


def test_without_several_algorithms_of_each_family_there_is_no_interval():
    score = mean_over_algorithms(pd.Series({"a": 0.5, "b": 0.7, "c": 1.0}), {"a": "x", "b": "x", "c": "y"})
    assert score["mean"] == pytest.approx(0.8) and np.isnan([score["low"], score["high"], score["p"]]).all()


NAMES = tuple(f"p{i}" for i in range(10))


def marked(seed: int, *, own: float, family: float) -> pd.DataFrame:
    """Two marks, larger by `own` times a number of the algorithm and by `family` in one of two families."""
    table = grid(seed, pruners=NAMES, models=3, datasets=1, seeds=2)
    generator = np.random.default_rng(seed + 100)
    kind = {name: i % 2 for i, name in enumerate(NAMES)}
    table["family"] = table["pruner"].map(kind).map({0: "early", 1: "late"})
    for mark in ("mark", "other"):
        numbers = dict(zip(NAMES, generator.permutation(10) - 4.5, strict=True))
        table[mark] = own * table["pruner"].map(numbers) + family * table["pruner"].map(kind)
        table[mark] += 0.2 * generator.normal(size=len(table))
    return table


@pytest.mark.slow
def test_marks_of_algorithms_are_no_marks_of_their_families(monkeypatch):
    monkeypatch.setattr("topo.stats.predictors.TREES", 10)
    sets = {"density": ["blank"], "marks": ["mark", "other"]}
    of_algorithms, _ = recognition_table(marked(0, own=1.0, family=0.0), sets, by=["model"])
    of_families, _ = recognition_table(marked(0, own=0.5, family=9.0), sets, by=["model"])
    for scores, family_is_told in ((of_algorithms, False), (of_families, True)):
        rows = scores.set_index(["label", "features"])
        assert rows.loc[("pruner", "marks"), "p"] <= 0.01 and rows.loc[("pruner", "marks"), "gain_low"] > 0
        assert rows.loc[("pruner", "density"), "p"] > 0.05
        assert (rows.loc[("family", "marks"), "p"] <= 0.01) == family_is_told
        if not family_is_told:
            assert rows.loc[("family", "marks"), "p"] > 0.05


@pytest.mark.slow
def test_a_second_view_of_the_same_marks_is_no_gain(monkeypatch):
    """Two equally noisy columns of one mark: which of them tells more is chance."""
    monkeypatch.setattr("topo.stats.predictors.TREES", 5)
    clear = []
    for seed in range(16):
        table = marked(seed, own=1.0, family=0.0)
        noise = np.random.default_rng(seed).normal(size=(2, len(table)))
        table["other"] = table["mark"] + noise[0]
        table["mark"] = table["mark"] + noise[1]
        scores, _ = recognition_table(table, {"density": ["other"], "mark": ["mark"]}, by=["model"], labels=["pruner"])
        clear.append(scores["gain_low"].iloc[1] > 0)
    assert np.mean(clear) <= 0.15


def test_reasons_take_the_place_of_scores():
    table = grid(0, models=1, datasets=1).assign(family="one")
    scores, predictions = recognition_table(table, {"signal": ["signal"]}, by=["model"])
    assert "one model only" in scores["reason"][0] and "fewer than two families" in scores["reason"][1]
    assert not predictions and scores["balanced_accuracy"].isna().all()
    with pytest.raises(InputError, match="no column 'pruner'"):
        recognition_table(table.drop(columns="pruner"), {"signal": ["signal"]}, by=["model"])


def test_every_number_of_assignments_has_the_true_one_first():
    from topo.stats.recognition import _assignments

    for sizes in product((1, 2, 3), repeat=2):
        kind = np.repeat([0, 1], sizes)
        rows = _assignments(kind, 99, 0)
        assert (rows[0] == kind).all() and len(np.unique(rows, axis=0)) == len(rows)
        assert len(rows) == len(set(permutations(kind)))
    assert len(_assignments(np.repeat([0, 1, 2], 5), 99, 0)) == 100
