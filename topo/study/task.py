"""A cell on its way to where it is computed, and what comes back."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from ..own_code import is_file_name
from .attempt import Outcome, check_cell, failure, outcome, run_cell
from .claims import FOLDER
from .grid import Cell
from .limits import Limits
from .parcel import packed
from .slot import Died, Slot
from .store import Store, StudyError

__all__ = ["Answer", "Task", "compute_task", "failed_answer", "files_for"]


@dataclass(frozen=True)
class Task:
    """A cell to compute.

    Attributes
    ----------
    cell
        The cell.
    folder
        The study's folder, where the run has it.
    token
        A file in it that no other folder of that name has.
    device, limits
        Where to compute, and what it may take.
    files
        Content of files that the cell needs, for workers that do not see the study's folder.
    check
        Whether only to see if its dataset and model can be had.
    """

    cell: Cell
    folder: str
    token: str
    device: str
    limits: Limits
    files: Mapping[str, bytes] = field(default_factory=dict)
    check: bool = False


@dataclass(frozen=True)
class Answer:
    """What became of a task.

    Attributes
    ----------
    outcome
        As of `topo.study.attempt.outcome`; None where the cell has not been computed, or `result` holds it.
    result
        The result itself, pickled, of a worker that does not see the study's folder.
    lacking
        Names of the files that such a worker needs first.
    log
        What the cell printed.
    """

    outcome: Outcome | None = None
    result: bytes | None = None
    lacking: tuple[str, ...] = ()
    log: str = ""


def compute_task(task: Task, slot: Slot, stopped: Callable[[], bool], scratch: str | None = None) -> Answer:
    """Compute a cell in the process of a slot; one that brings the process down fails with the reason.

    Parameters
    ----------
    task
        What to compute.
    slot
        Whose process computes.
    stopped
        Asked now and then whether to give up.
    scratch
        Where a worker that does not see the study's folder keeps what it needs of it.

    Returns
    -------
    Answer
        What became of it.

    Raises
    ------
    StudyError
        When results cannot be written.
    Stopped
        When it was given up.
    """
    key = task.cell.key
    shared = (Path(task.folder) / FOLDER / task.token).exists()
    store = Store(task.folder) if shared else _mirror(task, scratch)
    parcel = None if shared else store.folder / f"{key}.result"
    if not shared:
        lacking = _take(task, store)
        if lacking:
            return Answer(lacking=lacking)
    try:
        to = None if parcel is None else str(parcel)
        work = check_cell if task.check else run_cell
        found, log = slot.call(work, task.cell, str(store.folder), task.device, to, limits=task.limits, stopped=stopped)
    except Died as death:
        if task.check:
            raise StudyError(f"the data and model of {task.cell} cannot be had: {death}.") from death
        if parcel is not None:
            return failed_answer(str(death), slot.log())
        store.save(key, failure(str(death), slot.log() or None))
        return Answer(outcome(store, key))
    if parcel is None or task.check:
        return Answer(found, log=log)
    result = parcel.read_bytes()
    parcel.unlink()
    return Answer(result=result, log=log)


def failed_answer(reason: str, details: str = "") -> Answer:
    """The answer of a cell that could not be computed.

    Parameters
    ----------
    reason
        One sentence.
    details
        What it printed, and where it was.

    Returns
    -------
    Answer
        With the result to be saved.
    """
    return Answer(result=packed(failure(reason, details or None)))


def needed(cell: Cell, store: Store) -> dict[str, Path]:
    """The files of a study that a cell needs, by name.

    Parameters
    ----------
    cell
        The cell.
    store
        The study's folder, or a mirror of it.

    Returns
    -------
    dict
        Name -> path; the name changes when the content does.
    """
    files = {}
    for source, digest in cell.imports:
        if is_file_name(source):
            files[f"code {digest} {source}"] = Path(store.import_source(source))
    if cell.needs_dense and cell.baseline is not None:
        files[f"weights {cell.baseline.key}"] = store.weights_file(cell.baseline.key)
    return files


def files_for(cell: Cell, store: Store, names: tuple[str, ...]) -> dict[str, bytes]:
    """Content of the files that a worker lacks.

    Parameters
    ----------
    cell
        The cell.
    store
        The study's folder.
    names
        What is lacking.

    Returns
    -------
    dict
        Name -> content.
    """
    return {name: path.read_bytes() for name, path in needed(cell, store).items() if name in names}


_mirrors: dict[tuple[str, int], tempfile.TemporaryDirectory[str]] = {}


def _mirror(task: Task, scratch: str | None) -> Store:
    """A folder of this worker for what the cells of a run need; gone with the worker."""
    key = (task.token, os.getpid())
    if key not in _mirrors:
        _mirrors[key] = tempfile.TemporaryDirectory(prefix="topo-study-", dir=scratch, ignore_cleanup_errors=True)
    return Store(_mirrors[key].name)


def _take(task: Task, store: Store) -> tuple[str, ...]:
    """Put the files of a task in place; the names of those that are still lacking."""
    lacking = []
    for name, path in needed(task.cell, store).items():
        mark = store.folder / f"{sha256(name.encode()).hexdigest()[:16]}.taken"
        if name in task.files:
            path.parent.mkdir(parents=True, exist_ok=True)
            aside = path.with_name(f"{path.name}.{os.urandom(4).hex()}")
            aside.write_bytes(task.files[name])
            aside.replace(path)
            mark.touch()
        elif not mark.exists():
            lacking.append(name)
    return tuple(lacking)
