"""The tables of a study as Parquet files, and how a refusal to write becomes one sentence."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from ..errors import InputError
from ..features.registry import metric_facts
from ..safe_files import replacing, require_file
from ..tables import read_table
from .journal import StudyError
from .locks import lock
from .table import RESERVED, undefined_text

__all__ = ["TableFiles", "reported"]

Measured = dict[tuple[str, str], dict[str, float | str]]
"""Cell and date of its result -> column -> value, or the reason why there is none."""

KEY = ["cell", "date"]  # a cell that is computed again has a later date, and what was measured of the earlier one goes


class TableFiles:
    """``results.parquet``, ``layers.parquet`` and, of what was measured later, ``measured.parquet`` of a study.

    Parameters
    ----------
    folder
        The study's folder.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.table_file = self.folder / "results.parquet"
        self.layers_file = self.folder / "layers.parquet"
        self.measured_file = self.folder / "measured.parquet"

    def write_table(self, table: pd.DataFrame, facts: Callable[[str], Any] = lambda digest: None) -> Path:
        """Write ``results.parquet``, whole or not at all.

        Parameters
        ----------
        table
            What `topo.study.table.results_table` returned.
        facts
            The provenance that a digest in the column of that name stands for.

        Returns
        -------
        Path
            The file.
        """
        # What each metric is travels with the table: whoever reads it may not have registered them.
        table.attrs["metrics"] = metric_facts()
        digests = sorted(set(table["provenance"]) - {""}) if "provenance" in table.columns else []
        return self._write_parquet(self.table_file, table, {digest: facts(digest) for digest in digests})

    def write_layers(self, layers: pd.DataFrame) -> Path:
        """Write ``layers.parquet``, whole or not at all.

        Parameters
        ----------
        layers
            What `topo.study.layer_rows.layer_rows` returned.

        Returns
        -------
        Path
            The file.
        """
        return self._write_parquet(self.layers_file, layers, {})

    def add_measured(self, measured: Measured) -> Path:
        """Add to ``measured.parquet``, whole or not at all, and beside what other processes add.

        Parameters
        ----------
        measured
            Of cells, which keep what else is known of them. What was measured of an earlier result of a cell goes.

        Returns
        -------
        Path
            The file.
        """
        with reported(self.folder), _locked(self.folder):
            found = self.read_measured()
            for key, row in measured.items():
                found.setdefault(key, {}).update(row)
            latest = dict(sorted(found))
            kept = {(cell, date): row for (cell, date), row in found.items() if latest[cell] == date}
            reasons = [{name: value for name, value in row.items() if isinstance(value, str)} for row in kept.values()]
            table = pd.DataFrame(list(kept), columns=KEY, dtype=object)
            table["undefined"] = pd.Series([json.dumps(said) if said else "" for said in reasons], dtype=object)
            return self._write_parquet(self.measured_file, table.join(_values(kept.values(), table.index)), {})

    def read_measured(self) -> Measured:
        """What `add_measured` wrote; nothing where there is no such file.

        Raises
        ------
        StudyError
            When the file is there but cannot be read, or holds something else.
        """
        if not os.path.lexists(self.measured_file):
            return {}
        found: Measured = {}
        try:
            table = read_table(self.measured_file)
            keys = zip(*(_texts(table[name]) for name in KEY), strict=True)
            said = _texts(table["undefined"]) if "undefined" in table else [""] * len(table)
            values = table.drop(columns=[*KEY, "undefined"], errors="ignore")
            if set(values) & RESERVED or not all(map(pd.api.types.is_numeric_dtype, values.dtypes)):
                raise ValueError
            for key, reasons, row in zip(keys, said, values.astype(float).to_dict("records"), strict=True):
                known = found.setdefault(key, {})
                known.update({name: str(reason) for name, reason in json.loads(reasons or "{}").items()})
                known.update({str(name): value for name, value in row.items() if not math.isnan(value)})
            if RESERVED & {name for known in found.values() for name in known}:
                raise ValueError
        except (InputError, KeyError, ValueError, AttributeError, RecursionError) as error:
            raise StudyError(
                f"{self.measured_file} cannot be read; delete it, and measure again with "
                f"topo study measure {self.folder}."
            ) from error
        return found

    def with_measured(self, table: pd.DataFrame) -> pd.DataFrame:
        """A results table with what ``measured.parquet`` has of the same results.

        Parameters
        ----------
        table
            With the columns `cell`, `date` and `undefined`.

        Returns
        -------
        DataFrame
            The same rows; of a column in both, what was measured later counts where it is there.
        """
        measured = self.read_measured()
        if not measured or table.empty:
            return table
        rows = [measured.get(key, {}) for key in zip(table["cell"], table["date"], strict=True)]
        later = _values(rows, table.index)
        both = [name for name in later.columns if name in table.columns]
        added = [
            undefined_text({name: value for name, value in row.items() if isinstance(value, str) and name not in table})
            for row in rows
        ]
        undefined = ["; ".join(filter(None, texts)) for texts in zip(table["undefined"], added, strict=True)]
        joined = table.assign(undefined=undefined, **{name: later[name].fillna(table[name]) for name in both})
        return joined.join(later.drop(columns=both))

    def _write_parquet(self, file: Path, table: pd.DataFrame, provenance: dict[str, Any]) -> Path:
        content = pa.Table.from_pandas(table, preserve_index=False)
        if provenance:
            facts = {b"provenance": json.dumps(provenance).encode()}
            content = content.replace_schema_metadata({**(content.schema.metadata or {}), **facts})
        with reported(self.folder), replacing(file) as name:
            pq.write_table(content, name)
        return file

    def read_table(self) -> pd.DataFrame:
        """What ``results.parquet`` holds; an empty table where there is none.

        Returns
        -------
        DataFrame
            The results table.

        Raises
        ------
        StudyError
            When the file is there but cannot be read.
        """
        try:
            if not os.path.lexists(self.table_file):
                return pd.DataFrame()
            return read_table(self.table_file)
        except InputError as error:
            cause = error.__cause__
            reason = getattr(cause, "strerror", None) or "it is not a whole Parquet file"
            raise StudyError(
                f"{self.table_file} cannot be read ({reason}), and the records that it was made of are not there; run "
                f"topo study run {self.folder} to compute the study anew."
            ) from error

    def recorded_metrics(self) -> dict[str, Any]:
        """What ``results.parquet`` says of its metrics; nothing when there is none or it can not be read."""
        try:
            require_file(self.table_file)
            recorded = pd.read_parquet(self.table_file, columns=[]).attrs.get("metrics", {})
        except Exception:  # whatever a reader trips over in bytes that anybody may have written
            return {}
        return recorded if isinstance(recorded, dict) else {}


def _values(rows: Iterable[Mapping[str, float | str]], index: pd.Index) -> pd.DataFrame:
    """The values of rows as columns; NaN where there is none."""
    numbers = [{name: math.nan if isinstance(v, str) else v for name, v in row.items()} for row in rows]
    return pd.DataFrame(numbers, index=index).astype(float)


def _texts(column: pd.Series) -> list[str]:
    texts = column.tolist()
    if not all(isinstance(text, str) for text in texts):
        raise ValueError
    return texts


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Keep other processes of this machine from the same block, where the file system has locks."""
    if os.name == "nt":  # which opens no folders
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        lock(handle)  # without locks one of two processes that write at once may take back what the other measured
        yield
    finally:
        os.close(handle)


@contextmanager
def reported(folder: Path) -> Iterator[None]:
    """Turn a refusal to write into one sentence.

    Parameters
    ----------
    folder
        The study's folder.

    Raises
    ------
    StudyError
        When the block raises `OSError`, or says that a file cannot be written.
    """
    try:
        yield
    except StudyError:
        raise
    except (OSError, InputError) as error:
        cause = error.__cause__ if isinstance(error.__cause__, OSError) else error
        raise StudyError(
            f"cannot write the study in {folder} ({_reason(cause, folder)}); finished cells are kept, so make room or "
            "choose a writable folder and run again."
        ) from error


def _reason(error: BaseException, folder: Path) -> str:
    """What the system says, and of which file where that is there."""
    if not isinstance(error, OSError):
        return str(error).rstrip(".")
    name = error.filename2 or error.filename
    known = name is not None and os.path.lexists(name) and Path(name) != Path(folder)
    return (error.strerror or str(error)) + (f": {name}" if known else "")
