from __future__ import annotations

from pathlib import Path

import pytest

from tests.fresh import run_fresh
from topo.study import Study, StudyConfig
from topo.study import grid as grid_module
from topo.study.grid import cells_of

BASE = {
    "name": "grid",
    "datasets": ["digits"],
    "models": ["digits-mlp"],
    "pruners": [{"name": "grasp", "temperature": 100.0, "samples_per_class": 5}],
    "sparsities": [0.5],
    "seeds": [0],
    "recipe": {"name": "digits", "epochs": 3},
    "encodings": ["rolled"],
    "metrics": ["local", "strength"],
}


def sparse_key(**changes: object) -> str:
    return cells_of(StudyConfig.parse(BASE | changes))[-1].key


def dense_key(**changes: object) -> str:
    return cells_of(StudyConfig.parse(BASE | changes))[0].key


def test_every_combination_once_and_a_baseline_for_each_dataset_model_and_seed():
    config = StudyConfig.parse(
        {
            "datasets": ["digits", {"name": "digits", "label": "few", "subset": 5}],
            "models": ["digits-mlp", "digits-cnn"],
            "pruners": ["er", "snip", "magnitude"],
            "sparsities": [0.5, 0.9],
            "seeds": [0, 1, 2],
        }
    )
    cells = cells_of(config)
    dense = [cell for cell in cells if cell.pruner is None]
    assert len(dense) == 2 * 2 * 3 and len(cells) == 12 + 2 * 2 * 3 * 2 * 3
    assert cells[:12] == dense
    assert len({cell.key for cell in cells}) == len(cells)
    names = [(c.dataset.label, c.model.label, str(c.pruner and c.pruner.label), c.sparsity, c.seed) for c in cells]
    assert len(set(names)) == len(cells)
    assert {cell.baseline.key for cell in cells if cell.baseline is not None} == {cell.key for cell in dense}


def test_a_study_without_pruners_is_its_baselines():
    cells = cells_of(StudyConfig.parse(BASE | {"pruners": [], "sparsities": [], "seeds": [0, 1]}))
    assert [cell.pruner for cell in cells] == [None, None]


def test_order_of_keys_and_ways_to_write_the_same_do_not_change_a_cell():
    same = [
        dict(reversed(BASE.items())),
        BASE | {"pruners": [{"samples_per_class": 5, "temperature": 100.0, "name": "grasp"}]},
        BASE | {"pruners": [{**BASE["pruners"][0], "stage": "initial"}]},
        BASE | {"recipe": {"epochs": 3, "name": "digits", "momentum": 0.9}},
        BASE | {"metrics": ["strength", "local"]},
    ]
    assert {cells_of(StudyConfig.parse(data))[-1].key for data in same} == {sparse_key()}


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "other"},
        {"device": "cpu"},
        {"workers": 3},
        {"data_root": "elsewhere"},
        {"save_weights": True},
        {"save_trajectory": True},
        {"sparsities": [0.5, 0.6]},
        {"pruners": [{**BASE["pruners"][0], "label": "mine"}]},
        {"models": [{"name": "digits-mlp", "label": "mine"}]},
        {"measure_dense": True},
    ],
    ids=str,
)
def test_what_does_not_decide_a_result_does_not_change_a_cell(changes: dict):
    config = StudyConfig.parse(BASE | changes)
    assert sparse_key() in {cell.key for cell in cells_of(config)}


@pytest.mark.parametrize(
    "changes",
    [
        {"datasets": [{"name": "digits", "subset": 9}]},
        {"datasets": [{"name": "digits", "root": "somewhere"}]},
        {"models": ["digits-cnn"]},
        {"models": [{"name": "digits-mlp", "widths": [9]}]},
        {"pruners": ["grasp"]},
        {"pruners": ["snip"]},
        {"pruners": [{**BASE["pruners"][0], "temperature": 101.0}]},
        {"pruners": [{**BASE["pruners"][0], "stage": "trained"}]},
        {"pruners": [{**BASE["pruners"][0], "exclude": "5.*"}]},
        {"pruners": [{**BASE["pruners"][0], "allow_empty_layers": False}]},
        {"sparsities": [0.51]},
        {"seeds": [1]},
        {"recipe": {"name": "digits", "epochs": 4}},
        {"recipe": {"name": "digits", "epochs": 3, "learning_rate": 0.01}},
        {"encodings": ["rolled", "unrolled"]},
        {"encodings": [{"name": "multipartite", "label": "rolled"}]},
        {"encodings": [{"name": "rolled", "label": "other"}]},
        {"metrics": ["local"]},
    ],
    ids=str,
)
def test_whatever_decides_a_result_changes_the_cell(changes: dict):
    assert sparse_key(**changes) != sparse_key()


def test_options_decide_unless_they_are_the_defaults():
    plain, default, other = (
        sparse_key(encodings=[{"name": "multipartite", **options}])
        for options in ({}, {"skips": "all"}, {"skips": "projection"})
    )
    assert plain == default != other


def test_keys_are_those_of_studies_that_exist():
    config = {"datasets": ["cifar10"], "models": ["resnet20"], "pruners": ["magnitude"], "sparsities": [0.8]}
    assert [cell.key for cell in cells_of(StudyConfig.parse(config))] == ["0d3d3506279ea9db", "24d1b7e4d1d128f7"]


def test_cells_of_structured_pruners_that_left_less_than_they_may_have_other_keys():
    keys = {}
    for name in ("magnitude", "l1-filter"):
        config = {"datasets": ["cifar10"], "models": ["resnet20"], "pruners": [name], "sparsities": [0.8]}
        cell = cells_of(StudyConfig.parse(config))[-1]
        before = cell.decides()
        before["pruner"] = {key: value for key, value in before["pruner"].items() if key != "budget_met"}
        keys[name] = before == cell.decides()
    assert keys == {"magnitude": True, "l1-filter": False}


def test_settings_of_a_dataset_decide_whether_they_are_written_or_not():
    plain, written, other = (
        dense_key(datasets=[{"name": "digits", **settings}]) for settings in ({}, {"test": 899}, {"test": 360})
    )
    assert plain == written != other


def test_cells_whose_layers_have_another_density_now_have_other_keys():
    config = {
        "datasets": ["cifar10"], "models": ["resnet20"], "pruners": ["magnitude"], "sparsities": [0.8],
        "encodings": ["rolled"],
    }  # fmt: skip
    dense, sparse = (cell.key for cell in cells_of(StudyConfig.parse(config)))
    assert (dense, sparse != "d65575523de81b1c") == ("0d3d3506279ea9db", True)


def test_graphs_and_metrics_leave_baselines_alone_unless_those_are_measured():
    assert dense_key(metrics=["local"], encodings=["unrolled"]) == dense_key()
    assert dense_key(measure_dense=True) != dense_key()
    assert dense_key(measure_dense=True, metrics=["local"]) != dense_key(measure_dense=True)


def test_a_new_version_of_the_computation_changes_every_cell(monkeypatch: pytest.MonkeyPatch):
    before = sparse_key()
    monkeypatch.setattr(grid_module, "FORMAT", grid_module.FORMAT + 1)
    assert sparse_key() != before


@pytest.mark.slow
def test_keys_are_the_same_in_another_process_with_other_hashes(tmp_path: Path):
    code = (
        "from topo.study import StudyConfig; from topo.study.grid import cells_of; "
        f"print(cells_of(StudyConfig.parse({BASE!r}))[-1].key)"
    )
    assert run_fresh(code, folder=tmp_path).stdout.strip() == sparse_key()


def test_where_the_data_lies():
    def root(**changes: object) -> Path | None:
        return cells_of(StudyConfig.parse(BASE | changes))[0].dataset_root

    assert root() is None
    assert root(data_root="all") == Path("all/digits")
    assert root(data_root="all", datasets=[{"name": "digits", "root": "own"}]) == Path("own")


def test_the_study_of_real_images_has_as_many_networks_as_its_file_says():
    file = Path(__file__).parents[2] / "examples" / "cifar10_16px.yaml"
    assert f"{len(cells_of(StudyConfig.read(file)))} networks" in file.read_text()


def test_lists_of_cells_are_shown_in_one_line(tmp_path):
    study = Study(StudyConfig.parse(BASE | {"pruners": ["er", "snip"], "seeds": [0, 1, 2, 3, 4]}), tmp_path / "study")
    told = (
        "<15 networks, 5 of them dense: 1 dataset (digits), 1 model (digits-mlp), 2 pruners (er, snip), "
        "1 sparsity (0.5), 5 seeds (0, 1, 2, 3, ...)>"
    )
    assert repr(study.cells) == repr(study.plan) == told
    assert study.cells == cells_of(study.config) and repr(study.cells[-1]) == "<Cell digits digits-mlp snip 0.5 seed 4>"
    dense = [cell for cell in study.cells if cell.pruner is None]
    assert repr(grid_module.Networks(dense[:1])) == (
        "<1 network, 1 of them dense: 1 dataset (digits), 1 model (digits-mlp), 1 seed (0)>"
    )
    assert repr(grid_module.Networks([])) == "<0 networks>"
