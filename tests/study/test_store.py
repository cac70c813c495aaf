from __future__ import annotations

import errno
import json
import math
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd
import pytest

from topo.study import Study, StudyError
from topo.study import store as store_module
from topo.study.store import CellResult, Store


def result(status: str = "finished", **row: object) -> CellResult:
    history = pd.DataFrame({"epoch": [1]})
    return CellResult({"status": status, "reason": "", **row}, history=history, traceback="Traceback")


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
    assert {p.name for p in store.cell_folder(cell).iterdir()} == {"row.json", "history.parquet", "traceback.txt"}
    assert [p.name for p in store.cells.iterdir()] == [cell]


def test_the_first_finished_result_stays(study: Study):
    store, cell = study.store, study.cells[0].key
    assert store.save(cell, result(accuracy=0.5))
    assert not store.save(cell, result(accuracy=0.6))
    assert not store.save(cell, result("failed"))
    assert store.row(cell)["accuracy"] == 0.5
    assert [p.name for p in store.cells.iterdir()] == [cell]


def test_a_failed_or_damaged_cell_gives_way(study: Study):
    store, cell = study.store, study.cells[0].key
    assert store.save(cell, result("failed", accuracy=0.1)) and not store.is_done(cell)
    assert store.save(cell, result("failed", accuracy=0.2)) and store.row(cell)["accuracy"] == 0.2
    assert store.save(cell, result("collapsed", accuracy=0.3)) and store.is_done(cell)
    for text in ("", "{", "[]", '{"accuracy": 1}', "\x00"):
        store.row_file(cell).write_text(text)
        assert store.row(cell) is None
        assert store.save(cell, result(accuracy=0.4)) and store.row(cell)["accuracy"] == 0.4
    assert [p.name for p in store.cells.iterdir()] == [cell]


def test_many_writers_of_one_cell_leave_one_whole_result(study: Study):
    store, cell = study.store, study.cells[0].key
    store.save(cell, result("failed"))
    with ThreadPoolExecutor(8) as pool:
        results = [result("failed" if i % 3 == 0 else "finished", accuracy=i) for i in range(48)]
        kept = list(pool.map(lambda r: Store(study.folder).save(cell, r), results))
    winners = [r.row["accuracy"] for r, won in zip(results, kept) if won and r.row["status"] == "finished"]
    assert store.row(cell)["status"] == "finished" and store.row(cell)["accuracy"] in winners
    assert [p.name for p in store.cells.iterdir()] == [cell]


def test_what_killed_processes_left_is_cleared_away_and_what_live_ones_write_is_not(study: Study):
    store = study.store
    gone = os.spawnlp(os.P_NOWAIT, "true", "true")
    os.waitpid(gone, 0)
    host = os.uname().nodename
    for name in (f"abc.1.{host}.{gone}.part", f"abc.2.{host}.{os.getpid()}.part", f"abc.3.other.{gone}.part"):
        (store.cells / name).mkdir()
    study.prepare()
    assert sorted(p.name.split(".")[1] for p in store.cells.iterdir()) == ["2", "3"]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EACCES, errno.EROFS])
def test_a_full_disk_or_read_only_folder_is_one_sentence(study: Study, monkeypatch: pytest.MonkeyPatch, code: int):
    def refuse(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(store_module, "_write", refuse)
    with pytest.raises(StudyError, match=rf"cannot write the study in .* \({os.strerror(code)}\); finished") as caught:
        study.store.save(study.cells[0].key, result())
    assert "\n" not in str(caught.value)
    assert list(study.store.cells.iterdir()) == []


def test_a_full_disk_while_masks_are_written(study: Study, monkeypatch: pytest.MonkeyPatch):
    import torch

    from topo import Masks
    from topo import safe_files as arrays

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(arrays, "save_file", refuse)
    full = result()
    full.masks = Masks({"weight": torch.ones(2, 2, dtype=torch.bool)})
    with pytest.raises(StudyError, match="cannot write the study in"):
        study.store.save(study.cells[0].key, full)
    assert list(study.store.cells.iterdir()) == []


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
    text = study.store.row_file(study.cells[0].key).read_text()
    assert json.loads(text, parse_constant=pytest.fail)["accuracy"] is None
