"""The table of results: rows of cells as columns, and what each row has of its dense baseline."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

import pandas as pd

__all__ = ["FIRST", "RESERVED", "TEXT", "is_value", "results_table", "undefined_text"]

FIRST = ("dataset", "model", "pruner", "family", "sparsity", "seed", "status", "reason", "accuracy", "loss")
# Columns of every results table, which no metric may be called.
RESERVED = frozenset(
    (
        *(*FIRST, "cell", "date", "provenance"),
        *("dense_accuracy", "accuracy_drop", "reached_sparsity", "kept_weights", "total_weights", "device", "study"),
        *("layer_density_min", "layer_density_max", "compact_parameters", "compact_macs", "seconds", "undefined"),
        *(f"small_dense_{name}" for name in ("accuracy", "loss", "parameters", "macs", "epochs")),
        *("classes", "test_samples", "chance", "perplexity", "mean_iou", "rmse", "r2"),
        *("reached_of_included", "reached_of_all", "connected"),
        *("calibration_error", "accuracy_noise", "accuracy_blur", "accuracy_contrast", "epochs_to_share"),
    )
)
TEXT = {"dataset", "model", "pruner", "family", "status", "reason", "undefined", "device", "cell", "date", "provenance"}
# So many rows are held one by one before they become columns.
CHUNK = 500


def results_table(rows: Iterable[dict[str, Any]]) -> pd.DataFrame:
    """One row a network; rows of baselines join those of their networks.

    Parameters
    ----------
    rows
        Column -> value; a column may be missing.

    Returns
    -------
    DataFrame
        The identity of the networks first.
    """
    pieces = [pd.DataFrame(chunk) for chunk in _chunks(rows)]
    table = pd.concat(pieces, ignore_index=True) if len(pieces) > 1 else (pieces or [pd.DataFrame()])[0]
    missing = {
        name: "" if name in TEXT else math.nan for name in (*FIRST, "cell", "undefined") if name not in table.columns
    }
    table = table.assign(**missing)
    changed = {}
    for name in table.columns:
        if name in TEXT:
            changed[name] = table[name].astype(object).where(table[name].notna(), "").astype(str)
        elif not pd.api.types.is_numeric_dtype(table[name]):
            changed[name] = pd.to_numeric(table[name].astype(object), errors="coerce")
        elif name in ("accuracy", "loss"):
            changed[name] = table[name].astype(float)
    table = table.assign(**changed)
    return _with_baselines(table[[*FIRST, *(c for c in table.columns if c not in FIRST)]])


def undefined_text(reasons: Mapping[str, str]) -> str:
    """What the column `undefined` says of a network: ``"metric, metric: reason; ..."``.

    Parameters
    ----------
    reasons
        Column of a metric -> why it has no value.

    Returns
    -------
    str
        Empty where all have one.

    Examples
    --------
    >>> undefined_text({"matching_mean": "no layer", "path_balance": "no path", "matching_max": "no layer"})
    'matching_mean, matching_max: no layer; path_balance: no path'
    """
    names: dict[str, list[str]] = {}
    for name, reason in reasons.items():
        names.setdefault(reason, []).append(name)
    return "; ".join(f"{', '.join(said)}: {reason}" for reason, said in names.items())


def is_value(value: Any) -> bool:
    """Whether a table can hold a value: a text, a number of at most 64 bits, a truth, or None.

    Parameters
    ----------
    value
        Of a record, which may be of any kind.

    Returns
    -------
    bool
        False for lists and their like.
    """
    if isinstance(value, int):
        return -(2**63) <= value < 2**63
    return value is None or isinstance(value, str | float)


def _chunks(rows: Iterable[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    rows = iter(rows)
    while chunk := list(islice(rows, CHUNK)):
        yield [{name: _known(name, value) for name, value in row.items()} for row in chunk]


def _known(name: str, value: Any) -> Any:
    return ("" if name in TEXT else math.nan) if value is None else value


def _with_baselines(table: pd.DataFrame) -> pd.DataFrame:
    """Add `dense_accuracy` and `accuracy_drop` from the baseline of the same dataset, model and seed."""
    keys = ["dataset", "model", "seed"]
    baselines = table.loc[table["pruner"] == "dense", [*keys, "accuracy"]].rename(
        columns={"accuracy": "dense_accuracy"}
    )
    joined = table.merge(baselines, on=keys, how="left")
    at = joined.columns.get_loc("loss") + 1
    joined.insert(at, "dense_accuracy", joined.pop("dense_accuracy"))
    joined.insert(at + 1, "accuracy_drop", joined["dense_accuracy"] - joined["accuracy"])
    return joined
