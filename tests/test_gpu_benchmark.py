"""The parts of benchmarks/gpu.sh that decide what passes, and the study that it runs."""

from __future__ import annotations

import argparse
import importlib
from pathlib import Path
from types import ModuleType

import pytest

import topo
from topo.study import StudyConfig
from topo.training import recipe


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "benchmarks"))
    return importlib.import_module("gpu")


def test_masks_that_differ_too_much_fail(gpu: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    data, short = gpu.images(40), recipe("small-images", epochs=1)
    same = {name: gpu.check_pruner(name, data, "cpu", short) for name in ("erk", "magnitude-init")}
    assert all(row["ok"] and row["masks_differ"] == 0 for row in same.values())
    assert same["magnitude-init"]["scores_differ"] == 0
    found = iter([topo.prune(gpu.fresh(), "erk", sparsity=0.8, seed=seed) for seed in (0, 1)])
    monkeypatch.setattr(gpu, "pruned", lambda *_: next(found))
    other = gpu.check_pruner("erk", data, "cpu", short)
    assert not other["ok"] and other["masks_differ"] > 0.5


def test_differing_counts_kept_weights_that_are_elsewhere(gpu: ModuleType) -> None:
    first, second = topo.Masks({"w": [1, 1, 1, 0]}), topo.Masks({"w": [1, 1, 0, 1]})
    assert gpu.differing(first, second) == pytest.approx(1 / 3) and gpu.differing(first, first) == 0


@pytest.mark.parametrize(("dry", "root"), [(False, ""), (False, "here"), (True, ""), (True, "here")])
def test_the_study_reads(gpu: ModuleType, tmp_path: Path, dry: bool, root: str) -> None:
    gpu.write_study(argparse.Namespace(out=tmp_path, data_root=root, dry_run=dry))
    config = StudyConfig.read(tmp_path / "study.yaml")
    assert (config.datasets[0].name == "cifar10") == bool(root)
    assert (config.models[0].name == "resnet20") != dry
