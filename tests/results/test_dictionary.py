from __future__ import annotations

from topo.results import describe_columns, digits_study, example_results
from topo.results.dictionary import MEASURED_SUFFIXES, RUN_COLUMNS
from topo.results.schema import SUFFIXES
from topo.study.table import RESERVED


def test_every_column_of_a_finished_study_is_described():
    told = describe_columns(digits_study())
    assert len(told) > 400
    assert told.index[told["description"] == ""].tolist() == []
    assert (told["metric"] != "").sum() > 400


def test_every_column_that_studies_reserve_and_every_suffix_is_described():
    assert {*RUN_COLUMNS} >= RESERVED
    assert {*MEASURED_SUFFIXES} == {*SUFFIXES}


def test_descriptions_say_what_a_column_is():
    told = describe_columns(["motifs", "motifs_norm", "unrolled__motifs_z", "pruner", "own"])["description"]
    assert told["motifs_norm"].startswith(told["motifs"].rstrip("."))
    assert "divided by" in told["motifs_norm"]
    assert "random masks" in told["unrolled__motifs_z"]
    assert told["own"] == ""


def test_a_table_is_taken_whole():
    table = example_results()
    assert describe_columns(table).index.tolist() == list(table.columns)
