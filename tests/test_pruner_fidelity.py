"""The record of the agreement with public implementations says why wherever it is not complete."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from topo.pruning import PRUNERS

RECORD = Path(__file__).parents[1] / "benchmarks" / "results" / "pruner_fidelity.json"


@pytest.fixture(scope="module")
def record():
    return json.loads(RECORD.read_text())


def test_every_disagreement_is_explained(record):
    for row in record["rows"]:
        if "skipped" in row:
            assert row["skipped"], row
            continue
        agreement = min(value for value in (row["spearman"], row["mask_overlap"]) if value is not None)
        assert bool(row["explanation"]) == (agreement < 0.999), row


def test_every_row_is_of_an_algorithm(record):
    compared = {row["algorithm"] for row in record["rows"]}
    assert compared <= set(PRUNERS)
    assert not compared & set(record["not_compared"])


def test_the_record_names_no_folder_of_a_machine():
    assert not re.search(r"(^|[\s\"'=:])/\w+/", RECORD.read_text())
