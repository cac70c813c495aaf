"""What stands in the place of a study's files and is none: it is named, and nobody waits for it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from topo.errors import InputError
from topo.study import Study, StudyConfig


def put_pipe(path: Path) -> None:
    os.mkfifo(path)


def put_device(path: Path) -> None:
    path.symlink_to("/dev/zero")


@pytest.mark.parametrize("put", [put_pipe, put_device])
def test_pipes_and_devices(put, tmp_path: Path):
    study = Study(StudyConfig.parse({"models": "digits-mlp", "pruners": "er", "sparsities": 0.5}), tmp_path / "s")
    study.prepare()
    put(study.store.table_file)
    assert study.store.recorded_metrics() == {}
    with pytest.raises(InputError, match=r"results\.parquet cannot be read"):
        study.store.read_table()
    study.store.plan_file.unlink()
    put(study.store.plan_file)
    with pytest.raises(InputError, match=r"plan\.json is no file"):
        study.status()
    study.store.config_file.unlink()
    put(study.store.config_file)
    with pytest.raises(InputError, match="is not the folder of a study"):
        Study.load(study.folder)
