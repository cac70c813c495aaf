"""What documents say of benchmarks is what the records say."""

from __future__ import annotations

import json
import re
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("page", ["docs/measuring.md", "benchmarks/README.md"])
def test_costs_of_metrics_are_those_of_the_record(page: str) -> None:
    record = json.loads((ROOT / "benchmarks" / "results" / "topometrics.json").read_text())
    markdown = runpy.run_path(str(ROOT / "benchmarks" / "cost_report.py"))["markdown"]
    [shown] = re.findall(r"<!-- costs: [^\n]*-->\n+(.*?)\n+<!-- end of costs -->", (ROOT / page).read_text(), re.DOTALL)
    assert shown == markdown(record)
