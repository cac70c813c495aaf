"""The tables of a study as Parquet files, and how a refusal to write becomes one sentence."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
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

__all__ = ["TableFiles", "reported"]

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

    def write_measured(self, measured: Mapping[tuple[str, str], Mapping[str, float]]) -> Path:
        """Write ``measured.parquet``, whole or not at all.

        Parameters
        ----------
        measured
            Cell and date of its result -> column -> value.

        Returns
        -------
        Path
            The file.
        """
        keys = pd.DataFrame(list(measured), columns=KEY, dtype=object)
        values = pd.DataFrame(list(measured.values()), index=keys.index).astype(float)
        return self._write_parquet(self.measured_file, keys.join(values), {})

    def read_measured(self) -> dict[tuple[str, str], dict[str, float]]:
        """What `write_measured` wrote; nothing where there is no such file.

        Raises
        ------
        StudyError
            When the file is there but cannot be read.
        """
        if not os.path.lexists(self.measured_file):
            return {}
        try:
            table = read_table(self.measured_file).set_index(KEY)
        except (InputError, KeyError) as error:
            raise StudyError(
                f"{self.measured_file} cannot be read; delete it, and measure again with "
                f"topo study measure {self.folder}."
            ) from error
        return dict(zip(table.index, table.to_dict("records"), strict=True))

    def with_measured(self, table: pd.DataFrame) -> pd.DataFrame:
        """A results table with what ``measured.parquet`` has of the same results.

        Parameters
        ----------
        table
            With the columns `cell` and `date`.

        Returns
        -------
        DataFrame
            The same rows; of a column in both, what was measured later counts where it is there.
        """
        measured = self.read_measured()
        if not measured or table.empty:
            return table
        rows = [measured.get(key, {}) for key in zip(table["cell"], table["date"], strict=True)]
        later = pd.DataFrame(rows, index=table.index)
        both = [name for name in later.columns if name in table.columns]
        joined = table.assign(**{name: later[name].fillna(table[name]) for name in both})
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
