"""A table in which everything is odd: the page is whole, nothing in it is obeyed, and what cannot be is marked."""

from __future__ import annotations

import html.parser
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from topo.report import write_report
from topo.results import example_results
from topo.tables import write_table

EVIL = "<script>alert(1)</script><img src=x onerror=alert(1)>\"'&amp;"


class Page(html.parser.HTMLParser):
    """Counts what opens and closes, and collects what a browser would run."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.wrong: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attributes: list) -> None:
        if tag not in ("meta", "link", "br", "img", "input", "hr", "wbr", "col"):
            self.open.append(tag)
        self.wrong += [name for name, _ in attributes if name.startswith("on")]

    def handle_endtag(self, tag: str) -> None:
        while self.open and self.open[-1] != tag and self.open[-1] in ("td", "th", "tr", "thead", "tbody", "li", "p"):
            self.open.pop()  # HTML does not ask that these end
        if not self.open or self.open.pop() != tag:
            self.wrong.append(tag)

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("style", "script"):
            self.text.append(data)


def odd() -> pd.DataFrame:
    """Every name and several values odd."""
    table = example_results(sparsities=(0.9,))
    models = [EVIL, "$\\frac{x$", "y" * 10_000, "\x00\x1b]0;x\x07\u202enet", ""]
    pruners = dict(zip(table["pruner"].unique(), [EVIL, "=1+1", "_^{$", "&#0;"], strict=False))
    table["model"] = [*models, *models[:1] * (len(table) - len(models))]
    table["pruner"] = table["pruner"].map(lambda name: name if name == "dense" else pruners.get(name, name))
    table["dataset"], table["reason"], table["family"] = EVIL, EVIL, "</td></table>"
    table.loc[[3, 4, 5], "accuracy"], table.loc[6, "sparsity"] = [np.inf, -5, 1e300], 2.0
    return table


@pytest.mark.slow
def test_a_table_of_odd_values(tmp_path: Path):
    before = os.umask(0o027)
    try:
        file = write_table(tmp_path / "odd.csv", odd())
        page = write_report(file, tmp_path / "page.html", questions=[], workers=1)
    finally:
        os.umask(before)
    text, folder = page.read_text(), tmp_path / "page-files"
    assert len(text) < 1_000_000 and not any(hidden in text for hidden in "\x00\x1b\u202e") and "y" * 1_000 not in text
    assert "values are infinite" in text and "values are no shares" in text and "rows have no sparsity" in text
    parsed = Page()
    parsed.feed(text)
    assert (parsed.wrong, parsed.open) == ([], [])
    shown = " ".join(parsed.text)
    assert "<script>alert(1)</script>" in shown and "$\\frac{x$" in shown and "unnamed" in shown
    assert "<img src=x" not in text and "</td></table>" in shown
    assert page.stat().st_mode & 0o777 == 0o640 and folder.stat().st_mode & 0o777 == 0o750
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert files and {path.stat().st_mode & 0o777 for path in files} == {0o640}
    cells = "\n".join(path.read_text() for path in files if path.suffix == ".csv")
    assert "'=1+1" in cells and ",=1+1" not in cells and "\n=1+1" not in cells
