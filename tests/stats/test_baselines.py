from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tests.stats.grids import grid
from topo.results.schema import GROUPS
from topo.stats.baselines import CELL_LABELS, CELLS, cell_sets, from_past_results, strongest


def by_hand(columns: list[str], train: pd.DataFrame, row: pd.Series, target: str) -> float:
    """Mean of the training rows that agree in the columns whose value they know, the last one left aside in turn."""
    kept = [c for c in columns if (train[c] == row[c]).any()]
    while True:
        same = train[np.logical_and.reduce([train[c] == row[c] for c in kept])] if kept else train
        if len(same):
            return same[target].mean()
        kept = kept[:-1]


@pytest.mark.parametrize("by", ["dataset", "model", "pruner", "seed"])
@pytest.mark.parametrize("name", CELLS)
def test_cells_are_means_of_the_training_rows_that_agree(by, name):
    table = grid(3, models=3, pruners=("snip", "er", "erk", "set"), seeds=2).sample(frac=0.5, random_state=1)
    predicted = from_past_results(table, list(CELLS[name]), by=by)
    for at in table.index:
        row, fold = table.loc[at], predicted.loc[at, "fold"]
        train = table[(predicted["fold"] != fold).to_numpy()]
        assert predicted.loc[at, "predicted"] == pytest.approx(by_hand(list(CELLS[name]), train, row, "drop"))


def test_within_groups_a_cell_is_the_relative_drop_elsewhere():
    table = grid(4, models=3, datasets=1)
    predicted = from_past_results(table, ["pruner"], by="model", within=GROUPS)["predicted"]
    relative = table["drop"] - table.groupby(list(GROUPS))["drop"].transform("mean")
    for model, pruner in (("m0", "snip"), ("m2", "er")):
        elsewhere = relative[(table["model"] != model) & (table["pruner"] == pruner)].mean()
        assert predicted[(table["model"] == model) & (table["pruner"] == pruner)].to_numpy() == pytest.approx(elsewhere)


def test_sets_that_come_to_the_same_are_there_once():
    one = grid(models=1, datasets=1).query("sparsity == 0.8")
    assert cell_sets(one) == {"family": ["family"], "algorithm": ["pruner"]}
    assert list(cell_sets(grid())) == list(CELLS) == list(CELL_LABELS)


@pytest.mark.parametrize(
    ("models", "sparsities", "names"),
    [
        (3, (0.8, 0.9), ["setting", "family_setting", "algorithm_model_sparsity"]),
        (3, (0.9,), ["setting", "family_setting", "algorithm_model"]),
        (1, (0.9,), ["mean", "family", "algorithm"]),
    ],
)
def test_the_strongest_baselines_know_all_that_a_table_tells_apart(models, sparsities, names):
    table = grid(0, models=models, datasets=1)
    table = table[table["sparsity"].isin(sparsities)]
    cells = cell_sets(table)
    assert strongest(cells) == names
    assert set(cells[names[-1]]) == {c for c in ("model", "dataset", "sparsity", "pruner") if len(set(table[c])) > 1}
