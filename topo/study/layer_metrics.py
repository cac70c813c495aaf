"""Metrics of the single layers of a network as a file: a table for each encoding, one row a layer."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from ..errors import InputError

__all__ = ["read_layer_metrics", "write_layer_metrics"]


def write_layer_metrics(path: Path, tables: Mapping[str, pd.DataFrame]) -> None:
    """Write the metrics of a network's layers; nothing where there are none.

    Parameters
    ----------
    path
        The JSON file.
    tables
        Encoding -> table indexed by the name of the layer, as `topo.measure_layers` returns it.
    """
    if not tables:
        return
    content = {
        encoding: {"layers": list(table.index), "metrics": {c: _with_none(table[c]) for c in table.columns}}
        for encoding, table in tables.items()
    }
    path.write_text(json.dumps(content), encoding="utf-8")


def _with_none(column: pd.Series) -> list[float | None]:
    return [None if math.isnan(value) else value for value in column.tolist()]


def read_layer_metrics(path: Path) -> dict[str, pd.DataFrame]:
    """What `write_layer_metrics` wrote; nothing where there is no file.

    Parameters
    ----------
    path
        The JSON file.

    Returns
    -------
    dict
        Encoding -> table of float64, indexed by the name of the layer.

    Raises
    ------
    InputError
        The file is damaged.
    """
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return {
            encoding: pd.DataFrame(table["metrics"], pd.Index(table["layers"], name="layer"), dtype="float64")
            for encoding, table in content.items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path} does not hold metrics of layers ({error}); compute the cell again.") from error
