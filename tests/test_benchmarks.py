"""What documents say of benchmarks is what the records say."""

from __future__ import annotations

import json
import re
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(
    ("page", "table"),
    [("docs/measuring.md", "markdown"), ("benchmarks/README.md", "markdown"), ("benchmarks/README.md", "routes")],
)
def test_costs_of_metrics_are_those_of_the_record(page: str, table: str) -> None:
    record = json.loads((ROOT / "benchmarks" / "results" / "topometrics.json").read_text())
    made = runpy.run_path(str(ROOT / "benchmarks" / "cost_report.py"))[table]
    shown = re.findall(rf"<!-- {table}: .*?-->\n+(.*?)\n+<!-- end -->", (ROOT / page).read_text(), re.DOTALL)
    assert shown == [made(record)]


def test_the_comparison_with_other_tools_is_that_of_the_record(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    record = json.loads((ROOT / "benchmarks" / "results" / "other_tools.json").read_text())
    tables = runpy.run_path(str(ROOT / "docs" / "comparison_tables.py"))
    page = (ROOT / "docs" / "comparison.md").read_text()
    assert tables["page"](page, record) == page


def test_what_nu_leaves_is_that_of_the_record(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    knobs = runpy.run_path(str(ROOT / "benchmarks" / "variational_knobs.py"))
    record = ROOT / "benchmarks" / "results" / "variational_knobs_digits_digits-cnn-blocks3.json"
    rows = json.loads(record.read_text())["rows"]
    page = (ROOT / "docs" / "variational.md").read_text()
    assert re.findall(r"<!-- nu_table: .*?-->\n+(.*?)\n+<!-- end -->", page, re.DOTALL) == [knobs["nu_table"](rows)]
    alone = [row for row in rows if row["seed"] == 0]
    assert "nan" not in knobs["nu_table"](alone)
    titles = [axis.get_title("left") for axis in knobs["draw"](alone).axes]
    assert titles == ["What nu leaves", "Beside dense networks of equal cost", "What kappa leaves"]
