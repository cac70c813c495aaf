"""The tables of README that follow from the registries: ``python docs/readme_tables.py`` writes them anew."""

from __future__ import annotations

import textwrap
from itertools import groupby
from pathlib import Path

from marked_tables import with_tables

from topo.encoding import ENCODINGS
from topo.features import CATEGORIES, METRICS
from topo.pruning import PRUNERS

README = Path(__file__).resolve().parents[1] / "README.md"
WHAT = {
    "initial": ("at initialisation", "single weights, before training"),
    "dynamic": ("dynamic", "single weights that come and go while training"),
    "trained": ("dense to sparse", "single weights, while or after training"),
    "structured": ("structured", "whole channels, heads and features"),
}


def pruners() -> str:
    """A row a family, with the names of its pruners."""
    own = [entry for entry in PRUNERS.entries() if entry.source.built_in]
    own.sort(key=lambda entry: list(WHAT).index(entry.family))
    rows = ["| family | prunes | which |", "|---|---|---|"]
    for family, entries in groupby(own, key=lambda entry: entry.family):
        rows.append(f"| {' | '.join(WHAT[family])} | {', '.join(sorted(entry.name for entry in entries))} |")
    return "\n".join(rows)


def encodings() -> str:
    """A row an encoding: its nodes, edges and weights."""
    rows = ["| encoding | nodes | an edge | its weight |", "|---|---|---|---|"]
    for entry in sorted((e for e in ENCODINGS.entries() if e.source.built_in), key=lambda e: e.info["layers"]):
        rows.append(f"| `{entry.name}` | {entry.info['nodes']} | {entry.info['edge']} | {entry.info['weight']} |")
    return "\n".join(rows)


def metrics() -> str:
    """The categories with how many metrics each has, those that have to be asked for last."""
    sentences = []
    for by_default, begin in ((True, "measured by default"), (False, "when asked for")):
        named = []
        for category in CATEGORIES.entries():
            own = [entry for entry in METRICS.entries() if entry.family == category.name and entry.source.built_in]
            if category.info["by_default"] == by_default and own:
                named.append(f"{category.name} ({len(own)})")
        sentences.append(f"{begin}: {', '.join(named)}")
    count = sum(entry.source.built_in for entry in METRICS.entries())
    text = f"{count} metrics by category; {'; '.join(sentences)}."
    return textwrap.fill(text, 120, break_long_words=False, break_on_hyphens=False)


TABLES = {"pruners": pruners, "encodings": encodings, "metrics": metrics}


def page(text: str) -> str:
    """README with each table as the registries have it."""
    return with_tables(text, {name: made() for name, made in TABLES.items()})


if __name__ == "__main__":
    README.write_text(page(README.read_text()))
