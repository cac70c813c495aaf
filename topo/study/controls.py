"""Metrics of the random masks that networks are compared with, kept for cells with as many weights in each layer."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pandas as pd

from ..dag import Dag
from ..features.controls import compared_columns, measure_controls
from ..masks import Masks
from ..safe_files import read_json, replacing
from .entries import EncodingChoice
from .grid import Cell

__all__ = ["controls_of"]

# Version of what is computed; raised when the same settings come to give other values.
FORMAT = 1
SEED = 0


def controls_of(cell: Cell, dag: Dag, masks: Masks, encoding: EncodingChoice, folder: Path | None) -> pd.DataFrame:
    """Metrics of random masks with as many weights in every layer as the cell's network, read or measured.

    The masks depend on these numbers only, so that a value is the same whichever cell measures it first.

    Parameters
    ----------
    cell
        Whose metrics are measured.
    dag
        Its network.
    masks
        Its masks.
    encoding
        The encoding, and how many random masks it is for.
    folder
        Where the values are kept; None to measure them each time.

    Returns
    -------
    DataFrame
        As of `topo.features.controls.measure_controls`.
    """
    n = encoding.controls or 0
    columns = compared_columns(cell.metrics, layers=encoding.is_layered)
    file = None if folder is None else folder / f"{_key(cell, dag, masks, encoding, columns)}.json"
    kept = None if file is None else _read(file, columns, n)
    if kept is not None:
        return kept
    measured = measure_controls(dag, masks, encoding.name, encoding.options, cell.metrics, n=n, seed=SEED)
    if file is not None:
        with replacing(file) as name:
            values = measured.astype(object).where(measured.notna(), None)
            Path(name).write_text(json.dumps(values.to_dict("list")), encoding="utf-8")
    return measured


def _key(cell: Cell, dag: Dag, masks: Masks, encoding: EncodingChoice, columns: list[str]) -> str:
    """Name of the file: all that decides the values."""
    decides: dict[str, Any] = {
        "format": FORMAT,
        "model": cell.model.decides(),
        "tensors": [repr((node.kind, node.shape)) for node in dag.nodes],
        "layers": [[name, list(mask.shape), int(mask.sum())] for name, mask in masks.items()],
        "encoding": {"name": encoding.name, **encoding.options},
        "columns": columns,
        "controls": encoding.controls,
        "code": cell.decides().get("code", []),
    }
    return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()[:16]


def _read(file: Path, columns: list[str], n: int) -> pd.DataFrame | None:
    """The values of a file; None where it is not there or not whole."""
    try:
        values = pd.DataFrame(read_json(file), dtype="float64")
    except (OSError, ValueError, TypeError):
        return None
    return values if list(values.columns) == columns and len(values) == n else None
