"""What a report is written from: a study folder, a study, or a results table."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from ..encode.graph import MultipartiteGraph
from ..errors import InputError
from ..stats.tidy import tidy_results

__all__ = ["Source", "load_source"]


@dataclass
class Source:
    """A tidy results table and what is known beside it."""

    name: str
    table: pd.DataFrame
    folder: Path | None = None
    settings: str = ""
    undefined: dict[str, str] = field(default_factory=dict)
    layers: pd.DataFrame | None = None
    graph: MultipartiteGraph | None = None
    graph_title: str = ""
    notes: list[str] = field(default_factory=list)


def load_source(source: Any) -> Source:
    """Read a study folder, a study object with a `folder`, a DataFrame, or a parquet or CSV file.

    Raises
    ------
    InputError
        The source is none of these, does not exist, cannot be read or holds no rows.
    """
    if isinstance(source, pd.DataFrame):
        return _from_table(source, "results table")
    folder = getattr(source, "folder", None) or getattr(source, "path", None)
    path = Path(folder if folder is not None and not isinstance(source, str | Path) else _as_path(source))
    if not path.exists():
        raise InputError(f"{path} does not exist; give a study folder, or a results table as .parquet or .csv.")
    if path.is_dir():
        return _from_folder(path)
    return _from_table(_read(path), path.stem)


def _as_path(source: Any) -> str | Path:
    if isinstance(source, str | Path):
        return source
    raise InputError(
        f"a report is written from a study, its folder, a DataFrame or a .parquet or .csv file; "
        f"got {type(source).__name__}."
    )


def _read(path: Path) -> pd.DataFrame:
    try:
        if path.suffix == ".csv":
            return pd.read_csv(path)
        if path.suffix == ".parquet":
            return pd.read_parquet(path)
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read as a table: {str(error).splitlines()[0]}") from error
    raise InputError(f"{path} is neither a .parquet nor a .csv file nor a study folder.")


def _from_table(table: pd.DataFrame, name: str) -> Source:
    if table.empty:
        raise InputError(f"the {name} has no rows, so there is nothing to report.")
    return Source(name, tidy_results(table), undefined=_recorded_reasons(table))


def _recorded_reasons(table: pd.DataFrame) -> dict[str, str]:
    """Reasons of undefined metrics, from a column of JSON objects or from the table's attributes."""
    reasons: dict[str, str] = dict(table.attrs.get("undefined", {}))
    if "undefined" in table.columns:
        for cell in table["undefined"].dropna().unique():
            if isinstance(cell, str) and cell.startswith("{"):
                for metric, reason in json.loads(cell).items():
                    reasons.setdefault(metric, str(reason))
    return reasons


def _from_folder(folder: Path) -> Source:
    results = folder / "results.parquet"
    if not results.exists():
        raise InputError(f"{folder} holds no results.parquet; finish the study, or gather its finished cells, first.")
    source = _from_table(_read(results), folder.resolve().name)
    source.folder = folder
    settings = folder / "study.yaml"
    if settings.exists():
        source.settings = settings.read_text()
    return source
