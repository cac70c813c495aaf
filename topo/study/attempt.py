"""An attempt at a cell in a worker process: whatever becomes of it is a result that is kept."""

from __future__ import annotations

import time
import traceback
from pathlib import Path
from typing import Any

from ..errors import InputError, described, warn
from ..own_code import digest_of, import_code
from ..training import TRACKERS, Forgiving, Tracker
from .computation import build_model, compute, load_data
from .grid import Cell
from .parcel import packed
from .store import FAILED, CellResult, Store

__all__ = ["Outcome", "check_cell", "failure", "outcome", "run_cell"]

Outcome = dict[str, Any]
"""What the runner hears of a cell: its key, status, reason, accuracy and seconds."""


def run_cell(cell: Cell, folder: str, device: str, parcel: str | None = None) -> Outcome:
    """Compute a cell and store it; runs in a worker process.

    Whatever is raised makes a failed cell, so that the others go on: also what asks Python to exit, for a user's Ctrl-C
    never comes here.

    Parameters
    ----------
    cell
        What to compute.
    folder
        The study's folder.
    device
        ``"auto"``, ``"cpu"`` or ``"cuda"``.
    parcel
        A file for the result of a worker that does not see the study's folder; it is then sent from there.

    Returns
    -------
    dict
        As of `outcome`.

    Raises
    ------
    StudyError
        When the result cannot be written.
    """
    store = Store(folder)
    started = time.perf_counter()
    if not store.is_done(cell.key):  # another run on the same folder may have been faster
        try:
            _import_own_code(cell, store)
            needed = cell.baseline if cell.needs_dense else None
            dense_weights = None if needed is None else store.whole_file("weights", needed.key)
            tracker = _tracker(cell, store)
            result = compute(cell, device, dense_weights, store.controls, tracker)
            if tracker is not None:
                tracker.finish(result.row, result.row["status"])
        except BaseException as error:
            result = failure(described(error), traceback.format_exc())
        result.row["seconds"] = time.perf_counter() - started
        if parcel is not None:
            Path(parcel).write_bytes(packed(result))
            return {"key": cell.key}
        store.save(cell.key, result)
    return outcome(store, cell.key)


def check_cell(cell: Cell, folder: str, device: str = "cpu", parcel: str | None = None) -> None:
    """Load the dataset of a cell and build its model, to see whether they can be had; runs in a worker process.

    Parameters
    ----------
    cell
        What is to be computed later.
    folder, device, parcel
        As of `run_cell`.

    Raises
    ------
    InputError
        When they cannot be had.
    """
    _import_own_code(cell, Store(folder))
    if cell.track is not None:
        TRACKERS[cell.track[0]].check()
    build_model(cell, load_data(cell))


def _tracker(cell: Cell, store: Store) -> Tracker | None:
    """What follows the training of a cell; None where nothing does, or what should cannot be had."""
    if cell.track is None:
        return None
    kind, experiment = cell.track
    try:
        settings = {"cell": cell.key, **cell.planned.identity}
        return Forgiving(TRACKERS[kind](store.folder / "tracking", str(cell), settings, experiment=experiment))
    except Exception as error:
        warn(f"the cell is not tracked: {described(error)}")
        return None


def outcome(store: Store, key: str) -> Outcome:
    """What the study's folder says of a cell that has run.

    Parameters
    ----------
    store
        The study's folder.
    key
        The cell's key.

    Returns
    -------
    dict
        key, status, reason, accuracy and seconds.
    """
    row = store.row(key) or {"status": FAILED, "reason": "its folder was removed while it ran"}
    return {"key": key, **{name: row.get(name) for name in ("status", "reason", "accuracy", "seconds")}}


def _import_own_code(cell: Cell, store: Store) -> None:
    """Import the code that the study keeps, which must be the one that the cell's key was made with.

    Parameters
    ----------
    cell
        Names the code.
    store
        The study's folder.

    Raises
    ------
    InputError
        When the code was changed, or fails.
    """
    for source, digest in cell.imports:
        kept = store.import_source(source)
        if digest and digest_of(Path(kept)) != digest:
            raise InputError(f"{kept} was changed while the study ran; run it again.")
        import_code(kept)


def failure(reason: str, details: str | None = None) -> CellResult:
    """The result of a cell that could not be computed.

    Parameters
    ----------
    reason
        One sentence.
    details
        The traceback.

    Returns
    -------
    CellResult
        With status ``"failed"``.
    """
    return CellResult({"status": FAILED, "reason": reason}, traceback=details)
