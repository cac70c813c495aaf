from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch

import topo
from topo.errors import InputError
from topo.masks import Masks
from topo.safe_files import write_arrays
from topo.study import MaskTrajectory, measure_trajectory
from topo.training import Callback, recipe, train

PLAN = recipe("digits", epochs=4)


@pytest.fixture(scope="module")
def few():
    return topo.datasets.load("digits", subset=10)


def recorded(few, name: str = "itop", callbacks=(), **options):
    """Two steps an epoch, eight in all; updates after the second, fourth and sixth."""
    net = topo.models.build("digits-mlp", input_shape=(1, 8, 8), widths=[8])
    callback = topo.pruning.sparse_training_callback(net, name, sparsity=0.8, device="cpu")
    trajectory = MaskTrajectory(**options)
    callbacks = [*callbacks, callback, trajectory]
    run = train(net, few, PLAN, masks=callback.masks, callbacks=callbacks, device="cpu", progress=False)
    return net, callback, trajectory, run


class Seen(Callback):
    def __init__(self) -> None:
        self.masks: list[Masks] = []

    def on_epoch_end(self, state) -> None:
        self.masks.append(state.masks)


def test_every_change_is_recorded_once(few):
    seen = Seen()
    _, callback, trajectory, run = recorded(few, callbacks=[seen])
    assert (trajectory.steps, trajectory.epochs) == ([0, 3, 5, 7], [0, 1, 2, 3])
    assert len(trajectory) == 4 and trajectory[0] == callback.masks and trajectory[-1] == run.masks
    assert list(trajectory) == [callback.masks, *seen.masks[1:]]
    assert list(trajectory[0]) == list(callback.masks)
    with pytest.raises(IndexError):
        trajectory[4]


def test_or_the_masks_at_the_end_of_each_epoch(few):
    seen = Seen()
    _, callback, trajectory, _ = recorded(few, callbacks=[seen], every="epoch")
    assert (trajectory.steps, trajectory.epochs) == ([0, 2, 4, 6, 8], [0, 1, 2, 3, 4])
    assert list(trajectory) == [callback.masks, *seen.masks]
    with pytest.raises(InputError, match="unknown value of every 'step'"):
        MaskTrajectory(every="step")


def test_a_change_at_the_very_end_is_recorded(few):
    class Last(Callback):
        def on_end(self, state) -> None:
            state.hold(Masks({name: torch.zeros_like(mask) for name, mask in state.masks.items()}))

    net = topo.models.build("digits-mlp", input_shape=(1, 8, 8), widths=[8])
    masks, trajectory = topo.prune(net, "er", sparsity=0.5, device="cpu"), MaskTrajectory()
    run = train(net, few, PLAN, masks=masks, callbacks=[Last(), trajectory], device="cpu", progress=False)
    assert trajectory.steps == [0, 8] and trajectory[1] == run.masks and trajectory[1].density == 0


def test_what_is_saved_reads_back(few, tmp_path: Path):
    _, _, trajectory, _ = recorded(few)
    again = MaskTrajectory.load(trajectory.save(tmp_path / "t.safetensors"))
    assert list(again) == list(trajectory) and list(again[0]) == list(trajectory[0])
    assert (again.steps, again.epochs, again.every) == (trajectory.steps, trajectory.epochs, "change")
    weights = sum(mask.numel() for mask in trajectory[0].values())
    assert (tmp_path / "t.safetensors").stat().st_size < 4 * (weights / 8 + 16) + 1000


def test_what_cannot_be_recorded_or_read(few, tmp_path: Path):
    net = topo.models.build("digits-mlp", input_shape=(1, 8, 8))
    with pytest.raises(InputError, match="no masks to record"):
        train(net, few, PLAN, callbacks=[MaskTrajectory()], device="cpu")
    with pytest.raises(InputError, match="holds no masks"):
        MaskTrajectory().save(tmp_path / "t.safetensors")
    write_arrays(tmp_path / "other.safetensors", {"bits": np.zeros(3)}, {"content": "topo masks"})
    with pytest.raises(InputError, match="does not hold a trajectory"):
        MaskTrajectory.load(tmp_path / "other.safetensors")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"bits": np.zeros((2, 1), np.uint8)}, "its bits, uint8 of shape \\(2, 1\\), are not those of 800 weights"),
        ({"bits": np.zeros((2, 100), np.int8)}, "its bits, int8"),
        ({"bits": np.zeros((0, 100), np.uint8)}, "its bits, uint8"),
        ({"bits": np.zeros(100, np.uint8)}, "its bits, uint8"),
        ({"steps": np.array([1, 0])}, "rising counts"),
        ({"steps": np.array([0])}, "rising counts"),
        ({"epochs": np.array([-1, 0])}, "rising counts"),
        ({"epochs": np.zeros(2)}, "rising counts"),
        ({"more": np.zeros(2)}, "bits, steps and epochs"),
        ({"shapes": '{"w": [797]}'}, "more bits are set than it has weights"),
        ({"shapes": '{"w": [8, "100"]}'}, "no shapes by name"),
        ({"shapes": '{"w": [-8, -100]}'}, "no shapes by name"),
        ({"shapes": "[[800]]"}, "no shapes by name"),
        ({"shapes": "{}"}, "no shapes by name"),
        ({"shapes": "[" * 9_000}, "nested too deep"),
        ({"shapes": "{"}, "is not JSON"),
        ({"every": "second"}, "unknown value of every"),
    ],
)
def test_a_file_that_does_not_agree_with_itself(change, sentence: str, tmp_path: Path):
    arrays = {"bits": np.full((2, 100), 255, np.uint8), "steps": np.array([0, 3]), "epochs": np.array([0, 1])}
    metadata = {"content": "topo mask trajectory", "every": "change", "shapes": '{"w": [8, 100]}'}
    path = write_arrays(tmp_path / "t.safetensors", arrays, metadata)
    assert MaskTrajectory.load(path)[1]["w"].all()
    arrays |= {name: value for name, value in change.items() if not isinstance(value, str)}
    metadata |= {name: value for name, value in change.items() if isinstance(value, str)}
    with pytest.raises(InputError, match=f"does not hold a whole trajectory of masks: .*{sentence}"):
        MaskTrajectory.load(write_arrays(path, arrays, metadata))


def test_the_table_counts_what_changed_and_what_was_explored(few):
    _, callback, trajectory, _ = recorded(few)
    table = trajectory.table()
    assert table["step"].tolist() == trajectory.steps and table["epoch"].tolist() == trajectory.epochs
    flat = [torch.cat([mask.flatten() for mask in masks.values()]) for masks in trajectory]
    assert table["sparsity"].tolist() == pytest.approx([float((~kept).double().mean()) for kept in flat])
    changed = [0.0] + [float((b & ~a).sum() / b.sum()) for a, b in itertools.pairwise(flat)]
    assert table["changed"].tolist() == pytest.approx(changed) and min(changed[1:]) > 0
    explored = [float(torch.stack(flat[: i + 1]).any(0).double().mean()) for i in range(4)]
    assert table["explored"].tolist() == pytest.approx(explored)
    assert explored[-1] == pytest.approx(callback.explored)


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ["multipartite", "rolled"])
def test_the_topology_is_measured_along_the_way(few, encoding):
    net, _, trajectory, _ = recorded(few)
    options = {"encoding": encoding, "example": (1, 8, 8)}
    table = measure_trajectory(net, trajectory, metrics=["local", "k_core"], **options)
    assert table.columns[:5].tolist() == ["step", "epoch", "sparsity", "changed", "explored"] and len(table) == 4
    for index, masks in enumerate(trajectory):
        row = topo.measure(topo.encode(net, masks, **options), metrics=["local", "k_core"])
        np.testing.assert_array_equal(table.loc[index, row.index].to_numpy(dtype=float), row.to_numpy())
    assert table.iloc[:, 5:].nunique().max() > 1
    dag = topo.trace(net, torch.zeros(1, 1, 8, 8)).single()
    again = measure_trajectory(dag, trajectory, encoding=encoding, metrics=iter(["local", "k_core"]))
    assert again.equals(table)
    with pytest.raises(InputError, match="needs an example"):
        measure_trajectory(net, trajectory)


def test_a_study_keeps_trajectories_on_request(tiny, here):
    study = tiny(pruners=["er", "set"], sparsities=[0.8], recipe={"name": "digits", "epochs": 4}, save_trajectory=True)
    table = study.run(executor=here, progress=False).set_index("pruner")
    moving, still = (study.trajectory(table.loc[name, "cell"]) for name in ("set", "er"))
    assert len(moving) == 4 and moving[-1] == study.masks(table.loc["set", "cell"])
    assert len(still) == 1 and still[0] == study.masks(table.loc["er", "cell"])
    with pytest.raises(InputError, match="has no trajectory of masks"):
        study.trajectory(table.loc["dense", "cell"])
    text = (study.folder / "study.yaml").read_text()
    assert "save_trajectory: true" in text
