"""The documentation site: its pages say everything that there is, and its gallery shows every figure."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

import topo
from topo.encoding import ENCODINGS
from topo.features import METRICS
from topo.features.registry import columns_of
from topo.pruning import PRUNERS

ROOT = Path(__file__).resolve().parents[1]
GALLERY = ROOT / "docs" / "gallery"


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    docs = tmp_path_factory.mktemp("repository") / "docs"
    (docs.parent / "notebooks").mkdir()
    runpy.run_path(str(ROOT / "docs" / "generated_pages.py"))["write"](docs)
    return docs / "generated"


def test_every_metric_encoding_and_pruner_has_a_page(generated: Path):
    for folder, registry in (("metrics", METRICS), ("encodings", ENCODINGS), ("pruners", PRUNERS)):
        own = {entry.name for entry in registry.entries() if entry.source.built_in}
        assert {path.stem for path in (generated / folder).glob("*.md")} == {*own, "index"}
        index = (generated / folder / "index.md").read_text()
        assert all(f"[{name}]({name}.md)" in index for name in own)


def test_pages_of_pruners_say_what_these_need(generated: Path):
    assert "| data, and a recipe to train with |" in (generated / "pruners" / "rigl.md").read_text()
    index = (generated / "pruners" / "index.md").read_text()
    for name, needed in (("er", "nothing"), ("l1-filter", "example"), ("snip", "data"), ("imp", "recipe")):
        assert re.search(rf"^\| \[{name}\].*\| {needed} \|[^|]*\|$", index, re.M)


def test_every_public_name_is_documented_once(generated: Path):
    pages = {path.stem: path.read_text() for path in (generated / "reference").glob("*.rst")}
    assert {*pages} == {"topo", *topo._MODULES}
    documented = [d for text in pages.values() for d in re.findall(r"^\.\. (?:auto\w+|py:data):: (\S+)", text, re.M)]
    assert len(documented) == len({*documented}) > 100
    assert {f"topo.{name}" for name in topo.__all__ if name not in topo._MODULES} <= {*documented}


def test_every_column_of_a_metric_is_in_the_dictionary(generated: Path):
    text = (generated / "columns.md").read_text()
    assert [
        column for entry in METRICS.entries() for column in columns_of(entry) if f"| `{column}` |" not in text
    ] == []


def test_reasons_why_a_metric_is_undefined_come_from_its_code(generated: Path):
    assert "- the graph has no edge" in (generated / "metrics" / "assortativity.md").read_text()
    assert "Never" in (generated / "metrics" / "nodes.md").read_text()


def test_an_encoding_says_all_that_its_page_needs(generated: Path):
    for entry in (entry for entry in ENCODINGS.entries() if entry.source.built_in):
        assert all(entry.info[fact] for fact in ("nodes", "edge", "weight", "formula"))
        page = (generated / "encodings" / f"{entry.name}.md").read_text()
        assert f"{{image}} {entry.name}.png" in page and entry.info["formula"] in page
        assert (generated / "encodings" / f"{entry.name}.png").stat().st_size > 10_000


def test_the_page_of_a_metric_has_its_formula_range_and_cost(generated: Path):
    page = (generated / "metrics" / "sink_nodes.md").read_text()
    assert all(fact in page for fact in ("$$", "| `sink_nodes` | $0$ to $N$ |", "| `sink_nodes_norm` | $0$ to $1$ |"))
    assert "| measured | by default |" in page and "| cost | O(N + E)" in page
    assert "| `iwsg` | $0$ to $\\infty$ |" in (generated / "metrics" / "iwsg.md").read_text()


def test_the_gallery_shows_every_figure():
    code = "".join(path.read_text() for path in GALLERY.glob("*.py"))
    functions = [name for name in topo.plots.__all__ if name != "InteractiveDrawing"]  # what one of them returns
    assert [name for name in functions if f"topo.plots.{name}(" not in code] == []


def test_every_page_is_reached_from_the_first(generated: Path):
    index = (ROOT / "docs" / "index.md").read_text()
    pages = {path.stem for path in (ROOT / "docs").glob("*.md")} - {"index"}
    assert [page for page in pages if not re.search(rf"^{page}$", index, re.M)] == []
