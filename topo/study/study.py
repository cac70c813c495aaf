"""A study: what to run, and the folder of what came out."""

from __future__ import annotations

from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from torch import nn

from ..checkpoint import load_checkpoint
from ..encoding import LayerGraphs, MultipartiteGraph, encode
from ..errors import InputError, unknown_name
from ..masks import Masks
from .computation import build_model, load_data
from .config import StudyConfig
from .grid import Cell, cells_of
from .run import run_cells
from .store import MISSING, Store, StudyError
from .trajectory import MaskTrajectory

__all__ = ["Study"]


@dataclass(frozen=True)
class Study:
    """A checked config and a folder; the folder need not exist before the first run.

    Examples
    --------
    >>> import tempfile
    >>> config = StudyConfig.parse({
    ...     "datasets": [{"name": "digits", "subset": 5}], "models": ["digits-mlp"], "pruners": ["er"],
    ...     "sparsities": [0.5], "recipe": {"name": "digits", "epochs": 1}, "metrics": ["local"]})
    >>> study = Study(config, tempfile.mkdtemp())
    >>> study.status()["status"].tolist()
    ['missing', 'missing']
    """

    config: StudyConfig
    folder: Path

    def __post_init__(self) -> None:
        object.__setattr__(self, "folder", Path(self.folder))

    @classmethod
    def read(cls, file: str | Path, folder: str | Path | None = None, **overrides: Any) -> Study:
        """The study of a YAML file, in ``studies/<name>`` unless `folder` is given; `overrides` replace keys."""
        config = StudyConfig.read(file, **overrides)
        return cls(config, Path("studies") / config.name if folder is None else Path(folder))

    @classmethod
    def load(cls, folder: str | Path, **overrides: Any) -> Study:
        """The study that a folder holds; `overrides` replace keys of its study file.

        Raises
        ------
        InputError
            When it holds none.
        """
        file = Path(folder) / "study.yaml"
        if not file.is_file():
            raise InputError(f"{folder} is not the folder of a study (it has no study.yaml).")
        return cls(StudyConfig.read(file, **overrides), Path(folder))

    @property
    def store(self) -> Store:
        return Store(self.folder)

    @property
    def cells(self) -> list[Cell]:
        """All cells, the dense baselines first."""
        return cells_of(self.config)

    def run(
        self,
        *,
        executor: Executor | None = None,
        workers: int | None = None,
        device: str | None = None,
        progress: bool | None = None,
    ) -> pd.DataFrame:
        """Compute every cell that has no result yet, gather ``results.parquet`` and return it.

        Parameters
        ----------
        executor
            Any executor; its workers need this package and the study's folder. A process pool unless given.
        workers, device
            In place of those of the study file.
        progress
            Show a progress bar; by default on a terminal. Elsewhere each finished cell is one line of the log.

        Raises
        ------
        InputError
            When a dataset or model cannot be had at all.
        StudyError
            When the folder cannot be written.
        KeyboardInterrupt
            On Ctrl-C; what is finished is kept and gathered.
        """
        self.store.prepare(self.config.to_yaml())
        cells = self.cells
        baselines = {cell.key: cell.dense(self.config) for cell in cells}
        try:
            run_cells(
                cells,
                baselines,
                self.store,
                executor=executor,
                workers=workers or self.config.workers,
                device=device or self.config.device,
                progress=progress,
            )
        except BaseException:
            with suppress(StudyError):
                self.store.write_table(self.store.gather(cells))
            raise
        table = self.store.gather(cells)
        self.store.write_table(table)
        return table

    def results(self) -> pd.DataFrame:
        """One row per network that has a result, dense baselines included; the columns are those of the README.

        Raises
        ------
        InputError
            When nothing has been computed yet.
        """
        if self.store.cells.is_dir():
            table = self.store.gather(self.cells)
        elif self.store.table_file.is_file():
            table = pd.read_parquet(self.store.table_file)
        else:
            table = pd.DataFrame()
        if table.empty:
            raise InputError(f"{self.folder} has no results yet; run topo study run {self.folder}.")
        return table

    def status(self) -> pd.DataFrame:
        """One row per cell: which network, status (``"missing"`` before it has run), reason, accuracy, seconds."""
        rows = []
        for cell in self.cells:
            row = self.store.row(cell) or {"status": MISSING, "reason": ""}
            facts = {name: row.get(name) for name in ("status", "reason", "accuracy", "seconds")}
            rows.append({**cell.identity, **facts, "cell": cell.key})
        return pd.DataFrame(rows).astype({"accuracy": float, "seconds": float})

    def cell(self, key: str) -> Cell:
        """The cell of that key, as in the column ``cell`` of the results."""
        cells = {cell.key: cell for cell in self.cells}
        if key not in cells:
            raise unknown_name("cell", key, cells)
        return cells[key]

    def masks(self, key: str) -> Masks:
        """The masks of a sparse network, by the key of its cell."""
        return Masks.load(self.store.path(self.cell(key)) / "masks.safetensors")

    def trajectory(self, key: str) -> MaskTrajectory:
        """The masks of a sparse network over its training, of a study with ``save_trajectory: true``."""
        file = self.store.path(self.cell(key)) / "trajectory.safetensors"
        if not file.is_file():
            raise InputError(f"cell {key} has no trajectory of masks; compute it with save_trajectory: true.")
        return MaskTrajectory.load(file)

    def history(self, key: str) -> pd.DataFrame:
        """The training history of a network: one row an epoch."""
        file = self.store.path(self.cell(key)) / "history.parquet"
        if not file.is_file():
            raise InputError(f"cell {key} has no training history; it has not run, or it failed.")
        return pd.read_parquet(file)

    def model(self, key: str) -> nn.Module:
        """A network of the study: its trained weights where they were saved, else its initial ones, masked."""
        cell = self.cell(key)
        model = build_model(cell, load_data(cell))
        weights = self.store.path(cell) / "weights.safetensors"
        if weights.is_file():
            return load_checkpoint(model, weights)
        return model if cell.pruner is None else self.masks(key).apply(model)

    def graph(self, key: str, encoding: str = "multipartite", **options: Any) -> MultipartiteGraph | LayerGraphs:
        """The graph of a network of the study; its weights are those of `model`."""
        cell = self.cell(key)
        shape = load_data(cell).input_shape
        masks = None if cell.pruner is None else self.masks(key)
        return encode(self.model(key), masks, input_shape=shape, encoding=encoding, **options)
