"""A study on disk: one folder a cell, whole or not there; the table gathered from them. All its paths are here."""

from __future__ import annotations

import errno
import json
import math
import os
import shutil
import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from torch import nn

from ..checkpoint import save_checkpoint
from ..errors import InputError
from ..features.registry import metric_facts
from ..masks import Masks
from ..own_code import is_file_name
from ..safe_files import replacing
from .config import NOT_IN_TABLE, StudyConfig
from .grid import Planned
from .layer_metrics import write_layer_metrics
from .trajectory import MaskTrajectory

__all__ = ["CellResult", "LastRun", "Store", "StudyError"]

FAILED = "failed"
MISSING = "missing"
# Columns of every results table, which no metric may be called.
RESERVED = frozenset(
    (
        *("dataset", "model", "pruner", "family", "sparsity", "seed", "status", "reason", "accuracy", "loss", "cell"),
        *("dense_accuracy", "accuracy_drop", "reached_sparsity", "kept_weights", "total_weights", "device", "study"),
        *("layer_density_min", "layer_density_max", "compact_parameters", "compact_macs", "seconds", "undefined"),
        *("classes", "test_samples", "chance", "perplexity"),
    )
)
TEXT = {"dataset", "model", "pruner", "family", "status", "reason", "undefined", "device", "cell"}


class StudyError(InputError):
    """The study cannot go on; what is finished is kept."""


@dataclass
class CellResult:
    """What became of a cell: its row and what is kept beside it.

    `row` holds ``status`` (``"finished"``, ``"collapsed"``: no kept weight connects the input to the output,
    ``"diverged"`` or ``"failed"``), the ``reason``, which also names empty layers that others bypass, and whatever was
    measured. `layers` holds what was measured of single layers, a table for each encoding.
    """

    row: dict[str, Any]
    masks: Masks | None = None
    history: pd.DataFrame | None = None
    weights: nn.Module | None = None
    traceback: str | None = None
    trajectory: MaskTrajectory | None = None
    layers: dict[str, pd.DataFrame] = field(default_factory=dict)


class LastRun(NamedTuple):
    """What the folder of a study says of its last run: the cells, and in words what has changed since."""

    cells: list[Planned]
    changed: str


class Store:
    """The folder of a study.

    A cell is written to a folder of its own beside its final name and renamed when whole, so that at every moment
    a cell is there entirely or not at all, whoever else writes. Failed cells give way to newer results; others
    stay: the second of two processes that computed the same cell discards its copy.

    Parameters
    ----------
    folder
        The study's folder, which need not exist yet.

    Notes
    -----
    Methods that take a `key` take that of a cell, as in the column ``cell`` of the results.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.cells = self.folder / "cells"
        self.config_file = self.folder / "study.yaml"
        self.table_file = self.folder / "results.parquet"
        self.plan_file = self.folder / "plan.json"
        self.imports = self.folder / "imports"
        self.controls = self.folder / "controls"

    def cell_folder(self, key: str) -> Path:
        """The folder of the cell with that key.

        Parameters
        ----------
        key
            Key of the cell.

        Returns
        -------
        Path
            It need not exist.
        """
        return self.cells / key

    def row_file(self, key: str) -> Path:
        """What the results say of a cell."""
        return self.cells / key / "row.json"

    def masks_file(self, key: str) -> Path:
        """The masks that a cell ended with."""
        return self.cells / key / "masks.safetensors"

    def weights_file(self, key: str) -> Path:
        """The trained weights of a cell."""
        return self.cells / key / "weights.safetensors"

    def trajectory_file(self, key: str) -> Path:
        """The masks of a cell over its training."""
        return self.cells / key / "trajectory.safetensors"

    def history_file(self, key: str) -> Path:
        """The training history of a cell."""
        return self.cells / key / "history.parquet"

    def layers_file(self, key: str) -> Path:
        """What was measured of a cell's layers."""
        return self.cells / key / "layers.json"

    def traceback_file(self, key: str) -> Path:
        """Where the error arose that made a cell fail."""
        return self.cells / key / "traceback.txt"

    def import_source(self, source: str) -> str:
        """What to import for an entry of ``imports``: the copy of a file that the study keeps, or the module named.

        Parameters
        ----------
        source
            Path of a Python file, or name of a module.

        Returns
        -------
        str
            Path or name.
        """
        return str((self.imports / Path(source).name).resolve()) if is_file_name(source) else source

    def prepare(self, config: StudyConfig, plan: Iterable[Planned]) -> None:
        """Make the folder; record in it the study file, its own code and its plan; clear away what killed runs left.

        Parameters
        ----------
        config
            The study.
        plan
            Its cells.

        Raises
        ------
        StudyError
            When the folder cannot be written.
        """
        cells = [{"cell": key, **identity} for key, identity in plan]
        plan_text = json.dumps({"config": config.digest(), "code": config.code(), "cells": cells}, indent=1)
        with _reported(self.folder):
            self.cells.mkdir(parents=True, exist_ok=True)
            for source in filter(is_file_name, config.imports):
                _write_text(Path(self.import_source(source)), Path(source).read_text(encoding="utf-8"))
            kept = [f"imports/{Path(s).name}" if is_file_name(s) else s for s in config.imports]
            _write_text(self.config_file, config.model_copy(update={"imports": tuple(kept)}).to_yaml())
            _write_text(self.plan_file, plan_text)
            for leftover in self.cells.glob(f"*.{socket.gethostname()}.*.part"):
                if not _alive(int(leftover.name.split(".")[-2])):
                    shutil.rmtree(leftover, ignore_errors=True)

    def plan(self, config: StudyConfig) -> list[Planned] | None:
        """The cells of the last run, where it was one of this config; its names and own code need not be there now.

        Parameters
        ----------
        config
            The study.

        Returns
        -------
        list or None
            Of `Planned`; None where the last run was of another config.
        """
        digest, code, cells = self._recorded_plan()
        return cells if digest == config.digest(code) else None

    def last_run(self, config: StudyConfig) -> LastRun:
        """The cells of the last run, and what has changed in the study file and its own code since.

        Parameters
        ----------
        config
            The study.
        """
        cells = self._recorded_plan()[2]
        files = [Path(source) for source in config.imports if is_file_name(source) and Path(source).is_file()]
        kept = {file: Path(self.import_source(str(file))) for file in files}
        changed = [
            file.name for file, copy in kept.items() if copy.is_file() and copy.read_bytes() != file.read_bytes()
        ]
        try:
            before = StudyConfig.read(self.config_file, check=False)
        except InputError:
            before = config
        if before.model_dump(exclude=NOT_IN_TABLE) != config.model_dump(exclude=NOT_IN_TABLE):
            changed.append("the settings of the study")
        return LastRun(cells, " and ".join(changed) or "own code that the study uses, or topo itself,")

    def _recorded_plan(self) -> tuple[str, dict[str, str], list[Planned]]:
        """Digest of the config, hashes of the own code and the cells of the last run; nothing where there is none."""
        try:
            data = json.loads(self.plan_file.read_text(encoding="utf-8"))
            cells = [Planned(identity.pop("cell"), identity) for identity in data["cells"]]
            return data["config"], dict(data["code"]), cells
        except (OSError, ValueError, KeyError, TypeError):
            return "", {}, []

    def row(self, key: str) -> dict[str, Any] | None:
        """The row of a cell, or None where there is none or it is damaged.

        Parameters
        ----------
        key
            Key of the cell.

        Returns
        -------
        dict or None
            Column -> value.
        """
        try:
            row = json.loads(self.row_file(key).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return row if isinstance(row, dict) and "status" in row else None

    def is_done(self, key: str) -> bool:
        """Whether the cell has a result that stays: anything but missing, damaged or failed.

        Parameters
        ----------
        key
            Key of the cell.

        Returns
        -------
        bool
            False for a cell that has not run.
        """
        row = self.row(key)
        return row is not None and row["status"] != FAILED

    def save(self, key: str, result: CellResult) -> bool:
        """Write a cell; False when another process was first, whose result then stays.

        Parameters
        ----------
        key
            Key of the cell.
        result
            What it gave.

        Returns
        -------
        bool
            Whether it was written.

        Raises
        ------
        StudyError
            When the folder cannot be written.
        """
        part = self._part(key)
        with _reported(self.folder):
            try:
                self.cell_folder(part).mkdir(parents=True)
                _write(self, part, result)
                return self._put(part, key)
            finally:
                shutil.rmtree(self.cell_folder(part), ignore_errors=True)

    def gather(self, plan: Iterable[Planned]) -> pd.DataFrame:
        """One row a cell that has a result, in the order given; rows of baselines join those of their networks.

        Parameters
        ----------
        plan
            The cells of the table.

        Returns
        -------
        DataFrame
            The results table.
        """
        rows = []
        for key, identity in plan:
            row = self.row(key)
            if row is not None:
                rows.append({**identity, **row, "cell": key})
        return _table(rows)

    def write_table(self, table: pd.DataFrame) -> Path:
        """Write ``results.parquet``, whole or not at all.

        Parameters
        ----------
        table
            What `gather` returned.

        Returns
        -------
        Path
            The file.
        """
        with _reported(self.folder), replacing(self.table_file) as name:
            # What each metric is travels with the table: whoever reads it may not have registered them.
            table.attrs["metrics"] = metric_facts()
            table.to_parquet(name, index=False)
        return self.table_file

    def recorded_metrics(self) -> dict[str, Any]:
        """What ``results.parquet`` says of its metrics; nothing when there is none or it can not be read."""
        try:
            return pd.read_parquet(self.table_file, columns=[]).attrs.get("metrics", {})
        except (OSError, ValueError):
            return {}

    def _part(self, key: str) -> str:
        """A key of this process alone, under which a cell is written before it has its own."""
        return f"{key}.{os.urandom(4).hex()}.{socket.gethostname()}.{os.getpid()}.part"

    def _put(self, part: str, key: str) -> bool:
        """Rename the folder of `part` to that of `key`, moving a failed or damaged cell out of the way."""
        final = self.cell_folder(key)
        while True:
            try:
                self.cell_folder(part).rename(final)
                return True
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise
            if self.is_done(key):
                return False
            aside = self._part(key)
            try:
                final.rename(self.cell_folder(aside))
                if self.is_done(aside):  # another process replaced the failed cell in between
                    self.cell_folder(aside).rename(final)
                    return False
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOENT):
                    raise
            finally:
                shutil.rmtree(self.cell_folder(aside), ignore_errors=True)


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


def _write(store: Store, key: str, result: CellResult) -> None:
    if result.masks is not None:
        result.masks.save(store.masks_file(key))
    if result.weights is not None:
        save_checkpoint(result.weights, store.weights_file(key))
    if result.trajectory is not None:
        result.trajectory.save(store.trajectory_file(key))
    if result.history is not None:
        result.history.to_parquet(store.history_file(key), index=False)
    if result.traceback is not None:
        store.traceback_file(key).write_text(result.traceback, encoding="utf-8")
    write_layer_metrics(store.layers_file(key), result.layers)
    row = {name: None if isinstance(v, float) and math.isnan(v) else v for name, v in result.row.items()}
    store.row_file(key).write_text(json.dumps(row, indent=1), encoding="utf-8")


def _write_text(path: Path, text: str) -> None:
    """Write a file unless it holds that text already."""
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        with replacing(path) as name:
            Path(name).write_text(text, encoding="utf-8")


def _table(rows: list[dict[str, Any]]) -> pd.DataFrame:
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
