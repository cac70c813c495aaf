"""Tables on disk: what a spreadsheet would run stands behind a quote, and everything reads back equal."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from topo.errors import InputError
from topo.tables import csv_text, read_table, write_table

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize("text", ["=1+1", "+1+1", "-1+1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "'=1", "''@", "＝1"])
def test_a_formula_stands_behind_a_quote_and_reads_back(text: str, tmp_path: Path):
    table = pd.DataFrame({"model": [text, "net"], "=cmd|' /C calc'!A0": [1.5, -2]})
    path = write_table(tmp_path / "t.csv", table)
    cells = path.read_bytes().decode()
    assert not re.search(r'(^|[,"])[=+@\t\r＝]', cells) and f"'{text}"[0:2] in cells
    pd.testing.assert_frame_equal(read_table(path), table, check_dtype=False)
    assert pd.read_csv(path).iloc[:, 1].tolist() == [1.5, -2]


def test_numbers_stay_numbers():
    table = pd.DataFrame({"text": ["-0.5", "+3e-4", "-"], "a": [-0.5, -np.inf, 1], "b": [-1, 0, 1]})
    assert csv_text(table, float_format="%.2g") == "text,a,b\n-0.5,-0.5,-1\n+3e-4,-inf,0\n'-,1,1\n"


CELLS = st.text("=+-@\t\r\n'\"a,;0 é", min_size=1, max_size=5).filter(
    lambda text: not re.fullmatch(r"[-+]?[0\s]+", text)
)


@settings(max_examples=80, derandomize=True, deadline=None)
@given(st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=4), CELLS)
def test_any_text_reads_back_equal(tmp_path_factory: pytest.TempPathFactory, rows: list, name: str):
    table = pd.DataFrame(rows, columns=[name, "other"])
    path = write_table(tmp_path_factory.getbasetemp() / "any.csv", table)
    read = read_table(path, dtype=str, keep_default_na=False)
    assert read.columns.tolist() == table.columns.tolist()
    assert read.to_numpy().tolist() == table.to_numpy().tolist()


def test_every_writer_of_csv_is_this_one():
    files = [*(ROOT / "topo").rglob("*.py"), *(ROOT / "analyses").glob("*.py")]
    assert [file.name for file in files if ".to_csv(" in file.read_text() and file.name != "tables.py"] == []


def test_what_is_no_table(tmp_path: Path):
    for name, content, sentence in (
        ("empty.csv", b"", "cannot be read as a table"),
        ("latin.csv", b"a,b\n\xe9,1\n", "cannot be read as a table"),
        ("ragged.csv", b"a,b\n1,2\n1,2,3,4\n", "cannot be read as a table"),
        ("quote.csv", b'a,b\n"1,2\n', "cannot be read as a table"),
        ("wide.csv", b"," * 60_000 + b"\n1\n", "more than 50,000 columns"),
        ("text.parquet", b"no table", "cannot be read as a table"),
        ("cut.parquet", b"PAR1" + bytes(90), "cannot be read as a table"),
        ("table.xlsx", b"", "must end in .csv or .parquet"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=sentence) as error:
            read_table(tmp_path / name)
        assert name in str(error.value)
    os.mkfifo(tmp_path / "pipe.csv")
    with pytest.raises(InputError, match="is no file"):
        read_table(tmp_path / "pipe.csv")


def test_what_unfolds_to_more_than_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("topo.tables.available_memory", lambda: 10**7)
    texts = pa.array(["x" * 100_000] * 150)
    lists = pa.array([list(range(1_000))]).take(pa.array(np.zeros(1_500, np.int32)))
    for name, column in {"long": texts, "many": pa.nulls(1_300_000, pa.float64()), "lists": lists}.items():
        path = tmp_path / f"{name}.parquet"
        pq.write_table(pa.table({"a": column}), path, compression="zstd")
        assert path.stat().st_size < 200_000
        with pytest.raises(InputError, match=r"holds .* MiB, and 9\.5 MiB of memory is free"):
            read_table(path)
    table = pd.DataFrame({"a": ["x" * 100_000] * 20, "b": 1.0})
    table.attrs["metrics"] = {"b": 1}
    read = read_table(write_table(tmp_path / "t.parquet", table))
    assert read.equals(table) and read.attrs == table.attrs
