"""What becomes of a cell, and how it stands on disk."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import pandas as pd
from torch import nn

from ..masks import Masks
from .journal import Record
from .trajectory import MaskTrajectory

__all__ = ["DAMAGED", "FAILED", "MISSING", "CellResult", "CellState"]

FAILED = "failed"
MISSING = "missing"
DAMAGED = "damaged"


@dataclass
class CellResult:
    """What became of a cell: its row and what is kept beside it.

    `row` holds ``status`` (``"finished"``, ``"collapsed"``: no kept weight connects the input to the output,
    ``"diverged"`` or ``"failed"``), the ``reason``, which also names empty layers that others bypass, and whatever was
    measured. `layers` holds what was measured of single layers, a table for each encoding; `layer_facts` their weights;
    `provenance` what `topo.study.provenance.provenance` returned.
    """

    row: dict[str, Any]
    masks: Masks | None = None
    history: pd.DataFrame | None = None
    weights: nn.Module | None = None
    traceback: str | None = None
    trajectory: MaskTrajectory | None = None
    layers: dict[str, pd.DataFrame] = field(default_factory=dict)
    layer_facts: pd.DataFrame | None = None
    provenance: dict[str, Any] | None = None


class CellState(NamedTuple):
    """How a cell stands.

    Attributes
    ----------
    status
        As of its row; ``"missing"`` before it has run; ``"damaged"`` where promised files are not whole.
    reason
        Of a failure, and what is wrong with the files.
    head
        accuracy, seconds, date, provenance and files, where there is a record.
    record
        Where its record is.
    """

    status: str
    reason: str
    head: dict[str, Any]
    record: Record | None

    @property
    def done(self) -> bool:
        """Whether it has a result that stays."""
        return self.status not in (MISSING, FAILED, DAMAGED)

    def promises(self, kind: str) -> bool:
        """Whether its record speaks of a file of that kind, such as ``"masks"``, which need not be whole."""
        files = self.head.get("files")
        return isinstance(files, dict) and kind in files
