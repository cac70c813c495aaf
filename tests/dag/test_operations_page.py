"""docs/operations.md names every operation that has a record, under what its record says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from topo.dag.operators import OPERATORS, Operator
from topo.dag.operators.probing import MOST_ENTRIES

PAGE = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()
HEADS = re.findall(r"^\| ([^`|]+) \| `", PAGE, re.MULTILINE)


def kind(record: Operator) -> str:
    facts = {
        "written as other operations": record.composition is not None,
        "looks rows of a table up": record.lookup,
        "multiplies by a weight": bool(record.weights) or record.outer_factors is not None,
        "softmax": record.exact is not None,
        "norm": record.norm,
        "activation": record.activation,
        "nothing flows through": record.comparison,
        "fills in a number": record.fills is not None and record.map is None,
        "pools": record.pooling,
        "statistic along axes": record.reduced_axes is not None,
        "moves elements": record.view,
        "element by element": record.pointwise,
        "has a map of its own": record.map is not None,
    }
    return next((name for name, holds in facts.items() if holds), "exported as what it is made of")


def test_every_kind_has_a_row():
    assert set(HEADS) == {kind(record) for record in OPERATORS.values()} and len(set(HEADS)) == len(HEADS)


@pytest.mark.parametrize("head", HEADS)
def test_a_row_names_the_operations_of_its_kind(head: str):
    (row,) = re.findall(rf"^\| {re.escape(head)} \| (.*) \|$", PAGE, re.MULTILINE)
    known = {name for name, record in OPERATORS.items() if kind(record) == head}
    assert set(re.findall("`([^`]+)`", row)) == known


def test_the_largest_jacobian_is_the_one_that_probing_allows():
    assert f"2^{MOST_ENTRIES.bit_length() - 1} entries" in PAGE
