"""A study: what to run, and the folder of what came out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd
from torch import nn

from ..checkpoint import load_checkpoint
from ..datasets import Dataset
from ..encoding import LayerGraphs, MultipartiteGraph, encode
from ..errors import InputError
from ..masks import Masks
from ..own_code import is_file_name
from .catalogue import Catalogue
from .computation import build_model, example_of, load_data
from .config import StudyConfig
from .grid import Cell, Networks, Planned
from .layer_rows import layer_rows
from .limits import Limits
from .own_code_of import OwnCode
from .run import run_cells
from .store import Store, StudyError
from .trajectory import MaskTrajectory

__all__ = ["Study"]

T = TypeVar("T")


@dataclass(frozen=True)
class Study(OwnCode):
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
    _catalogue: Catalogue = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "folder", Path(self.folder))
        object.__setattr__(self, "_catalogue", Catalogue(self.config, self.store))

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
            Whether something has the name of its study file; `load` says what is wrong with one that is no file.
        """
        try:
            Store(folder).config_file.lstat()
        except (FileNotFoundError, NotADirectoryError, ValueError):
            return False
        except OSError:  # which cannot be read; `load` says so
            return True
        return True

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
        if not cls.is_study(folder):
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
    def cells(self) -> Networks[Cell]:
        """All cells, the dense baselines first."""
        return Networks(self._catalogue.cells)

    @property
    def plan(self) -> Networks[Planned]:
        """Key and identity of all cells: those of the last run of this very study, else as they would be now."""
        return Networks(self._catalogue.plan)

    def prepare(self) -> Networks[Cell]:
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
        scheduler: str | None = None,
        cluster: str | None = None,
        cluster_options: Mapping[str, Any] | None = None,
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
            Any executor; its workers need this package and the study's folder. Processes of this machine unless given.
        scheduler, cluster, cluster_options
            Address of a Dask scheduler; or the Dask cluster to start, ``"local"`` or ``"slurm"``, and its keywords.
        workers, device
            In place of those of the study file; `workers` are jobs of a cluster that is started.
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
        KeyboardInterrupt, SystemExit
            On Ctrl-C; on SIGTERM and SIGHUP. What is finished is kept and gathered.
        """
        last_run = self.store.last_run(self.config)
        cells = self.prepare()
        try:
            run_cells(
                cells,
                self.store,
                last_run=last_run,
                executor=executor,
                scheduler=scheduler,
                cluster=cluster,
                cluster_options=cluster_options,
                workers=workers or self.config.workers,
                device=device or self.config.device,
                limits=Limits(self.config.time_limit, self.config.memory_limit),
                progress=progress,
            )
        except BaseException:
            with suppress(StudyError):
                self._write_tables()
            raise
        return self._write_tables()

    def _write_tables(self) -> pd.DataFrame:
        table = self.store.with_measured(self.store.gather(self._catalogue.plan))
        self.store.write_table(table, self.store.journal.facts)
        self.store.write_layers(layer_rows(self.store, ({**who, "cell": key} for key, who in self._catalogue.plan)))
        return table

    def results(self) -> pd.DataFrame:
        """One row per network that has a result, dense baselines included; the columns are those of the README.

        Raises
        ------
        InputError
            When nothing has been computed yet, or what there is cannot be read.
        """
        store = self.store
        has_records = store.has_records()
        table = store.with_measured(store.gather(self._catalogue.plan)) if has_records else store.read_table()
        if table.empty:
            raise InputError(f"{self.folder} has no results yet; run topo study run {self.folder}.")
        table.attrs["metrics"] = store.recorded_metrics()
        return table

    def status(self) -> pd.DataFrame:
        """One row per cell: which network, status, reason, accuracy, seconds.

        The status is ``"missing"`` before a cell has run, and ``"damaged"`` where files that belong to its result are
        not whole any more; the reason then says which.
        """
        plan = self._catalogue.plan
        columns: dict[str, list[Any]] = {name: [] for name in ("status", "reason", "accuracy", "seconds")}
        for state in self.store.states(planned.key for planned in plan):
            facts = (state.status, state.reason, state.head.get("accuracy"), state.head.get("seconds"))
            for name, value in zip(columns, facts, strict=True):
                columns[name].append(value)
        table = pd.DataFrame([planned.identity for planned in plan]).assign(
            **columns, cell=[planned.key for planned in plan]
        )
        return table.astype({"accuracy": float, "seconds": float})

    def provenance(self, key: str | Cell) -> dict[str, Any]:
        """What the numbers of a cell come from: versions, device and threads, settings after defaults, and the data.

        Parameters
        ----------
        key
            Key of the cell, or the cell itself.

        Returns
        -------
        dict
            ``environment``, ``settings`` and ``data``, the fingerprint of the data.

        Raises
        ------
        InputError
            When the cell has not run, or its record is damaged.
        """
        known = self._catalogue.find(key)[1]
        facts = self.store.provenance(known)
        if facts is None:
            raise InputError(
                f"cell {known} has no provenance; it has not run, it failed, or what was recorded of it is damaged."
            )
        return facts

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
        return self._catalogue.cells[self._catalogue.find(key)[0]]

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
        return Masks.load(self.store.whole_file("masks", self._catalogue.find(key)[1]))

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
        known = self._catalogue.find(key)[1]
        if not self.store.state(known).promises("trajectory"):
            raise InputError(f"cell {known} has no trajectory of masks; compute it with save_trajectory: true.")
        return MaskTrajectory.load(self.store.whole_file("trajectory", known))

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
        known = self._catalogue.find(key)[1]
        history = self.store.history(known)
        if history is None:
            raise InputError(f"cell {known} has no training history; it has not run, or it failed.")
        return history

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
        with self._with_advice():
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
        with self._with_advice():
            cell = self.cell(key)
            model = build_model(cell, load_data(cell))
        known = self._catalogue.find(key)[1]
        if self.store.state(known).promises("weights"):
            return load_checkpoint(model, self.store.whole_file("weights", known))
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
