from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from topo.errors import InputError
from topo.results import example_results
from topo.results.accuracy_drop import TO_BEST, TO_DENSE, with_drop

ROWS = pd.DataFrame(
    {
        "dataset": "d",
        "model": "m",
        "pruner": ["dense", "snip", "er", "dense", "snip", "er"],
        "sparsity": [0, 0.9, 0.9, 0, 0.9, 0.9],
        "seed": [0, 0, 0, 1, 1, 1],
        "accuracy": [0.9, 0.8, 0.85, 0.8, 0.7, 0.6],
    }
)


def test_the_dense_network_of_the_same_seed_is_the_reference():
    table, meaning = with_drop(ROWS)
    assert meaning == TO_DENSE
    np.testing.assert_allclose(table["drop"], [0.1, 0.05, 0.1, 0.2])


def test_a_seed_without_a_dense_network_takes_the_mean_of_the_others():
    table, meaning = with_drop(ROWS.drop(index=3))
    assert meaning == TO_DENSE
    np.testing.assert_allclose(table["drop"], [0.1, 0.05, 0.2, 0.3])


def test_the_column_goes_before_the_rows():
    table, _ = with_drop(ROWS.assign(dense_accuracy=[np.nan, 1.0, np.nan, np.nan, 1.0, 1.0]))
    np.testing.assert_allclose(table["drop"], [0.2, 0.05, 0.3, 0.4])


def test_without_dense_accuracies_the_best_of_dataset_model_and_seed():
    table, meaning = with_drop(ROWS[ROWS["pruner"] != "dense"])
    assert meaning == TO_BEST
    np.testing.assert_allclose(table["drop"], [0.05, 0, 0, 0.1])


def test_one_definition_for_all_rows():
    """One model without a dense network turns the whole table to the proxy."""
    other = ROWS[ROWS["pruner"] != "dense"].assign(model="other")
    table, meaning = with_drop(pd.concat([ROWS, other]))
    assert meaning == TO_BEST
    assert (table.groupby(["model", "seed"])["drop"].min() == 0).all()


def test_bad_tables():
    with pytest.raises(InputError, match="no sparse network"):
        with_drop(ROWS[ROWS["pruner"] == "dense"])
    with pytest.raises(InputError, match="no sparse network"):
        with_drop(ROWS.assign(accuracy=np.nan))
    with pytest.raises(InputError, match=r"1 row repeats a network .* first d, m, er, 0.9, 1"):
        with_drop(pd.concat([ROWS, ROWS.tail(1)]))
    with pytest.raises(InputError, match="no column 'pruner'"):
        with_drop(ROWS.drop(columns="pruner"))
    twice = pd.concat([example_results(seeds=1).assign(setting_x=x) for x in (1, 2)])
    assert len(with_drop(twice)[0]) == 48
