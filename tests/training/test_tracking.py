"""Runs as TensorBoard and MLflow read them back."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from torch import nn

from topo.datasets import load
from topo.errors import InputError
from topo.models import build
from topo.study import Study, StudyConfig
from topo.training import Forgiving, MLflow, TensorBoard, Tracker, recipe, train

DATA = {"name": "digits", "subset": 3}


@pytest.fixture(autouse=True)
def no_server(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")


def mlflow_runs(folder: Path, experiment: str) -> list:
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=(folder / "mlruns").as_uri())
    return client.search_runs([client.get_experiment_by_name(experiment).experiment_id])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_curves_and_results_are_read_back(tmp_path: Path):
    pytest.importorskip("tensorboard")
    pytest.importorskip("mlflow")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    board, flow = TensorBoard(tmp_path, "a run"), MLflow(tmp_path, "a run", {"pruner": "none"})
    net = build("digits-mlp", input_shape=(1, 8, 8), widths=[4])
    history = train(
        net, load("digits", subset=3), recipe("digits", epochs=2), device="cpu", callbacks=[board, flow]
    ).history
    for tracker in (board, flow):
        tracker.finish({"accuracy": 0.5, "loss": float("nan"), "reason": "", "done": True})

    events = EventAccumulator(str(tmp_path / "topo" / "a_run"))
    events.Reload()
    assert [e.value for e in events.Scalars("test_loss")] == pytest.approx(history["test_loss"].tolist())
    assert [e.value for e in events.Scalars("result/accuracy")] == [0.5]
    (run,) = mlflow_runs(tmp_path, "topo")
    assert run.info.status == "FINISHED" and run.info.run_name == "a run"
    assert run.data.params["pruner"] == "none" and run.data.params["recipe.epochs"] == "2"
    assert run.data.metrics["test_loss"] == pytest.approx(history["test_loss"].iloc[-1])
    assert run.data.metrics["accuracy"] == 0.5 and "loss" not in run.data.metrics and "done" not in run.data.metrics


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_study_is_tracked_and_its_keys_do_not_change(tmp_path: Path):
    pytest.importorskip("mlflow")
    from concurrent.futures import ThreadPoolExecutor

    plain = {
        "name": "followed", "datasets": [DATA], "models": [{"name": "digits-mlp", "widths": [4]}], "pruners": ["er"],
        "sparsities": [0.5], "recipe": {"name": "digits", "epochs": 1}, "encodings": [],
    }  # fmt: skip
    study = Study(StudyConfig.parse(plain | {"track": "mlflow"}), tmp_path / "study")
    assert [cell.key for cell in study.cells] == [cell.key for cell in Study(StudyConfig.parse(plain), "x").cells]
    with ThreadPoolExecutor(1) as here:
        table = study.run(executor=here, progress=False).set_index("cell")
    runs = {run.data.params["cell"]: run for run in mlflow_runs(study.folder / "tracking", "followed")}
    assert set(runs) == set(table.index)
    for key, run in runs.items():
        assert run.data.metrics["accuracy"] == table.loc[key, "accuracy"] and run.data.tags["status"] == "finished"
        assert run.data.params["pruner"] == table.loc[key, "pruner"]


def test_trackers_that_cannot_be_had(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr("topo.training.tracking.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install 'topo-sparse\[mlflow\]'"):
        MLflow(tmp_path)
    with pytest.raises(InputError, match=r"pip install 'topo-sparse\[tensorboard\]'"):
        TensorBoard(tmp_path)
    with pytest.raises(InputError, match=r"track: unknown tracker 'mlfow'; did you mean 'mlflow'"):
        StudyConfig.parse({"models": ["digits-mlp"], "pruners": ["er"], "sparsities": [0.5], "track": "mlfow"})
    assert os.listdir(tmp_path) == []


def test_a_tracker_that_fails_costs_no_run():
    class Broken(Tracker):
        def on_epoch_end(self, state):
            raise OSError("the server is away")

    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    tracker = Forgiving(Broken("nowhere"))
    with pytest.warns(UserWarning, match="not tracked any more: OSError: the server is away"):
        run = train(net, load("digits", subset=2), recipe("digits", epochs=2), device="cpu", callbacks=[tracker])
    assert run.status == "finished" and len(run.history) == 2
