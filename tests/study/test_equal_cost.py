"""A dense network of equal cost beside every structured one."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
import pytest

import topo
from tests.study.conftest import TINY
from topo.study import StudyConfig
from topo.study.grid import cells_of
from topo.training import evaluate, train

CHANGES = {
    "pruners": ["er", {"name": "l1-filter", "budget": "macs"}, {"name": "slimming", "budget": "macs"}],
    "models": ["digits-cnn"], "sparsities": [0.5], "encodings": [],
}  # fmt: skip


@pytest.mark.slow
def test_structured_networks_have_one_and_others_none(tiny, here):
    study = tiny(**CHANGES, dense_of_equal_cost=True)
    table = study.run(executor=here, progress=False).set_index("pruner")
    assert (table["status"] == "finished").all()
    columns = [f"small_dense_{name}" for name in ("accuracy", "loss", "macs", "parameters", "epochs")]
    assert table.loc[["dense", "er"], columns].isna().all(axis=None)
    structured = table.loc[["l1-filter", "slimming"]]
    assert (structured["small_dense_macs"] <= structured["compact_macs"]).all()
    assert (structured["small_dense_macs"] > 0.8 * structured["compact_macs"]).all()
    # One of the dense network and one after pruning; slimming trains while it prunes, and after it.
    assert structured["small_dense_epochs"].tolist() == [2, 2]
    cell = next(c for c in study.cells if c.pruner is not None and c.pruner.name == "l1-filter")
    data = topo.datasets.load("digits", subset=3)
    net = topo.models.build("digits-cnn", input_shape=(1, 8, 8), seed=0)
    small = topo.pruning.narrowed(net, structured.loc["l1-filter", "compact_macs"], (1, 8, 8))
    train(small, data, replace(cell.recipe, epochs=2), seed=0, device="cpu", progress=False)
    reached = evaluate(small, data, device="cpu")
    assert structured.loc["l1-filter", "small_dense_accuracy"] == reached["accuracy"]
    assert structured.loc["l1-filter", "small_dense_loss"] == pytest.approx(reached["loss"])
    told = topo.results.describe_columns(pd.DataFrame(columns=columns))["description"]
    assert (told != "").all()


def test_it_decides_the_cells_of_structured_networks_alone():
    plain, asked = (StudyConfig.parse(TINY | CHANGES | more) for more in ({}, {"dense_of_equal_cost": True}))
    before, after = ({str(cell): cell.key for cell in cells_of(config)} for config in (plain, asked))
    differ = [name for name in before if before[name] != after[name]]
    assert len(differ) == 2 and all("l1-filter" in name or "slimming" in name for name in differ)
    assert plain.digest() != asked.digest()
    written = StudyConfig.parse(TINY | CHANGES | {"dense_of_equal_cost": False})
    assert written.digest() == plain.digest() and "dense_of_equal_cost" not in written.to_yaml()
