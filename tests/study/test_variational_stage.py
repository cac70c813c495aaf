"""Cells whose network shrinks while it is trained."""

from __future__ import annotations

import pytest
import torch

import topo


@pytest.mark.slow
def test_a_network_that_shrinks_in_a_study(tiny, here):
    study = tiny(
        models=[{"name": "digits-cnn", "width": 4}],
        datasets=[{"name": "digits", "subset": 8}],
        pruners=[{"name": "variational", "kappa": 0.5}],
        sparsities=[0.5],
        recipe={"name": "digits", "epochs": 4, "batch_size": 10},
        save_weights=True,
        save_trajectory=True,
    )
    table = study.run(executor=here, progress=False).set_index("pruner")
    row = table.loc["variational"]
    assert row["status"] == "finished" and row["family"] == "structured"
    masks, model = study.masks(row["cell"]), study.model(row["cell"])
    assert masks.algorithm == "variational" and masks.asked_sparsity == 0.5
    state = model.state_dict()
    assert all(bool((state[name][~mask] == 0).all()) for name, mask in masks.items())
    prunable = topo.masks.prunable_parameters(model)
    share = sum(int(masks[name].sum()) for name in prunable) / sum(p.numel() for p in prunable.values())
    assert share <= 0.5
    small = topo.compact(model.eval(), masks, torch.zeros(1, 1, 8, 8))
    assert row["compact_parameters"] == sum(p.numel() for p in small.parameters())
    assert 0 < row["compact_macs"] < 35152
    data = topo.datasets.load("digits", subset=8)
    assert topo.training.evaluate(small, data, device="cpu")["accuracy"] == row["accuracy"]
    assert len(study.history(row["cell"])) == 4 and "rolled__sink_nodes_mean" in row
    trajectory = study.trajectory(row["cell"])
    assert trajectory[0].sparsity == 0.0 and len(trajectory) >= 2
    assert all(torch.equal(trajectory[-1][name], masks[name]) for name in prunable)
    shares = trajectory.table()["sparsity"]
    assert shares.is_monotonic_increasing and trajectory.epochs[0] == 0
