"""A cell on its way to where it is computed, and what comes back."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from ..own_code import is_file_name
from .attempt import Outcome, check_cell, failure, outcome, run_cell
from .claims import FOLDER
from .grid import Cell
from .limits import Limits
from .parcel import packed
from .slot import Died, Slot
from .store import Store, StudyError

__all__ = ["Answer", "Need", "Task", "compute_task", "failed_answer", "needs_of"]


class Need(NamedTuple):
    """A file of a study that a cell needs.

    Attributes
    ----------
    kind
        ``"code"`` or ``"weights"``.
    name
        The entry of ``imports``, or the key of the network.
    digest
        Hash of the code.
    """

    kind: str
    name: str
    digest: str

    def place(self, store: Store) -> Path:
        """Where it is in the study's folder, or in a mirror of it."""
        return Path(store.import_source(self.name)) if self.kind == "code" else store.weights_file(self.name)


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
    needs
        The files that the cell needs.
    files
        Their content, for workers that do not see the study's folder and have asked for it.
    check
        Whether only to see if its dataset and model can be had.
    """

    cell: Cell
    folder: str
    token: str
    device: str
    limits: Limits
    needs: tuple[Need, ...] = ()
    files: Mapping[Need, bytes] = field(default_factory=dict)
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
        The files that such a worker needs first.
    log
        What the cell printed.
    """

    outcome: Outcome | None = None
    result: bytes | None = None
    lacking: tuple[Need, ...] = ()
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


def needs_of(cell: Cell) -> tuple[Need, ...]:
    """The files of a study that a cell needs.

    Parameters
    ----------
    cell
        The cell, of which this process knows all names.

    Returns
    -------
    tuple
        Of `Need`.
    """
    needs = [Need("code", source, digest) for source, digest in cell.imports if is_file_name(source)]
    if cell.needs_dense and cell.baseline is not None:
        needs.append(Need("weights", cell.baseline.key, ""))
    return tuple(needs)


_mirrors: dict[tuple[str, int], tempfile.TemporaryDirectory[str]] = {}


def _mirror(task: Task, scratch: str | None) -> Store:
    """A folder of this worker for what the cells of a run need; gone with the worker."""
    key = (task.token, os.getpid())
    if key not in _mirrors:
        _mirrors[key] = tempfile.TemporaryDirectory(prefix="topo-study-", dir=scratch, ignore_cleanup_errors=True)
    return Store(_mirrors[key].name)


def _take(task: Task, store: Store) -> tuple[Need, ...]:
    """Put the files of a task in place; those that are still lacking."""
    lacking = []
    for need in task.needs:
        place, mark = need.place(store), store.folder / f"{sha256(repr(need).encode()).hexdigest()[:16]}.taken"
        if need in task.files:
            place.parent.mkdir(parents=True, exist_ok=True)
            aside = place.with_name(f"{place.name}.{os.urandom(4).hex()}")
            aside.write_bytes(task.files[need])
            aside.replace(place)
            mark.touch()
        elif not mark.exists():
            lacking.append(need)
    return tuple(lacking)
