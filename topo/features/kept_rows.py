"""The rows of a table that takes long: each on disk as soon as it is there, found again by its key."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from zlib import crc32

import pandas as pd

from ..errors import InputError
from ..safe_files import parsed_json, require_file, writing
from ..tables import read_table, write_table

__all__ = ["IDENTITY", "KeptRows"]

IDENTITY = (
    *("file", "model", "pruner", "sparsity", "reached_sparsity", "seed", "kept_weights", "total_weights"),
    *("engine", "status", "reason", "undefined", "key"),
)
"""Columns that say what a row is of; those of metrics come after them."""
_TEXT = ("file", "model", "pruner", "engine", "status", "reason", "undefined", "key")


class KeptRows:
    """The rows of a table of files, in the table itself and, while it grows, in a second file beside it.

    Parameters
    ----------
    output
        The table, ``.csv`` or ``.parquet``, which need not be there; None keeps nothing on disk.
    options
        Begins the keys of all rows: what they depend on besides the files.
    columns
        Those of the metrics.

    Attributes
    ----------
    rows
        Key -> finished row.

    Raises
    ------
    InputError
        When `output` has another ending, or is a table of something else or of other options.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     KeptRows(f"{folder}/t.csv", "a", ["nodes"]).add({"key": "a-1", "status": "finished", "nodes": 3.0})
    ...     again = KeptRows(f"{folder}/t.csv", "a", ["nodes"])
    ...     table = again.finish({"m.safetensors": "a-1"})
    >>> table[["file", "nodes"]].to_numpy().tolist()
    [['m.safetensors', 3.0]]
    """

    def __init__(self, output: str | Path | None, options: str, columns: Sequence[str]) -> None:
        self.output = None if output is None else Path(output)
        self.columns = list(columns)
        self.rows: dict[str, dict[str, Any]] = {}
        self._failed: dict[str, dict[str, Any]] = {}
        if self.output is None:
            return
        if self.output.suffix not in (".csv", ".parquet"):
            raise InputError(f"{self.output} must end in .csv or .parquet.")
        self._unfinished = self.output.with_name(f"{self.output.name}.unfinished.jsonl")
        known = self._read_table() + self._read_unfinished()
        others = [row for row in known if not str(row["key"]).startswith(f"{options}-")]
        if others:
            raise InputError(
                f"{self.output} holds measurements of another model, other metrics or other options, such as of "
                f"{others[0].get('file') or others[0]['key']!r}; write to another file, or remove it first."
            )
        self.rows = {str(row["key"]): row for row in known if row["status"] == "finished"}

    def add(self, row: Mapping[str, Any]) -> None:
        """Keep a row, on disk too.

        Parameters
        ----------
        row
            With its ``"key"`` and ``"status"``.

        Raises
        ------
        InputError
            When the file cannot be written.
        """
        found = dict(row)
        (self.rows if found["status"] == "finished" else self._failed)[found["key"]] = found
        if self.output is not None:
            plain = {name: None if isinstance(v, float) and math.isnan(v) else v for name, v in found.items()}
            with writing(self._unfinished):
                self._unfinished.parent.mkdir(parents=True, exist_ok=True)
                with self._unfinished.open("a", encoding="utf-8") as file:
                    file.write(_line(json.dumps(plain)))

    def finish(self, keys: Mapping[str, str]) -> pd.DataFrame:
        """The table of these files, written.

        Parameters
        ----------
        keys
            File -> key. Finished rows of other files that the table had stay in what is written.

        Returns
        -------
        DataFrame
            One row a file, in their order.

        Raises
        ------
        InputError
            When the file cannot be written.
        """
        known = self.rows | self._failed
        rows = [known[key] | {"file": file} for file, key in keys.items()]
        if self.output is not None:
            asked = {*keys.values()}
            others = [r for key, r in self.rows.items() if key not in asked and r.get("file") not in {None, "", *keys}]
            table = self._table(rows + others)
            write_table(self.output, table)
            self._unfinished.unlink(missing_ok=True)
        return self._table(rows)

    def _table(self, rows: list[dict[str, Any]]) -> pd.DataFrame:
        table = pd.DataFrame(rows, columns=[*IDENTITY, *self.columns])
        for name in table.columns:
            if name in _TEXT:
                table[name] = table[name].astype(object).where(table[name].notna(), "").astype(str)
            else:
                table[name] = pd.to_numeric(table[name]).astype("float64")
        return table

    def _read_table(self) -> list[dict[str, Any]]:
        assert self.output is not None
        if not self.output.exists():
            return []
        try:
            # CSV as text, for pandas itself may read numbers that differ in the last bit.
            table = read_table(self.output, dtype=str, keep_default_na=False)
            if self.output.suffix == ".csv":
                for name in table.columns.difference(_TEXT):
                    table[name] = [float(text or "nan") for text in table[name]]
        except InputError as error:
            raise InputError(f"{str(error).rstrip('.')}; it is in the way of a table: move it away.") from error
        except (ValueError, TypeError) as error:
            raise InputError(f"{self.output} is there and holds text for numbers ({error}); move it away.") from error
        if not {"key", "status", "file"} <= {*table.columns}:
            raise InputError(f"{self.output} is there and holds no table of measured files; write to another file.")
        return [{str(name): value for name, value in row.items()} for row in table.to_dict("records")]

    def _read_unfinished(self) -> list[dict[str, Any]]:
        if not self._unfinished.exists():
            return []
        require_file(self._unfinished)
        content = self._unfinished.read_bytes()
        if not content.endswith(b"\n"):  # a run was killed while it wrote
            with writing(self._unfinished), self._unfinished.open("a", encoding="utf-8") as file:
                file.write("\n")
        lines = content.decode("utf-8", errors="replace").split("\n")
        rows = [parsed_json(text, "a row") for text in (line.rpartition("\t")[0] for line in lines if _is_whole(line))]
        return [row for row in rows if isinstance(row, dict) and {"key", "status"} <= row.keys()]


def _line(text: str) -> str:
    """A line of a file that grows: what it says, and a checksum."""
    return f"{text}\t{crc32(text.encode()):08x}\n"


def _is_whole(line: str) -> bool:
    return line + "\n" == _line(line.rpartition("\t")[0])
