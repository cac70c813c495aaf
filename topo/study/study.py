"""A study: what to run, and the folder of what came out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd
from torch import nn

from ..checkpoint import load_checkpoint
from ..datasets import Dataset
from ..encoding import LayerGraphs, MultipartiteGraph, encode
from ..errors import InputError, nearest
from ..masks import Masks
from ..own_code import import_code, is_file_name
from .computation import build_model, example_of, load_data
from .config import StudyConfig
from .grid import Cell, Planned, cells_of
from .run import run_cells
from .store import MISSING, Store, StudyError
from .trajectory import MaskTrajectory

__all__ = ["Study"]

T = TypeVar("T")


@dataclass(frozen=True)
class Study:
    """A checked config and a folder; the folder need not exist before the first run.

    Parameters
    ----------
    config
        What to compute.
    folder
        Where it is kept.

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
        """The study of a YAML file, in ``studies/<name>`` unless `folder` is given; `overrides` replace keys.

        Parameters
        ----------
        file
            The YAML file.
        folder
            The study's folder.
        overrides
            Key of the file -> another value.

        Returns
        -------
        Study
            Not run yet.
        """
        config = StudyConfig.read(file, **overrides)
        return cls(config, Path("studies") / config.name if folder is None else Path(folder))

    @staticmethod
    def is_study(folder: str | Path) -> bool:
        """Whether a folder holds a study.

        Parameters
        ----------
        folder
            Any folder.

        Returns
        -------
        bool
            Whether it can be loaded.
        """
        return Store(folder).config_file.is_file()

    @classmethod
    def load(cls, folder: str | Path, **overrides: Any) -> Study:
        """The study that a folder holds; `overrides` replace keys of its study file.

        No code of the study's own is imported before `run`: its results can be read whatever is registered here.

        Parameters
        ----------
        folder
            The study's folder.
        overrides
            Key of the study file -> another value.

        Returns
        -------
        Study
            With the results that the folder holds.

        Raises
        ------
        InputError
            When it holds none.
        """
        file = Store(folder).config_file
        if not file.is_file():
            raise InputError(f"{folder} is not the folder of a study (it has no {file.name}).")
        return cls(StudyConfig.read(file, check=False, **overrides), Path(folder))

    def importing(self, sources: Iterable[str]) -> Study:
        """The same study with more of ``imports``; paths of files start at the working folder.

        Parameters
        ----------
        sources
            Names of modules, or paths of Python files.

        Returns
        -------
        Study
            A new one.
        """
        more = [str(Path(source).resolve()) if is_file_name(source) else source for source in sources]
        return replace(self, config=self.config.with_imports(more))

    @property
    def store(self) -> Store:
        return Store(self.folder)

    @property
    def cells(self) -> list[Cell]:
        """All cells, the dense baselines first."""
        return cells_of(self.config)

    @property
    def plan(self) -> list[Planned]:
        """Key and identity of all cells: those of the last run of this very study, else as they would be now."""
        recorded = self.store.plan(self.config)
        return [cell.planned for cell in self.cells] if recorded is None else recorded

    def prepare(self) -> list[Cell]:
        """Check every name, make the folder with the study file, own code and plan, and return the cells.

        Raises
        ------
        InputError
            When a name or setting is unknown.
        StudyError
            When the folder cannot be written.
        """
        self.config.check(str(self.store.config_file))
        cells = self.cells
        self.store.prepare(self.config, [cell.planned for cell in cells])
        return cells

    def run(
        self,
        *,
        executor: Executor | None = None,
        workers: int | None = None,
        device: str | None = None,
        progress: bool | None = None,
    ) -> pd.DataFrame:
        """Compute every cell that has no result yet, gather ``results.parquet`` and return it.

        The first line of the log says how many cells there are and how many are to be computed; a warning, how many of
        these have results from before own code or settings changed.

        Parameters
        ----------
        executor
            Any executor; its workers need this package and the study's folder. A process pool unless given.
        workers, device
            In place of those of the study file.
        progress
            Show a progress bar; by default on a terminal. Elsewhere each finished cell is one line of the log.

        Returns
        -------
        DataFrame
            The results table.

        Raises
        ------
        InputError
            When a name or setting is unknown, or a dataset or model cannot be had at all.
        StudyError
            When the folder cannot be written.
        KeyboardInterrupt
            On Ctrl-C; what is finished is kept and gathered.
        """
        last_run = self.store.last_run(self.config)
        cells = self.prepare()
        try:
            run_cells(
                cells,
                self.store,
                last_run=last_run,
                executor=executor,
                workers=workers or self.config.workers,
                device=device or self.config.device,
                progress=progress,
            )
        except BaseException:
            with suppress(StudyError):
                self.store.write_table(self.store.gather(self.plan))
            raise
        table = self.store.gather(self.plan)
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
            table = self.store.gather(self.plan)
            table.attrs["metrics"] = self.store.recorded_metrics()
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
        for key, identity in self.plan:
            row = self.store.row(key) or {"status": MISSING, "reason": ""}
            facts = {name: row.get(name) for name in ("status", "reason", "accuracy", "seconds")}
            rows.append({**identity, **facts, "cell": key})
        return pd.DataFrame(rows).astype({"accuracy": float, "seconds": float})

    def cell(self, key: str | Cell) -> Cell:
        """The cell of that key, as in the column ``cell`` of the results.

        Parameters
        ----------
        key
            Key of the cell, or the cell itself.

        Returns
        -------
        Cell
            What it computes.
        """
        return self.cells[self._planned(key)[0]]

    def masks(self, key: str | Cell) -> Masks:
        """The masks of a sparse network, by the key of its cell.

        Parameters
        ----------
        key
            Key of the cell, or the cell itself.

        Returns
        -------
        Masks
            Those at the end of its training.
        """
        return Masks.load(self.store.masks_file(self._planned(key)[1]))

    def trajectory(self, key: str | Cell) -> MaskTrajectory:
        """The masks of a sparse network over its training, of a study with ``save_trajectory: true``.

        Parameters
        ----------
        key
            Key of the cell, or the cell itself.

        Returns
        -------
        MaskTrajectory
            From the start of its training.

        Raises
        ------
        InputError
            When it was not recorded.
        """
        known = self._planned(key)[1]
        file = self.store.trajectory_file(known)
        if not file.is_file():
            raise InputError(f"cell {known} has no trajectory of masks; compute it with save_trajectory: true.")
        return MaskTrajectory.load(file)

    def history(self, key: str | Cell) -> pd.DataFrame:
        """The training history of a network: one row an epoch.

        Parameters
        ----------
        key
            Key of the cell, or the cell itself.

        Returns
        -------
        DataFrame
            Losses and accuracies.

        Raises
        ------
        InputError
            When the cell has not run, or failed.
        """
        known = self._planned(key)[1]
        file = self.store.history_file(known)
        if not file.is_file():
            raise InputError(f"cell {known} has no training history; it has not run, or it failed.")
        return pd.read_parquet(file)

    def dataset(self, key: str | Cell) -> Dataset:
        """The dataset that a network was trained on.

        Parameters
        ----------
        key
            Key of the cell, or the cell itself.

        Returns
        -------
        Dataset
            On the CPU.
        """
        with self._own_code_missing():
            return load_data(self.cell(key))

    def model(self, key: str | Cell) -> nn.Module:
        """A network of the study: its trained weights where they were saved, else its initial ones, masked.

        Parameters
        ----------
        key
            Key of the cell, or the cell itself.

        Returns
        -------
        Module
            On the CPU.
        """
        with self._own_code_missing():
            cell = self.cell(key)
            model = build_model(cell, load_data(cell))
        weights = self.store.weights_file(self._planned(key)[1])
        if weights.is_file():
            return load_checkpoint(model, weights)
        return model if cell.pruner is None else self.masks(key).apply(model)

    def graph(self, key: str | Cell, encoding: str = "multipartite", **options: Any) -> MultipartiteGraph | LayerGraphs:
        """The graph of a network of the study; its weights are those of `model`.

        Parameters
        ----------
        key
            Key of the cell, or the cell itself.
        encoding, options
            As for `topo.encode`.

        Returns
        -------
        MultipartiteGraph or LayerGraphs
            As the encoding has it.
        """
        masks = None if self.cell(key).pruner is None else self.masks(key)
        example = example_of(self.dataset(key))
        return encode(self.model(key), masks, example=example, encoding=encoding, **options)

    def import_code(self) -> None:
        """Import the study's own code, as a run does; the networks of its own models and datasets can then be had."""
        for source in self.config.imports:
            import_code(source)

    def with_own_code(self, make: Callable[[], T]) -> T:
        """What `make` returns; where it misses a name, the code that the study keeps is imported first.

        Parameters
        ----------
        make
            Makes something of the study's models, datasets and pruners, such as ``lambda: study.graph(key)``.

        Returns
        -------
        object
            What it returns.

        Raises
        ------
        InputError
            As of `make`; or when the code that it needs cannot be imported.
        """
        try:
            return make()
        except InputError as error:
            if not self.config.imports or "unknown" not in str(error):
                raise
        try:
            self.import_code()
            return make()
        except InputError as error:
            cause = str(error.__cause__ if isinstance(error.__cause__, InputError) else error).rstrip(".")
            raise InputError(
                f"{cause}; bring in the study's own code: topo report {self.folder} --import FILE."
            ) from error

    def _planned(self, key: str | Cell) -> tuple[int, str]:
        """The place of a cell in the plan, and its key there."""
        planned = [known for known, _ in self.plan]
        wanted = key.key if isinstance(key, Cell) else key
        keys = [cell.key for cell in self.cells] if isinstance(key, Cell) else planned
        if wanted not in keys:
            close = nearest(str(wanted), keys, 1)
            hint = f"did you mean {close[0]!r}? " if close else ""
            raise InputError(f"the study has no cell {wanted!r}; {hint}study.status() names its {len(keys)} cells.")
        place = keys.index(wanted)
        return place, planned[place]

    @contextmanager
    def _own_code_missing(self) -> Iterator[None]:
        """Say of what is not registered that it may be in code of the study's own."""
        try:
            yield
        except InputError as error:
            if self.config.imports and "unknown" in str(error):
                raise InputError(f"{str(error).rstrip('.')}; study.import_code() imports the study's own.") from error
            raise
