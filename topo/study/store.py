"""A study on disk: one folder a cell, whole or not there; the table gathered from them."""

from __future__ import annotations

import errno
import json
import math
import os
import shutil
import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from torch import nn

from ..checkpoint import save_checkpoint
from ..errors import InputError
from ..masks import Masks
from ..safe_files import replacing
from .grid import Cell
from .trajectory import MaskTrajectory

__all__ = ["CellResult", "Store", "StudyError"]

FAILED = "failed"
MISSING = "missing"
TEXT = {"dataset", "model", "pruner", "family", "status", "reason", "undefined", "device", "cell"}


class StudyError(InputError):
    """The study cannot go on; what is finished is kept."""


@dataclass
class CellResult:
    """What became of a cell: its row and what is kept beside it.

    `row` holds ``status`` (``"finished"``, ``"collapsed"``: no kept weight connects the input to the output,
    ``"diverged"`` or ``"failed"``), the ``reason``, which also names empty layers that others bypass, and whatever was
    measured.
    """

    row: dict[str, Any]
    masks: Masks | None = None
    history: pd.DataFrame | None = None
    weights: nn.Module | None = None
    traceback: str | None = None
    trajectory: MaskTrajectory | None = None


class Store:
    """The folder of a study.

    A cell is written to a folder of its own beside its final name and renamed when whole, so that at every moment
    a cell is there entirely or not at all, whoever else writes. Failed cells give way to newer results; others
    stay: the second of two processes that computed the same cell discards its copy.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.cells = self.folder / "cells"

    @property
    def config_file(self) -> Path:
        return self.folder / "study.yaml"

    @property
    def table_file(self) -> Path:
        return self.folder / "results.parquet"

    def path(self, cell: Cell) -> Path:
        """The folder of a finished cell."""
        return self.cells / cell.key

    def prepare(self, config_text: str) -> None:
        """Make the folder, record the study file in it and clear away what killed runs left half written."""
        with _reported(self.folder):
            self.cells.mkdir(parents=True, exist_ok=True)
            if not self.config_file.is_file() or self.config_file.read_text(encoding="utf-8") != config_text:
                with replacing(self.config_file) as name:
                    Path(name).write_text(config_text, encoding="utf-8")
            for leftover in self.cells.glob(f"*.{socket.gethostname()}.*.part"):
                if not _alive(int(leftover.name.split(".")[-2])):
                    shutil.rmtree(leftover, ignore_errors=True)

    def row(self, cell: Cell) -> dict[str, Any] | None:
        """The row of a cell, or None where there is none or it is damaged."""
        return self._row(self.path(cell))

    def is_done(self, cell: Cell) -> bool:
        """Whether the cell has a result that stays: anything but missing, damaged or failed."""
        return self._stays(self.path(cell))

    def save(self, cell: Cell, result: CellResult) -> bool:
        """Write a cell; False when another process was first, whose result then stays.

        Raises
        ------
        StudyError
            When the folder cannot be written.
        """
        final = self.path(cell)
        part = self._part(cell.key)
        with _reported(self.folder):
            try:
                part.mkdir(parents=True)
                _write(part, result)
                return self._put(part, final)
            finally:
                shutil.rmtree(part, ignore_errors=True)

    def gather(self, cells: Iterable[Cell]) -> pd.DataFrame:
        """One row a cell that has a result, in the order given; rows of baselines join those of their networks."""
        rows = []
        for cell in cells:
            row = self.row(cell)
            if row is not None:
                rows.append({**cell.identity, **row, "cell": cell.key})
        return _tidied(rows)

    def write_table(self, table: pd.DataFrame) -> Path:
        """Write ``results.parquet``, whole or not at all."""
        with _reported(self.folder), replacing(self.table_file) as name:
            table.to_parquet(name, index=False)
        return self.table_file

    def _part(self, key: str) -> Path:
        unique = os.urandom(4).hex()
        return self.cells / f"{key}.{unique}.{socket.gethostname()}.{os.getpid()}.part"

    def _row(self, folder: Path) -> dict[str, Any] | None:
        try:
            row = json.loads((folder / "row.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return row if isinstance(row, dict) and "status" in row else None

    def _put(self, part: Path, final: Path) -> bool:
        """Rename `part` to `final`, moving a failed or damaged cell out of the way."""
        while True:
            try:
                part.rename(final)
                return True
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise
            if self._stays(final):
                return False
            old = self._part(final.name)
            try:
                final.rename(old)
                if self._stays(old):  # another process replaced the failed cell in between
                    old.rename(final)
                    return False
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOENT):
                    raise
            finally:
                shutil.rmtree(old, ignore_errors=True)

    def _stays(self, folder: Path) -> bool:
        row = self._row(folder)
        return row is not None and row["status"] != FAILED


@contextmanager
def _reported(folder: Path) -> Iterator[None]:
    """Turn a refusal to write into one sentence."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
    except InputError as error:
        reason = str(error.__cause__ or error).rstrip(".")
    else:
        return
    raise StudyError(
        f"cannot write the study in {folder} ({reason}); finished cells are kept, so make room or choose a "
        "writable folder and run again."
    )


def _write(folder: Path, result: CellResult) -> None:
    if result.masks is not None:
        result.masks.save(folder / "masks.safetensors")
    if result.weights is not None:
        save_checkpoint(result.weights, folder / "weights.safetensors")
    if result.trajectory is not None:
        result.trajectory.save(folder / "trajectory.safetensors")
    if result.history is not None:
        result.history.to_parquet(folder / "history.parquet", index=False)
    if result.traceback is not None:
        (folder / "traceback.txt").write_text(result.traceback, encoding="utf-8")
    row = {key: None if isinstance(v, float) and math.isnan(v) else v for key, v in result.row.items()}
    (folder / "row.json").write_text(json.dumps(row, indent=1), encoding="utf-8")


def _tidied(rows: list[dict[str, Any]]) -> pd.DataFrame:
    first = ["dataset", "model", "pruner", "family", "sparsity", "seed", "status", "reason", "accuracy", "loss"]
    table = pd.DataFrame(rows)
    for name in (*first, "cell", "undefined"):
        if name not in table.columns:
            table[name] = "" if name in TEXT else math.nan
    for name in table.columns:
        if name in TEXT:
            table[name] = table[name].fillna("").astype(str)
        elif table[name].dtype == object:
            table[name] = pd.to_numeric(table[name])
    return _with_baselines(table[[*first, *(c for c in table.columns if c not in first)]])


def _with_baselines(table: pd.DataFrame) -> pd.DataFrame:
    """Add `dense_accuracy` and `accuracy_drop` from the baseline of the same dataset, model and seed."""
    keys = ["dataset", "model", "seed"]
    baselines = table.loc[table["pruner"] == "dense", [*keys, "accuracy"]].rename(
        columns={"accuracy": "dense_accuracy"}
    )
    joined = table.merge(baselines, on=keys, how="left")
    at = joined.columns.get_loc("loss") + 1
    joined.insert(at, "dense_accuracy", joined.pop("dense_accuracy"))
    joined.insert(at + 1, "accuracy_drop", joined["dense_accuracy"] - joined["accuracy"])
    return joined


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
