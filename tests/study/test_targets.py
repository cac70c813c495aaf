from __future__ import annotations

import pytest

from topo.errors import InputError
from topo.study import StudyConfig
from topo.study.computation import compute
from topo.study.grid import cells_of
from topo.training import TARGETS

BASE = {
    "datasets": [{"name": "digits", "subset": 10}],
    "models": ["digits-mlp"],
    "pruners": ["er"],
    "sparsities": [0.5],
    "recipe": {"name": "digits", "epochs": 2},
    "encodings": [],
}


def test_targets_are_columns_and_change_nothing_else():
    asked = StudyConfig.parse(BASE | {"targets": ["calibration", {"name": "convergence", "share": 0.5}, "corruption"]})
    plain = StudyConfig.parse(BASE)
    keys = [[cell.key for cell in cells_of(config)] for config in (plain, asked)]
    assert not set(keys[0]) & set(keys[1])
    assert plain.digest() != asked.digest() and "targets" not in plain.to_yaml()
    assert StudyConfig.parse(BASE | {"targets": []}).digest() == plain.digest()
    rows = [compute(cells_of(config)[-1], "cpu").row for config in (plain, asked)]
    added = {"calibration_error", "epochs_to_share", "accuracy_noise", "accuracy_blur", "accuracy_contrast"}
    assert rows[1].keys() - rows[0].keys() == added | {"seconds_targets"}
    assert all(rows[0][name] == rows[1][name] for name in rows[0] if not name.startswith("seconds"))
    assert set(TARGETS) == {"calibration", "corruption", "convergence"}


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        (["calibraton"], "did you mean 'calibration'"),
        ([{"name": "corruption", "blur": 1}], "unknown setting of target 'corruption' 'blur'"),
    ],
)
def test_unknown_targets(targets, message):
    with pytest.raises(InputError, match=message):
        StudyConfig.parse(BASE | {"targets": targets})
