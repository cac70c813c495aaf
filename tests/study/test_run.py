from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import topo
from topo.datasets import DATASETS, Split, make_dataset
from topo.errors import InputError
from topo.features import METRICS, column_names, metric
from topo.models import MODELS
from topo.registry import Registry
from topo.results.evidence import Evidence
from topo.study import Study, StudyError, computation, places
from topo.study import run as run_module
from topo.study import store as store_module
from topo.study.attempt import run_cell
from topo.study.computation import compute


def stamps(study: Study) -> dict[str, float]:
    """When each cell's row was written."""
    states = zip(study.plan, study.store.states(cell.key for cell in study.plan), strict=True)
    return {cell.key: state.record.time for cell, state in states if state.record is not None}


def test_a_study_gives_one_row_a_network(tiny, here, caplog: pytest.LogCaptureFixture):
    study = tiny()
    with caplog.at_level(logging.INFO, "topo.study"):
        table = study.run(executor=here, progress=False)
    assert len(table) == 5 and (table["status"] == "finished").all() and (table["reason"] == "").all()
    assert table["accuracy"].between(0, 1).all() and len(set(table["dense_accuracy"])) == 1
    assert set(table["classes"]) == {10} and set(table["test_samples"]) == {30} and set(table["chance"]) == {0.1}
    sparse = table[table["pruner"] != "dense"]
    assert sparse["reached_sparsity"].to_numpy() == pytest.approx(sparse["sparsity"], abs=0.01)
    columns = [f"rolled__{name}" for name in column_names(["local"], layers=True)]
    assert sparse[columns].notna().any(axis=None) and set(columns) <= set(table.columns)
    assert table.loc[table["pruner"] == "dense", columns].isna().all(axis=None)
    lines = [r.message for r in caplog.records if r.name == "topo.study"]
    assert lines.pop(0) == "5 cells: 5 to compute."
    assert len(lines) == 5 and all("accuracy 0." in line and " s" in line for line in lines)
    assert lines[0].startswith("1/5 digits digits-mlp dense seed 0:")

    pd.testing.assert_frame_equal(pd.read_parquet(study.folder / "results.parquet"), table)
    loaded = Study.load(study.folder)
    assert loaded.config == study.config
    pd.testing.assert_frame_equal(loaded.results(), table)
    assert loaded.status()["status"].tolist() == ["finished"] * 5
    cell = study.cells[-1]
    assert study.masks(cell) == study.masks(cell.key) and study.cell(cell) == cell


def test_finished_cells_are_not_computed_again(tiny, here, monkeypatch: pytest.MonkeyPatch):
    study = tiny()
    study.run(executor=here, progress=False)
    before = stamps(study)
    monkeypatch.setattr(places, "run_cell", pytest.fail)
    study.run(executor=here, progress=False)
    assert stamps(study) == before


def test_a_run_says_how_much_there_is_to_do_and_why_anew(tiny, here, caplog: pytest.LogCaptureFixture, monkeypatch):
    monkeypatch.setattr(run_module._Run, "go", lambda run: None)

    def first_lines(study: Study) -> list[str]:
        caplog.clear()
        with caplog.at_level(logging.INFO, "topo.study"):
            study.run(executor=here, progress=False)
        return [record.message for record in caplog.records if record.name == "topo.study"]

    study = tiny()
    assert first_lines(study) == ["5 cells: 5 to compute."]
    for status, cell in zip(("finished", "finished", "failed"), study.cells, strict=False):
        study.store.save(cell.key, store_module.CellResult({"status": status, "reason": "", "accuracy": 0.5}))
    assert first_lines(study) == ["5 cells: 2 have their results, 3 to compute, 1 of which failed before."]
    (line, why) = first_lines(tiny(recipe={"name": "digits", "epochs": 2}))
    assert line == "5 cells: 5 to compute."
    assert why.startswith(
        "2 of the cells to compute have results that no longer count, because the settings of the study changed since"
    )
    first_lines(study)
    monkeypatch.setattr("topo.study.grid.FORMAT", 0)
    assert "because own code that the study uses, or topo itself, changed since" in first_lines(study)[1]


def test_a_metric_that_fails_costs_a_cell_only_its_own_columns(tiny, here, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(METRICS, "_entries", dict(METRICS._entries))
    metric("own", category="general")(lambda view: view.degrees)
    study = tiny(pruners=["er"], sparsities=[0.5], metrics=["own", "sink_nodes"], encodings=["multipartite", "rolled"])
    row = study.run(executor=here, progress=False).set_index("pruner").loc["er"]
    assert (row["status"], row["reason"]) == ("finished", "") and 0 <= row["accuracy"] <= 1
    assert row["sink_nodes"] >= 0 and row["rolled__sink_nodes_mean"] >= 0
    assert np.isnan(row["own"]) and np.isnan(row["rolled__own_mean"])
    reasons = Evidence.read(study).undefined
    assert reasons["own"].startswith("metric 'own' failed with AttributeError: ") and "'degrees'" in reasons["own"]
    assert "metric 'own' failed with AttributeError: " in reasons["rolled__own_mean"]


def test_a_larger_study_adds_to_a_smaller_one(tiny, here):
    small = tiny()
    small.run(executor=here, progress=False)
    before = stamps(small)
    large = tiny(sparsities=[0.5, 0.8, 0.9])
    assert (large.status()["status"] == "missing").sum() == 2
    assert len(large.run(executor=here, progress=False)) == 7
    assert before.items() <= stamps(large).items()
    assert len(Study.load(large.folder).results()) == 7


def test_the_same_study_gives_the_same_numbers(tiny, here, tmp_path: Path):
    first, second = tiny(), Study(tiny().config, tmp_path / "again")
    tables = [study.run(executor=here, progress=False) for study in (first, second)]
    numbers = [t[[c for c in t.columns if not c.startswith("seconds") and c != "date"]] for t in tables]
    pd.testing.assert_frame_equal(*numbers)


def test_trained_pruners_start_from_the_trained_baseline(tiny, here):
    study = tiny()
    table = study.run(executor=here, progress=False)
    dense = table.loc[table["pruner"] == "dense", "cell"].item()
    trained = study.model(dense)
    for row in table[table["pruner"] == "magnitude"].itertuples():
        expected = topo.prune(trained, "magnitude", sparsity=row.sparsity, device="cpu")
        masks = study.masks(row.cell)
        assert all(torch.equal(masks[name], expected[name]) for name in expected)
    fresh = topo.models.build("digits-mlp", input_shape=(1, 8, 8), widths=[8], seed=0)
    other = topo.prune(fresh, "magnitude", sparsity=0.5, device="cpu")
    assert any(not torch.equal(other[name], study.masks(table["cell"].iloc[3])[name]) for name in other)


def test_pruned_weights_are_zero_after_training(tiny, here):
    study = tiny(save_weights=True)
    table = study.run(executor=here, progress=False)
    for row in table[table["pruner"] != "dense"].itertuples():
        state, masks = study.model(row.cell).state_dict(), study.masks(row.cell)
        assert all(bool((state[name][~mask] == 0).all()) for name, mask in masks.items())
        assert len(study.history(row.cell)) == 1
        row_again = topo.measure(study.graph(row.cell, "rolled"), metrics=["local"])
        assert row_again["sink_nodes_mean"] == row.rolled__sink_nodes_mean


def test_an_exception_fails_its_cell_alone_and_is_tried_again(tiny, here, monkeypatch: pytest.MonkeyPatch):
    study, prune = tiny(), computation.prune

    def break_er(model, name, **options):
        if name == "er":
            raise RuntimeError("out\nof luck")
        return prune(model, name, **options)

    with monkeypatch.context() as patch:
        patch.setattr(computation, "prune", break_er)
        table = study.run(executor=here, progress=False)
    failed = table[table["pruner"] == "er"]
    assert failed["status"].tolist() == ["failed", "failed"]
    assert failed["reason"].tolist() == ["RuntimeError: out of luck"] * 2 and failed["accuracy"].isna().all()
    assert "break_er" in study.store.traceback_file(failed["cell"].iloc[0]).read_text()
    assert (table.loc[table["pruner"] != "er", "status"] == "finished").all()
    kept = stamps(study)
    again = study.run(executor=here, progress=False)
    assert (again["status"] == "finished").all()
    assert {key for key, stamp in stamps(study).items() if kept[key] != stamp} == set(failed["cell"])


def test_a_pruner_on_a_failed_baseline_fails_with_that_reason(tiny, here, monkeypatch: pytest.MonkeyPatch):
    train = computation.train

    def break_dense(*args, masks=None, **options):
        if masks is None:
            raise MemoryError("no room")
        return train(*args, masks=masks, **options)

    monkeypatch.setattr(computation, "train", break_dense)
    table = tiny().run(executor=here, progress=False).set_index("pruner")
    assert table.loc["dense", "reason"] == "MemoryError: no room"
    assert (table.loc["magnitude", "reason"].str.contains("its dense baseline.* is failed: MemoryError: no room")).all()
    assert (table.loc["er", "status"] == "finished").all()


def test_a_diverged_network_keeps_its_row(tiny, here):
    recipe = {"name": "digits", "epochs": 2, "learning_rate": 1e30}
    study = tiny(recipe=recipe, pruners=["er"], sparsities=[0.5])
    table = study.run(executor=here, progress=False)
    assert table["status"].tolist() == ["diverged", "diverged"]
    assert table["accuracy"].isna().all() and table["reason"].str.contains("loss became").all()
    assert table["reached_sparsity"].notna().all()
    before = stamps(study)
    study.run(executor=here, progress=False)
    assert stamps(study) == before


def test_a_collapsed_network_is_trained_and_measured(tiny, here):
    pruner = {"name": "magnitude", "stage": "initial"}
    study = tiny(pruners=[pruner], sparsities=[0.9998], models=["digits-mlp"], encodings=["multipartite"])
    row = study.run(executor=here, progress=False).set_index("pruner").loc["magnitude"]
    assert row["status"] == "collapsed" and row["reason"].startswith("no weight is left in ")
    assert row["layer_density_min"] == 0 and 0 <= row["accuracy"] <= 1 and row["disconnected_nodes"] > 0


def test_a_network_that_bypasses_an_empty_layer_is_no_collapse(tiny, here):
    pruner = {"name": "dag", "granularity": "arc"}
    study = tiny(pruners=[pruner], sparsities=[0.2], models=["digits-cnn"])
    row = study.run(executor=here, progress=False).set_index("pruner").loc["dag"]
    assert row["status"] == "finished" and row["layer_density_min"] == 0
    assert row["reason"].startswith("no weight is left in ") and row["reason"].endswith("which other branches bypass")


def test_dense_networks_are_measured_on_request(tiny, here):
    table = tiny(pruners=[], sparsities=[], measure_dense=True).run(executor=here, progress=False)
    assert table["rolled__sink_nodes_mean"].notna().all() and table["reached_sparsity"].tolist() == [0.0]


def test_undefined_metrics_have_their_reason(tiny, here):
    table = tiny(metrics=["ramanujan"], pruners=["er"], sparsities=[0.9]).run(executor=here, progress=False)
    row = table[table["pruner"] == "er"].iloc[0]
    assert pd.isna(row["rolled__imdb_mean"]) and "rolled__imdb_mean" in row["undefined"]


def test_what_no_cell_could_do_stops_the_study_before_it_starts(tiny, here, tmp_path: Path):
    with pytest.raises(InputError, match="not a folder"):
        tiny(datasets=[{"name": "folder", "root": str(tmp_path / "none")}]).run(executor=here)
    with pytest.raises(InputError, match="cannot take inputs of shape"):
        tiny(models=["alexnet"]).run(executor=here)
    with pytest.raises(InputError, match="unknown device"):
        tiny(device="gpu").run(executor=here)


def test_a_full_disk_stops_the_study_with_one_sentence(tiny, here, monkeypatch: pytest.MonkeyPatch):
    study, write = tiny(), store_module._written
    written = []

    def fill(store, key: str, result, parts):
        if len(written) == 2:
            raise OSError(28, "No space left on device")
        written.append(key)
        return write(store, key, result, parts)

    with monkeypatch.context() as patch:
        patch.setattr(store_module, "_written", fill)
        with pytest.raises(StudyError, match="No space left on device"):
            study.run(executor=here, progress=False)
        here.submit(int).result()  # the cell that was running when the study stopped
    assert (study.status()["status"] == "finished").sum() == 2
    assert len(pd.read_parquet(study.folder / "results.parquet")) == 2
    assert (study.run(executor=here, progress=False)["status"] == "finished").all()


def test_ctrl_c_keeps_what_is_finished(tiny, monkeypatch: pytest.MonkeyPatch):
    study, done = tiny(), []

    class Interrupted(ThreadPoolExecutor):
        def submit(self, *args):
            if len(done) == 3:
                raise KeyboardInterrupt
            done.append(run_cell(*args[1:]))
            future: Future = Future()
            future.set_result(done[-1])
            return future

    with pytest.raises(KeyboardInterrupt):
        study.run(executor=Interrupted(), progress=False)
    assert len(pd.read_parquet(study.folder / "results.parquet")) == 3
    assert (study.status()["status"] == "finished").sum() == 3


def test_a_worker_has_as_many_threads_at_the_end_as_at_the_start(tiny, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("topo.study.workers.cores", lambda: 8)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    asked = []

    def processes(workers: int, threads: int, **_: bool) -> places.Elsewhere:
        asked.append((workers, threads))
        return places.Elsewhere(ThreadPoolExecutor(1))

    monkeypatch.setattr(run_module, "Processes", processes)
    study = tiny()
    study.run(workers=2, progress=False)
    study.store.masks_file(study.cells[-1].key).unlink()
    study.run(workers=2, progress=False)
    assert asked == [(2, 4), (1, 4)]


def test_another_executor_that_breaks_stops_the_study(tiny):
    class Broken(ThreadPoolExecutor):
        def submit(self, *_):
            raise BrokenProcessPool("gone")

    with pytest.raises(StudyError, match="the executor broke down"):
        tiny().run(executor=Broken(), progress=False)


def test_networks_of_one_kind_are_traced_once(tiny, here, monkeypatch: pytest.MonkeyPatch):
    calls, trace = [], computation.trace
    monkeypatch.setattr(computation, "trace", lambda *a: calls.append(a) or trace(*a))
    tiny(encodings=["rolled", "rolled-channel"]).run(executor=here, progress=False)
    assert len(calls) == 1


def test_reused_traces_carry_the_weights_of_the_network_at_hand(tiny):
    study = tiny(encodings=["multipartite"], metrics=["strength", "expansion"], save_weights=True)
    cells = [cell for cell in study.cells if cell.pruner is not None and cell.pruner.name == "er"]
    for cell in cells:
        result = compute(cell, "cpu")
        graph = topo.encode(result.weights, result.masks, example=(1, 8, 8))
        expected = topo.measure(graph, metrics=["strength", "expansion"])
        assert {name: result.row[name] for name in expected.index} == pytest.approx(dict(expected))


def test_folders_that_hold_no_study(tmp_path: Path, tiny):
    with pytest.raises(InputError, match="not the folder of a study"):
        Study.load(tmp_path)
    with pytest.raises(InputError, match="has no results yet"):
        tiny().results()
    with pytest.raises(InputError, match=r"has no cell .* names its \d+ cells\.$"):
        tiny().masks("abc")


@pytest.fixture
def register() -> Iterator[Callable]:
    """Registers things that are gone after the test."""
    added = []

    def add(registry: Registry, name: str) -> Callable:
        added.append((registry, name))
        return registry.register(name)

    yield add
    for registry, name in added:
        del registry._entries[name]


@pytest.mark.slow
@pytest.mark.parametrize("by_keyword", [False, True])
def test_networks_of_several_inputs(tiny, here, register, by_keyword: bool):
    class TwoInputs(nn.Module):
        def __init__(self, left: int, right: int, n_classes: int) -> None:
            super().__init__()
            self.left, self.right = nn.Linear(left, 4), nn.Linear(right, 4)
            self.out = nn.Linear(4, n_classes)

        def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            return self.out(torch.relu(self.left(x) + self.right(y)))

    @register(MODELS, "two-inputs")
    def two_inputs(input_shape, n_classes):
        """A sum of two linear layers."""
        shapes = list(input_shape.values()) if by_keyword else input_shape
        return TwoInputs(*(size for shape in shapes for size in shape), n_classes)

    @register(DATASETS, "pairs")
    def pairs(root, download):
        """Two tables."""
        x, y = torch.rand(40, 3), torch.rand(40, 5)
        split = Split({"x": x, "y": y} if by_keyword else (x, y), torch.arange(40) % 2)
        return make_dataset("pairs", split, split, n_classes=2)

    changes = {"datasets": ["pairs"], "models": ["two-inputs"], "pruners": ["er", "snip", "l1-filter"]}
    study = tiny(**changes, sparsities=[0.4], encodings=["multipartite"])
    table = study.run(executor=here, progress=False)
    assert (table["status"] == "finished").all(), table["reason"].tolist()
    assert table.set_index("pruner")["compact_parameters"].notna().to_dict() == {
        "dense": False, "er": False, "snip": False, "l1-filter": True
    }  # fmt: skip
    graph = study.graph(table["cell"].iloc[-1])
    assert {part.size for part in graph.parts} >= {3, 5, 4, 2}
