"""A cell computed again beside its study: does it give the numbers that the study has?"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ..checkpoint import load_checkpoint
from ..errors import InputError, counted
from .cell_result import CellResult
from .computation import build_model, compute, load_data
from .grid import Cell
from .provenance import differences
from .study import Study

__all__ = ["Rerun", "rerun"]

NOT_COMPARED = ("seconds", "date", "provenance")


@dataclass(frozen=True)
class Rerun:
    """What came of computing a cell again.

    Attributes
    ----------
    cell
        Key of the cell.
    compared
        How many numbers and texts of its row were compared.
    changed
        Column -> what the study has, and what came out now; ``"masks"`` and ``"weights"`` with how many values differ.
    circumstances
        In what versions, device, threads, settings or data differ from then.
    """

    cell: str
    compared: int
    changed: dict[str, tuple[Any, Any]]
    circumstances: list[str]


def rerun(study: Study, key: str | Cell, *, device: str | None = None) -> Rerun:
    """Compute a finished cell of a study again, with as many threads as then, and compare; the study stays as it is.

    Parameters
    ----------
    study
        The study.
    key
        Key of the cell, or the cell itself.
    device
        In place of the device that it was computed on.

    Returns
    -------
    Rerun
        What differs.

    Raises
    ------
    InputError
        When the cell has no result to compare with, or its files or those of its baseline are damaged.
    """
    study.import_code()
    cell, store = study.cell(key), study.store
    state = store.state(cell.key)
    before = store.row(cell.key)
    if state.done and before is None:
        raise InputError(
            f"the row of cell {cell.key} is damaged in {store.records}, so that there is nothing to compare."
        )
    if not state.done or before is None:
        raise InputError(f"cell {cell.key} is {state.status}, so that there is nothing to compare with.")
    facts = study.provenance(cell.key)
    threads = torch.get_num_threads()
    torch.set_num_threads(int(facts["environment"].get("threads", threads)))
    try:
        dense = store.whole_file("weights", cell.baseline.key) if cell.needs_dense and cell.baseline else None
        result = compute(cell, device or before.get("device") or "auto", dense, store.controls)
    finally:
        torch.set_num_threads(threads)
    names = [name for name in {**before, **result.row} if not name.startswith(NOT_COMPARED)]
    found = {name: (before.get(name), result.row.get(name)) for name in names}
    changed = {name: pair for name, pair in found.items() if not _same(*pair)} | dict(_arrays(study, cell, result))
    return Rerun(cell.key, len(names), changed, differences(facts, result.provenance or {}))


def _same(before: Any, now: Any) -> bool:
    now = None if isinstance(now, float) and math.isnan(now) else now
    return before == now


def _arrays(study: Study, cell: Cell, result: CellResult) -> Iterator[tuple[str, tuple[str, str]]]:
    """The masks and the weights, where these differ from those that are kept."""
    if result.masks is not None:
        masks = study.masks(cell.key)
        count = sum(int((masks[name] != mask).sum()) for name, mask in result.masks.items())
        if count:
            yield "masks", ("as kept", counted(count, "entry", "differs", "differ"))
    if result.weights is not None and study.store.state(cell.key).promises("weights"):
        kept = load_checkpoint(build_model(cell, load_data(cell)), study.store.weights_file(cell.key)).state_dict()
        now = result.weights.state_dict()
        count = sum(int(np.sum(kept[name].cpu().numpy() != value.cpu().numpy())) for name, value in now.items())
        if count:
            yield "weights", ("as kept", counted(count, "entry", "differs", "differ"))
