"""A study of a regression: its columns, and what is said where no answer is right or wrong."""

from __future__ import annotations

import pytest

import topo
from topo.questions import QUESTIONS, Evidence
from topo.report.findings import failures, lost_sentence, no_failures


@pytest.mark.slow
def test_a_study_of_a_regression(tiny, here):
    study = tiny(
        datasets=["diabetes"],
        models=["mlp"],
        pruners=["snip", {"name": "magnitude", "sparsity_of": "all", "exclude": "0.*"}],
        sparsities=[0.4],
        recipe={"name": "table", "epochs": 4, "loss": "smooth-l1"},
        targets=["calibration", "convergence"],
        metrics=["sink_nodes"],
    )
    table = study.run(executor=here, progress=False)
    assert (table["status"] == "finished").all() and table["accuracy"].isna().all()
    assert table["r2"].between(-1, 1).all() and (table["rmse"] > 0).all() and (table["test_samples"] == 111).all()
    assert "classes" not in table and table["calibration_error"].isna().all()
    sparse = table.set_index("pruner").drop("dense")
    assert (sparse["connected"] == 1).all()
    assert sparse.loc["magnitude", "reached_of_included"] > sparse.loc["magnitude", "reached_of_all"]
    assert round(sparse.loc["magnitude", "reached_sparsity"], 3) == 0.4

    assert failures(table).empty and "every other one an error" in no_failures(table)
    assert lost_sentence(table) == (
        "3 of 3 networks have no accuracy (3 predict numbers). Numbers are not right or wrong: accuracy=table['r2'] "
        "asks the same questions of R^2."
    )
    for name in ("metrics_and_accuracy", "ranking_pruners"):
        assert "has an accuracy" in QUESTIONS.get(name)(Evidence.read(study)).text()
    assert Evidence.of(table.assign(accuracy=table["r2"])).networks["accuracy"].notna().all()
    assert topo.results.describe_columns(["r2"])["description"].item()
