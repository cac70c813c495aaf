"""What stands in the place of a study's files and is none: it is named, and nobody waits for it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import topo
from topo.errors import InputError
from topo.features.mask_files import _digest
from topo.report import write_report
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
    with pytest.raises(InputError, match=r"study\.yaml is no file but"):
        Study.load(study.folder)


@pytest.mark.parametrize("put", [put_pipe, put_device])
def test_a_pipe_or_device_among_files_of_masks_is_not_waited_for(put, tmp_path: Path):
    put(tmp_path / "a.safetensors")
    assert _digest(tmp_path / "a.safetensors").startswith("unread-")
    with pytest.raises(InputError, match=r"a\.safetensors is no file"):
        topo.Masks.load(tmp_path / "a.safetensors")


def test_a_report_without_room_for_temporary_files_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def full(*args, **options):
        raise FileNotFoundError(2, "No usable temporary directory found")

    monkeypatch.setattr("topo.report.page.tempfile.TemporaryDirectory", full)
    with pytest.raises(InputError, match=r"No usable temporary directory found.*set TMPDIR"):
        write_report(topo.results.example_results(), tmp_path / "r.html", questions=[])
