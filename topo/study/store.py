"""A study on disk: records of its cells and the files that they promise; the tables gathered from them."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import pandas as pd

from ..checkpoint import save_checkpoint
from ..own_code import is_file_name
from .artefacts import PartFiles, clear_leftovers, flaw
from .cell_result import DAMAGED, FAILED, MISSING, CellResult, CellState
from .config import StudyConfig
from .grid import Planned
from .journal import Journal, StudyError
from .layer_metrics import columns_of, plain_table, table_of
from .plan_file import LastRun, changes, check_same_study, read_plan, write_plan, write_text
from .provenance import digest_of_facts, is_provenance
from .table import is_value, results_table
from .table_files import TableFiles, reported

__all__ = ["DAMAGED", "FAILED", "MISSING", "CellResult", "CellState", "LastRun", "Store", "StudyError"]

# Parts of a record: what is needed to see how a cell stands, the row of results, and all that is longer.
HEAD, ROW, MORE = range(3)


class Store(TableFiles):
    """The folder of a study.

    A cell is one record in an append-only file (see `topo.study.journal`) and the files that it promises, with their
    checksums: masks, weights, a trajectory. The files come first, so that a record always speaks of whole ones. Failed
    and damaged cells give way to newer results; others stay: the second of two processes that computed the same cell
    discards its copy.

    Parameters
    ----------
    folder
        The study's folder, which need not exist yet.

    Notes
    -----
    Methods that take a `key` take that of a cell, as in the column ``cell`` of the results.
    """

    def __init__(self, folder: str | Path) -> None:
        super().__init__(folder)
        self.records = self.folder / "records"
        self.config_file = self.folder / "study.yaml"
        self.plan_file = self.folder / "plan.json"
        self.imports = self.folder / "imports"
        self.controls = self.folder / "controls"

    @property
    def journal(self) -> Journal:
        """The records, of which this process remembers where each is."""
        return _journal(self.records.absolute())

    def masks_file(self, key: str) -> Path:
        """The masks that a cell ended with."""
        return self.folder / "masks" / f"{key}.safetensors"

    def weights_file(self, key: str) -> Path:
        """The trained weights of a cell."""
        return self.folder / "weights" / f"{key}.safetensors"

    def trajectory_file(self, key: str) -> Path:
        """The masks of a cell over its training."""
        return self.folder / "trajectories" / f"{key}.safetensors"

    def traceback_file(self, key: str) -> Path:
        """Where the error arose that made a cell fail."""
        return self.folder / "tracebacks" / f"{key}.txt"

    def _file(self, kind: str, key: str) -> Path:
        places = {"masks": self.masks_file, "weights": self.weights_file, "trajectory": self.trajectory_file}
        return places[kind](key)

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
        InputError
            When the folder holds another study, or one of another version.
        StudyError
            When the folder cannot be written.
        """
        cells = list(plan)
        before = read_plan(self.plan_file)
        check_same_study(self.folder, before if self.has_records() else None, config, cells)
        with reported(self.folder):
            self.records.mkdir(parents=True, exist_ok=True)
            for source in filter(is_file_name, config.imports):
                write_text(Path(self.import_source(source)), Path(source).read_text(encoding="utf-8"))
            kept = [f"imports/{Path(s).name}" if is_file_name(s) else s for s in config.imports]
            write_text(self.config_file, config.model_copy(update={"imports": tuple(kept)}).to_yaml())
            write_plan(self.plan_file, config, cells)
            for file in (self.masks_file(""), self.weights_file(""), self.trajectory_file("")):
                clear_leftovers(file.parent)

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
        plan = read_plan(self.plan_file)
        return plan.cells if plan is not None and plan.digest == config.digest(plan.code) else None

    def last_run(self, config: StudyConfig) -> LastRun:
        """The cells of the last run, and what has changed in the study file and its own code since.

        Parameters
        ----------
        config
            The study.
        """
        plan = read_plan(self.plan_file)
        return LastRun([] if plan is None else plan.cells, changes(config, self.config_file, self.imports))

    def states(self, keys: Iterable[str], *, thorough: bool = False) -> Iterator[CellState]:
        """How cells stand, one after the other.

        Parameters
        ----------
        keys
            Their keys.
        thorough
            Whether every file is read and its checksum taken, even where its size and time are right.

        Yields
        ------
        CellState
            Of each.
        """
        self.journal.refresh()
        with self.journal.reading() as part:
            for key in keys:
                yield self._state(key, part, thorough)

    def state(self, key: str, *, thorough: bool = False) -> CellState:
        """How a cell stands; `thorough` as of `states`."""
        return next(self.states([key], thorough=thorough))

    def _state(self, key: str, part: Any, thorough: bool) -> CellState:
        records = sorted(self.journal.records(key), key=lambda record: record.time, reverse=True)
        damaged = None
        for record in records:
            if record.status == FAILED or (head := _known(part(record, HEAD))) is None:
                continue
            wrong = self._flaw(key, head, thorough)
            if not wrong:
                return CellState(record.status, head.get("reason") or "", head, record)
            damaged = damaged or CellState(DAMAGED, wrong, head, record)
        if damaged is not None:
            return damaged
        for record in records:
            if record.status == FAILED and (head := _known(part(record, HEAD))) is not None:
                return CellState(FAILED, head.get("reason") or "", head, record)
        return CellState(MISSING, "", {}, None)

    def _flaw(self, key: str, head: Mapping[str, Any], thorough: bool) -> str:
        files = head.get("files")
        for kind, written in files.items() if isinstance(files, dict) else ():
            if kind in ("masks", "weights", "trajectory") and (
                wrong := flaw(self._file(kind, key), written, thorough=thorough)
            ):
                return f"{self._file(kind, key).relative_to(self.folder)} {wrong}"
        return ""

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
        return self._part(key, ROW)

    def _part(self, key: str, place: int) -> Any:
        record = self.state(key).record
        if record is None:
            return None
        with self.journal.reading() as part:
            found = part(record, place)
        return found if isinstance(found, dict) else None

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
        return self.state(key).done

    def history(self, key: str) -> pd.DataFrame | None:
        """The training history of a cell; None where it has none."""
        more = self._part(key, MORE) or {}
        return table_of(more["history"]) if more.get("history") else None

    def layers(self, keys: Iterable[str]) -> Iterator[tuple[dict[str, list[Any]], dict[str, dict[str, list[Any]]]]]:
        """The layers of cells: their weights, and what was measured of them.

        Parameters
        ----------
        keys
            Keys of the cells.

        Yields
        ------
        tuple
            Columns of one value a layer, none where the cell has no masks; and such columns by encoding.
        """
        with self.journal.reading() as part:
            for state in self.states(keys):
                more = part(state.record, MORE) if state.record is not None else None
                more = more if isinstance(more, dict) else {}
                measured = more["metrics"] if isinstance(more.get("metrics"), dict) else {}
                yield columns_of(more.get("layers") or {}), {e: columns_of(table) for e, table in measured.items()}

    def has_records(self) -> bool:
        """Whether anything has been recorded.

        Raises
        ------
        StudyError
            When the records are there but cannot be read.
        """
        self.journal.refresh()
        return len(self.journal) > 0

    def planned_at(self) -> tuple[int, int, int] | None:
        """What tells one plan on disk from a later one; None where there is none."""
        try:
            found = self.plan_file.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino

    def provenance(self, key: str) -> dict[str, Any] | None:
        """What the numbers of a cell depend on, as of `topo.study.provenance.provenance`; None where it has not run."""
        digest = self.state(key).head.get("provenance")
        facts = self.journal.facts(digest) if digest else None
        return facts if is_provenance(facts) else None

    def whole_file(self, kind: str, key: str) -> Path:
        """The file of a finished cell, after its checksum was taken.

        Parameters
        ----------
        kind
            ``"masks"``, ``"weights"`` or ``"trajectory"``.
        key
            Key of the cell.

        Returns
        -------
        Path
            The file, which need not be there where the cell promises none.

        Raises
        ------
        StudyError
            When it is not as it was written.
        """
        file, written = self._file(kind, key), (self.state(key).head.get("files") or {}).get(kind)
        wrong = flaw(file, written, thorough=True) if written else ""
        if wrong:
            raise StudyError(f"{file} {wrong}; topo study run {self.folder} computes the cell {key} again.")
        return file

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
        now = time.time()
        row = {name: None if isinstance(v, float) and math.isnan(v) else v for name, v in result.row.items()}
        head = {name: row.get(name) for name in ("reason", "accuracy", "seconds")}
        head["date"] = datetime.fromtimestamp(now, UTC).isoformat(timespec="seconds")
        more = {
            "history": None if result.history is None else plain_table(result.history),
            "layers": None if result.layer_facts is None else plain_table(result.layer_facts),
            "metrics": {
                name: plain_table(table.rename_axis("layer").reset_index()) for name, table in result.layers.items()
            },
        }
        with reported(self.folder), PartFiles(key) as parts:
            head["files"] = _written(self, key, result, parts)
            if result.provenance is not None:
                digest = head["provenance"] = digest_of_facts(result.provenance)
                self.journal.add_facts(digest, result.provenance)

            def is_done() -> bool:
                if self.is_done(key):
                    return True
                parts.put()
                if result.traceback is None:
                    self.traceback_file(key).unlink(missing_ok=True)
                return False

            return self.journal.append(key, str(row["status"]), now, [head, row, more], unless=is_done)

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
        return results_table(self._rows(list(plan)))

    def _rows(self, plan: list[Planned]) -> Iterator[dict[str, Any]]:
        with self.journal.reading() as part:
            for (key, identity), state in zip(plan, self.states(key for key, _ in plan), strict=True):
                row = None if state.record is None else part(state.record, ROW)
                if isinstance(row, dict):
                    known = {name: state.head.get(name) for name in ("date", "provenance")}
                    yield {**identity, **{name: v for name, v in row.items() if is_value(v)}, "cell": key, **known}


KINDS: dict[str, Any] = {"accuracy": (int, float), "seconds": (int, float), "files": dict}


def _known(head: Any) -> dict[str, Any] | None:
    """The first part of a record without values of another kind than they have; None where it is something else."""
    if not isinstance(head, dict):
        return None
    fits = {name: isinstance(value, KINDS.get(name, str)) for name, value in head.items()}
    return {name: head[name] for name, does in fits.items() if does and (name == "files" or is_value(head[name]))}


@lru_cache(maxsize=16)
def _journal(folder: Path) -> Journal:
    return Journal(folder)


def _written(store: Store, key: str, result: CellResult, parts: PartFiles) -> dict[str, Any]:
    """Write the files of a cell aside; what the record says of those that it promises."""
    written = {}
    if result.masks is not None:
        written["masks"] = parts.write(store.masks_file(key), result.masks.save)
    if (weights := result.weights) is not None:
        written["weights"] = parts.write(store.weights_file(key), lambda path: save_checkpoint(weights, path))
    if result.trajectory is not None:
        written["trajectory"] = parts.write(store.trajectory_file(key), result.trajectory.save)
    if (text := result.traceback) is not None:
        parts.write(store.traceback_file(key), lambda path: path.write_text(text, encoding="utf-8"))
    return written
