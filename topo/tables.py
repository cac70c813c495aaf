"""Tables on disk, CSV and Parquet: no cell that a spreadsheet would run, no file that unfolds to more than memory."""

from __future__ import annotations

import csv
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from .errors import InputError, described
from .memory import available_memory, in_words
from .safe_files import replacing, require_file

__all__ = ["csv_text", "read_table", "write_table"]

SUFFIXES = (".csv", ".parquet")
MOST_COLUMNS = 50_000
# How a cell begins that spreadsheets take for a formula, behind the quotes that say it is text.
_FORMULA = re.compile(r"'*[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")
_QUOTED = re.compile(r"'+[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")
_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")


def csv_text(table: pd.DataFrame, *, float_format: str | None = None) -> str:
    """A table as CSV, in which text that spreadsheets would run as a formula stands behind a quote, as they have it.

    `read_table` takes the quotes away again. Numbers stay as they are.

    Parameters
    ----------
    table
        Any table; its index is left out.
    float_format
        Of its real numbers, such as ``"%.6g"``.

    Returns
    -------
    str
        The file's text.

    Examples
    --------
    >>> print(csv_text(pd.DataFrame({"model": ["=1+1", "net"], "drop": [-0.5, 2]})), end="")
    model,drop
    '=1+1,-0.5
    net,2.0
    """
    table = _mapped(table, _behind_quote)
    # Python quotes a cell with a carriage return only where it quotes all text.
    text = table.to_csv(index=False, float_format=float_format)
    if "\r" in text:
        text = table.to_csv(index=False, float_format=float_format, quoting=csv.QUOTE_NONNUMERIC)
    return text


def write_table(path: str | Path, table: pd.DataFrame, *, float_format: str | None = None) -> Path:
    """Write a table to a ``.csv`` or ``.parquet`` file, whole or not at all.

    Parameters
    ----------
    path
        The file to write or replace.
    table
        Any table; its index is left out.
    float_format
        Of real numbers in CSV.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    InputError
        The file has another ending, or cannot be written.
    """
    path = Path(path)
    _require_suffix(path)
    with replacing(path) as name:
        if path.suffix == ".csv":
            text = csv_text(table, float_format=float_format)
            Path(name).write_text(text, encoding="utf-8", errors="replace", newline="")
        else:
            table.to_parquet(name, index=False)
    return path


def read_table(path: str | Path, **options: Any) -> pd.DataFrame:
    """The table in a ``.csv`` or ``.parquet`` file.

    Parameters
    ----------
    path
        The file.
    **options
        Of `pandas.read_csv`.

    Returns
    -------
    DataFrame
        Text as it was before `csv_text`.

    Raises
    ------
    InputError
        The file is missing, damaged or of another kind, or holds more than fits in memory.
    """
    path = require_file(path)
    _require_suffix(path)
    try:
        if path.suffix == ".parquet":
            _require_room(path)
            table = pd.read_parquet(path)
            for i, kind in enumerate(table.dtypes):
                if not pd.api.types.is_numeric_dtype(kind):
                    table.iloc[:, i].astype(object)  # text that is none is found now, and not where it is used
            return table
        with path.open("rb") as file:
            _require_few_columns(path, file.readline(MOST_COLUMNS * 100).count(b","))
        table = pd.read_csv(path, **options)
    except InputError:
        raise
    except Exception as error:  # whatever a reader trips over in bytes that anybody may have written
        reason = described(error).rstrip(".")
        raise InputError(
            f"{path} cannot be read as a table ({reason}); it may be cut short or of another kind."
        ) from error
    return _as_written(table)


def _require_suffix(path: Path) -> None:
    if path.suffix not in SUFFIXES:
        raise InputError(f"{path} must end in .csv or .parquet.")


def _require_few_columns(path: Path, count: int) -> None:
    if count > MOST_COLUMNS:
        raise InputError(f"{path} has more than {MOST_COLUMNS:,} columns, which no table of results has.")


def _require_room(path: Path) -> None:
    """Refuse a Parquet file that says it holds more than memory, and one that says few long texts very often."""
    with pq.ParquetFile(path) as file:
        facts, schema = file.metadata, file.schema_arrow
        _require_few_columns(path, facts.num_columns)
        groups = [facts.row_group(i) for i in range(facts.num_row_groups)]
        size = sum(8 * g.column(i).num_values for g in groups for i in range(g.num_columns))
        size = max(size, 8 * facts.num_rows, sum(g.total_byte_size for g in groups))
        texts = [field.name for field in schema if pa.types.is_string(field.type) or pa.types.is_binary(field.type)]
    free = available_memory()
    if size <= free and texts:
        # As a dictionary, a text that is repeated takes room once.
        with pq.ParquetFile(path, read_dictionary=texts) as file:
            table = file.read(columns=texts)
        size += sum(_characters(chunk) for column in table.columns for chunk in column.chunks)
    if size > free:
        raise InputError(f"{path} holds {in_words(size)}, and {in_words(free)} of memory is free.")


def _characters(chunk: pa.Array) -> int:
    if not pa.types.is_dictionary(chunk.type):
        return chunk.nbytes
    return pc.sum(pc.take(pc.cast(pc.binary_length(chunk.dictionary), pa.int64()), chunk.indices)).as_py() or 0


def _as_written(table: pd.DataFrame) -> pd.DataFrame:
    return _mapped(table, lambda text: text[1:] if isinstance(text, str) and _QUOTED.match(text) else text)


def _mapped(table: pd.DataFrame, change: Any) -> pd.DataFrame:
    """A table whose text is changed, that of its columns' names too; columns without such text stay as they are."""
    changed = table.copy(deep=False)
    for i, kind in enumerate(table.dtypes):
        if pd.api.types.is_numeric_dtype(kind) or pd.api.types.is_datetime64_any_dtype(kind):
            continue
        before = table.iloc[:, i].astype(object)
        after = before.map(change)
        if not after.equals(before):
            changed.isetitem(i, after)
    names = [change(name) for name in table.columns]
    return changed if names == list(table.columns) else changed.set_axis(names, axis=1)


def _behind_quote(value: Any) -> Any:
    dangerous = isinstance(value, str) and _FORMULA.match(value) and not _NUMBER.fullmatch(value)
    return f"'{value}" if dangerous else value
