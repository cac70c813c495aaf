from __future__ import annotations

import errno
import json
import math
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd
import pytest
import torch

from topo import Masks
from topo.study import Study, StudyError
from topo.study import store as store_module
from topo.study.store import CellResult, Store


def result(status: str = "finished", masks: bool = True, **row: object) -> CellResult:
    history = pd.DataFrame({"epoch": [1, 2], "loss": [0.1, math.nan]})
    found = Masks({"weight": torch.eye(2, dtype=torch.bool)}) if masks and status != "failed" else None
    traceback = "Traceback" if status == "failed" else None
    return CellResult({"status": status, "reason": "", **row}, found, history=history, traceback=traceback)


def files(study: Study) -> set[str]:
    """The files of cells, and any other that is not always there."""
    usual = {"study.yaml", "plan.json"}
    names = {str(file.relative_to(study.folder)) for file in study.folder.rglob("*") if file.is_file()}
    return {name for name in names - usual if not name.startswith("records/")}


@pytest.fixture
def study(tiny) -> Study:
    study = tiny()
    study.prepare()
    return study


def test_a_cell_is_written_whole_and_read_back(study: Study):
    store, cell = study.store, study.cells[0].key
    assert store.row(cell) is None and not store.is_done(cell)
    assert store.save(cell, result(accuracy=0.5, loss=math.nan))
    assert store.row(cell) == {"status": "finished", "reason": "", "accuracy": 0.5, "loss": None}
    pd.testing.assert_frame_equal(study.history(cell), result().history)
    assert study.masks(cell) == result().masks
    assert files(study) == {f"masks/{cell}.safetensors"} and len(list(store.records.iterdir())) == 1


def test_the_first_finished_result_stays(study: Study):
    store, cell = study.store, study.cells[0].key
    assert store.save(cell, result(accuracy=0.5))
    assert not store.save(cell, result(accuracy=0.6))
    assert not store.save(cell, result("failed"))
    assert store.row(cell)["accuracy"] == 0.5 and files(study) == {f"masks/{cell}.safetensors"}


def test_a_failed_cell_gives_way(study: Study):
    store, cell = study.store, study.cells[0].key
    assert store.save(cell, result("failed", accuracy=0.1)) and not store.is_done(cell)
    assert store.save(cell, result("failed", accuracy=0.2)) and store.row(cell)["accuracy"] == 0.2
    assert store.traceback_file(cell).read_text() == "Traceback"
    assert store.save(cell, result("collapsed", accuracy=0.3)) and store.is_done(cell)
    assert store.row(cell)["accuracy"] == 0.3 and files(study) == {f"masks/{cell}.safetensors"}


def test_many_writers_of_one_cell_leave_one_whole_result(study: Study):
    store, cell = study.store, study.cells[0].key
    store.save(cell, result("failed"))
    with ThreadPoolExecutor(8) as pool:
        results = [result("failed" if i % 3 == 0 else "finished", accuracy=i) for i in range(48)]
        kept = list(pool.map(lambda r: Store(study.folder).save(cell, r), results))
    winners = [r.row["accuracy"] for r, won in zip(results, kept) if won and r.row["status"] == "finished"]
    assert winners == [store.row(cell)["accuracy"]] and store.is_done(cell)
    assert files(study) == {f"masks/{cell}.safetensors"}


def test_what_killed_processes_left_is_cleared_away_and_what_live_ones_write_is_not(study: Study):
    gone = os.spawnlp(os.P_NOWAIT, "true", "true")
    os.waitpid(gone, 0)
    host, folder = os.uname().nodename, study.folder / "masks"
    folder.mkdir()
    parts = (f".a.1.{host}.{gone}", f".a.2.{host}.{os.getpid()}", f".a.3.other.{gone}", f".a.4.{host}.x", f".{9**99}")
    for name in (*parts, ".part", f".a.5.{host}.{10**30}"):
        (folder / f"{name}.part.safetensors").touch()
    study.prepare()
    assert len(list(folder.iterdir())) == 6 and not (folder / f"{parts[0]}.part.safetensors").exists()


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EACCES, errno.EROFS])
def test_a_full_disk_or_read_only_folder_is_one_sentence(study: Study, monkeypatch: pytest.MonkeyPatch, code: int):
    def refuse(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(store_module, "_written", refuse)
    with pytest.raises(StudyError, match=rf"cannot write the study in .* \({os.strerror(code)}\); finished") as caught:
        study.store.save(study.cells[0].key, result())
    assert "\n" not in str(caught.value)
    assert files(study) == set()


def test_a_full_disk_while_masks_are_written(study: Study, monkeypatch: pytest.MonkeyPatch):
    from topo import safe_files as arrays

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(arrays, "save_file", refuse)
    with pytest.raises(StudyError, match="cannot write the study in"):
        study.store.save(study.cells[0].key, result())
    assert files(study) == set() and not study.store.is_done(study.cells[0].key)


def test_a_folder_that_cannot_be_made(tmp_path: Path, tiny):
    (tmp_path / "file").write_text("")
    with pytest.raises(StudyError, match="Not a directory"):
        Study(tiny().config, tmp_path / "file" / "study").run()


def test_the_table_has_a_row_a_cell_and_the_baseline_of_each(study: Study):
    store, cells = study.store, study.cells
    for index, cell in enumerate(cells):
        if cell.pruner is None:
            store.save(cell.key, result(accuracy=0.9, loss=0.1))
        elif index % 2:
            store.save(cell.key, result("diverged", accuracy=math.nan, undefined="a: b"))
        else:
            store.save(cell.key, result(accuracy=0.6, loss=0.4, sink_nodes=3.0))
    table = store.gather(study.plan)
    assert list(table.columns[:11]) == [
        "dataset", "model", "pruner", "family", "sparsity", "seed", "status", "reason", "accuracy", "loss",
        "dense_accuracy",
    ]  # fmt: skip
    assert len(table) == len(cells) and set(table["dense_accuracy"]) == {0.9}
    sparse = table[table["pruner"] != "dense"]
    assert sparse["accuracy_drop"].dropna().tolist() == pytest.approx([0.3, 0.3])
    assert sparse["accuracy"].isna().sum() == 2 and (sparse["undefined"] == "a: b").sum() == 2
    assert table["sink_nodes"].dtype == float
    pd.testing.assert_frame_equal(pd.read_parquet(store.write_table(table)), table)


def test_a_table_of_nothing_but_failures_can_be_written(study: Study):
    for cell in study.cells:
        study.store.save(cell.key, CellResult({"status": "failed", "reason": "no"}))
    table = study.store.gather(study.plan)
    assert table["accuracy"].isna().all() and len(pd.read_parquet(study.store.write_table(table))) == len(table)


def test_rows_are_plain_json(study: Study):
    study.store.save(study.cells[0].key, result(accuracy=math.nan))
    (journal,) = study.store.records.iterdir()
    parts = journal.read_text().splitlines()[-1].split("\t")[4:]
    head, row, more = (json.loads(part, parse_constant=pytest.fail) for part in parts)
    assert row["accuracy"] is None and head["accuracy"] is None and more["history"]["loss"][1] == [0.1, None]
