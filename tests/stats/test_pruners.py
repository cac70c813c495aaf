from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from topo.errors import InputError
from topo.plots.pruners import ranked_pruners
from topo.results import example_results, tidy_results
from topo.stats.pruners import accuracy_summary, check_orderings, pruner_means, pruner_ranking


def test_orderings_and_ranking_of_a_table():
    rows = [
        {"dataset": "d", "model": "m", "pruner": p, "family": "initial", "sparsity": s, "seed": seed, "accuracy": a}
        for s in (0.5, 0.9)
        for seed in range(4)
        for p, a in (("good", 0.9 + 0.001 * seed), ("bad", 0.6 + 0.002 * seed), ("odd", 0.75 + 0.2 * (-1) ** seed))
    ]
    table = pd.DataFrame(rows)
    claims = [
        ("good", "bad", None, "x"),
        ("bad", "good", [0.9], "x"),
        ("odd", "bad", None, "x"),
        ("none", "bad", None, ""),
    ]
    orderings = check_orderings(table, claims)
    assert orderings["verdict"].tolist() == ["confirmed", "contradicted", "undecided", "not measured"]
    assert orderings["difference"][0] == pytest.approx(0.3 - 0.0015)
    assert pruner_ranking(table)["pruner"].tolist() == ["good", "odd", "bad"]
    means = pruner_means(table).set_index(["pruner", "sparsity"])
    assert means.loc[("good", 0.5), "mean"] == pytest.approx(0.9015)
    # 3.182 is the 97.5% point of t with three degrees of freedom
    half = 3.182446 * pd.Series([0.9, 0.901, 0.902, 0.903]).std() / 2
    assert means.loc[("good", 0.5), "high"] == pytest.approx(0.9015 + half, rel=1e-6)
    lone = pruner_means(table[table["seed"] == 0])
    assert lone["low"].isna().all()


def test_a_summary_of_a_table_without_accuracy_says_so():
    with pytest.raises(InputError, match="no columns 'sparsity' and 'accuracy'"):
        accuracy_summary(example_results().drop(columns=["sparsity", "accuracy"]))


def test_pairs_are_by_seed_and_sparsity_and_duplicates_are_refused():
    table = example_results()
    one = table[table["pruner"] == table["pruner"].iloc[-1]]
    doubled = pd.concat([table, one])
    name = one["pruner"].iloc[0]
    with pytest.raises(InputError, match="several rows"):
        check_orderings(doubled, [(name, "er", None, "")])


def test_the_figure_has_a_row_for_every_pruner_and_a_panel_for_every_sparsity():
    table = example_results()
    drawn = ranked_pruners(table)
    sparse = table[table["pruner"] != "dense"]
    assert len(drawn.axes) == sparse["sparsity"].nunique()
    labels = [tick.get_text() for tick in drawn.axes[0].get_yticklabels()]
    assert labels[::-1] == pruner_ranking(table)["pruner"].tolist()
    with pytest.raises(InputError, match="choose one"):
        ranked_pruners(pd.concat([table, table.assign(model="other")]))
    with pytest.raises(InputError, match="nothing to draw"):
        ranked_pruners(table.assign(accuracy=float("nan")))


def test_summary_equals_groupby():
    table = example_results()
    table.loc[3, "accuracy"] = np.nan
    summary = accuracy_summary(tidy_results(table)).set_index(["pruner", "sparsity"])
    for (pruner, sparsity), group in table.groupby(["pruner", "sparsity"])["accuracy"]:
        row = summary.loc[(pruner, sparsity)]
        assert row["mean"] == pytest.approx(group.mean())
        assert (row["low"], row["high"], row["n"]) == (group.min(), group.max(), group.count())
