from __future__ import annotations

import os
import re
from concurrent.futures import ThreadPoolExecutor
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from topo.encoding.graph import BipartiteGraph
from topo.errors import InputError
from topo.report import write_report
from topo.results import example_results, metric_columns
from topo.study import Study, StudyConfig


class Page(HTMLParser):
    """What a test asks of a page: ids, references, cells of the full table, texts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text, self.ids, self.links, self.sources, self.rows = text, [], [], [], []
        self.words, self.inside, self.skip = [], False, False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.skip = tag in ("style", "script")
        if "id" in attrs:
            self.ids.append(attrs["id"])
        for name in ("href", "xlink:href"):
            if name in attrs:
                self.links.append(attrs[name])
        if "src" in attrs:
            self.sources.append(attrs["src"])
        if attrs.get("id") == "table-rows":
            self.inside = True
        if self.inside and tag == "tr":
            self.rows.append([])
        if self.inside and tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        self.skip = False
        if tag == "table":
            self.inside = False

    def handle_data(self, data):
        if self.skip:
            return
        if self.inside and self.rows and self.rows[-1]:
            self.rows[-1][-1] += data.strip()
        self.words.append(data)

    @property
    def prose(self) -> str:
        return " ".join(" ".join(self.words).split())


def report(folder, table, **options) -> Page:
    options = {"questions": [], "files": False} | options
    return Page(write_report(table, folder / "report.html", **options).read_text(encoding="utf-8"))


FEW_METRICS = ("nodes", "edges", "sink_nodes_norm", "spectral_gap", "cut_edges_norm", "rolled__density_mean")


def few_metrics(table: pd.DataFrame) -> pd.DataFrame:
    """The table with five metrics of the whole network and one of its layers, which are drawn sooner than all."""
    return table.drop(columns=[c for c in metric_columns(example_results()) if c not in FEW_METRICS], errors="ignore")


@pytest.fixture(scope="module")
def graph():
    dense = np.random.default_rng(0).random((30, 20)) < 0.3
    return BipartiteGraph(sparse.csr_array(dense.astype(np.float32)), "fc")


@pytest.fixture(scope="module")
def layers():
    rows = [(p, 0.9, name, 0.1) for p in ("snip", "er") for name in ("conv", "fc")]
    return pd.DataFrame(rows, columns=["pruner", "sparsity", "layer", "density"])


@pytest.fixture(scope="module")
def full_page(tmp_path_factory, graph, layers) -> Page:
    """A report with every kind of figure, for two models."""
    return report(tmp_path_factory.mktemp("full"), example_results(models=("a", "b")), graph=graph, layers=layers)


@pytest.fixture(scope="module")
def plain_page(tmp_path_factory) -> Page:
    """The report of the example table alone."""
    return report(tmp_path_factory.mktemp("plain"), example_results())


@pytest.mark.slow
def test_nothing_is_fetched_and_every_reference_resolves(full_page):
    page = full_page
    assert "http:" not in page.text and "https:" not in page.text
    assert all(source.startswith("data:") for source in page.sources)
    assert len(page.ids) == len(set(page.ids))
    for link in page.links:
        assert link.startswith("data:") or (link.startswith("#") and link[1:] in page.ids), link
    for used in re.findall(r"url\(#([^)]+)\)", page.text):
        assert used in page.ids
    assert "@import" not in page.text and '<link rel="stylesheet"' not in page.text


def test_every_figure_is_there(full_page):
    page = full_page
    names = {i.removeprefix("figure-") for i in page.ids if i.startswith("figure-")}
    assert names == {
        "accuracy",
        "heatmap0",
        "heatmap1",
        "rolled0",
        "rolled1",
        "scatter0",
        "scatter1",
        "layers",
        "graph",
    }
    assert page.text.count('role="img"') == len(names)
    assert 'class="missing"' not in page.text


def test_the_table_has_every_row_and_column(plain_page):
    table, page = example_results(), plain_page
    head, *rows = page.rows
    assert len(rows) == len(table) and {len(r) for r in rows} == {len(head)}
    assert set(head) == set(table.columns)
    for name in ("accuracy", "edges", "rolled__density_mean"):
        shown = [float(r[head.index(name)]) for r in rows]
        np.testing.assert_allclose(shown, table[name], rtol=1e-4)


@pytest.mark.slow
def test_sentences_hold_the_tables_numbers(tmp_path):
    table = few_metrics(example_results(seeds=3))
    prose = report(tmp_path, table).prose
    assert "72 sparse networks from 1 dataset, 1 model, 8 pruners, 3 sparsities (80%, 90% and 95%) and 3 seeds" in prose
    assert "beside 3 dense networks" in prose
    means = table[table["sparsity"] == 0.95].groupby("pruner")["accuracy"].mean() * 100
    dense = table[table["pruner"] == "dense"]["accuracy"].mean() * 100
    assert f"{means.idxmax()} is the most accurate ({means.max():.1f}%" in prose
    assert f"{dense - means.max():.1f} points below dense" in prose
    assert f"{means.idxmin()} the least ({means.min():.1f}%)" in prose
    edges = table[table["pruner"] != "dense"].groupby(["sparsity", "pruner"])["edges"].mean().groupby("sparsity")
    ratio = edges.max() / edges.min()
    assert f"median factor of {ratio.median():.1f} (at most {ratio.max():.1f})" in prose


@pytest.mark.slow
def test_numbers_follow_the_table(tmp_path, plain_page):
    table = few_metrics(example_results())
    first = plain_page.prose
    worse = table.assign(accuracy=np.where(table["pruner"] == "uniform", 0.2, table["accuracy"]))
    second = report(tmp_path, worse).prose
    assert "uniform is the most accurate" in first
    assert "uniform the least (20.0%)" in second


@pytest.mark.slow
def test_failures_are_named_with_their_reasons(tmp_path, caplog):
    table = few_metrics(example_results())
    table.loc[4, ["status", "reason", "accuracy"]] = ["diverged", "the loss became NaN in epoch 3", np.nan]
    table.loc[5, ["status", "reason"]] = ["collapsed", "no weight is left in fc"]
    prose = report(tmp_path, table).prose
    row = table.loc[4]
    assert "the loss became NaN in epoch 3" in prose and "no weight is left in fc" in prose
    assert f"digits/small-cnn/{row['pruner']} at {100 * row['sparsity']:g}%, seed {row['seed']}" in prose
    lost = "1 of 50 networks has no accuracy (1 diverged)"
    assert f"{lost}. Which, and why." in prose
    assert "1 of 50 networks collapsed" in prose and "Failed and collapsed networks: 2" in prose
    assert caplog.messages == [f"{lost}; the report lists the reasons under Failed and collapsed networks."]


@pytest.mark.slow
def test_undefined_metrics_are_listed_with_reasons(tmp_path):
    table = few_metrics(example_results()).assign(undefined="")
    table.loc[3:5, ["spectral_gap", "cut_edges_norm"]] = np.nan
    table.loc[3:5, "undefined"] = "spectral_gap, cut_edges_norm: too few nodes: 2; 3 are needed; edges: not this one"
    prose = report(tmp_path, table).prose
    assert "too few nodes: 2; 3 are needed" in prose
    assert "cut edges (norm.), spectral gap" in prose
    assert "the metric is constant" in prose and "fewer than 5 networks have both values" in prose


@pytest.mark.slow
def test_names_are_escaped(tmp_path):
    page = report(tmp_path, few_metrics(example_results(models=("<b>bold</b>",))), title="<script>alert(1)</script>")
    assert "<b>bold" not in page.text and "<script>alert" not in page.text
    assert "&lt;b&gt;bold" in page.text


def sparse_only(table):
    return table[table["pruner"] != "dense"]


ODD = {
    "one pruner": (lambda t: t[t["pruner"].isin(["dense", "snip"])], "fewer than 5 networks"),
    "one sparsity": (lambda t: t[t["sparsity"].isin([0, 0.9])], "(90%)"),
    "one network": (lambda t: sparse_only(t).head(1), "1 sparse network from 1 dataset"),
    "no baseline": (sparse_only, "no dense network, so no baseline"),
    "only baselines": (lambda t: t[t["pruner"] == "dense"], "no sparse one"),
    "no accuracy": (lambda t: t.assign(accuracy=np.nan), "no network in the table has an accuracy"),
    "constant accuracy": (lambda t: t.assign(accuracy=0.5), "the accuracy is constant"),
    "no metrics": (lambda t: t[["accuracy", "pruner", "sparsity"]], "no metric columns"),
    "only constant metrics": (lambda t: t[["accuracy", "pruner", "sparsity", "nodes"]], "the metric is constant"),
    "empty metric": (lambda t: t.assign(spectral_gap=np.nan), "spectral gap"),
    "infinite metric": (lambda t: t.assign(spectral_gap=np.inf), "spectral gap"),
    "one seed": (lambda t: t[t["seed"] == 0], "single seed, so no spread is known"),
    "percent": (lambda t: t.assign(accuracy=100 * t["accuracy"]), "most accurate (9"),
    "many pairs": (
        lambda t: example_results(models=tuple("abcde"), datasets=("x",), seeds=1),
        "Of 5 pairs of dataset and model 4 are shown",
    ),
    "unknown pruners": (lambda t: t.assign(pruner="mine-" + t["pruner"], family=None), "mine-snip"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", ODD)
def test_odd_tables_say_why_something_is_empty(name, tmp_path):
    change, words = ODD[name]
    table = few_metrics(change(example_results()))
    page = report(tmp_path, table)
    assert words.lower() in page.prose.lower()
    assert len(page.rows) == len(table) + 1
    assert "nan" not in re.findall(r"[a-z]+", page.prose.lower())


def test_no_graph_and_no_masks_are_said(plain_page):
    prose = plain_page.prose
    assert "The source holds no graph to draw" in prose and "The source keeps no masks" in prose


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_table_files(kind, tmp_path):
    file = tmp_path / f"mine.{kind}"
    getattr(few_metrics(example_results()), f"to_{kind}")(file, index=False)
    written = write_report(file, questions=[], files=False)
    assert written == tmp_path / "mine-report.html"
    assert "50 rows" in Page(written.read_text()).prose


@pytest.mark.slow
def test_folder_with_results_alone(tmp_path):
    few_metrics(example_results()).to_parquet(tmp_path / "results.parquet")
    assert write_report(tmp_path, questions=[], files=False) == tmp_path / "report.html"


@pytest.mark.slow
def test_published_table(tmp_path, shared_data):
    table = pd.read_csv(shared_data / "mge-snn" / "unrolled" / "unrolled.csv")
    table = table[table["model"].isin(["Resnet-20"])]
    page = report(tmp_path, table)
    assert len(page.rows) == len(table) + 1
    assert "11 pruners" in page.prose


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    config = StudyConfig.parse(
        {
            "name": "tiny",
            "datasets": [{"name": "digits", "subset": 20}],
            "models": ["digits-mlp"],
            "pruners": ["er", "snip", "magnitude"],
            "sparsities": [0.5, 0.8],
            "recipe": {"name": "digits", "epochs": 1},
            "encodings": ["multipartite", "rolled"],
            "metrics": ["general", "local"],
        }
    )
    study = Study(config, tmp_path_factory.mktemp("study"))
    with ThreadPoolExecutor(1) as pool:
        study.run(executor=pool, progress=False)
    return study


@pytest.mark.slow
@pytest.mark.parametrize("as_folder", [True, False])
def test_study(study, as_folder):
    written = write_report(study.folder if as_folder else study, questions=[], files=False)
    assert written == study.folder / "report.html"
    page = Page(written.read_text())
    assert {"figure-accuracy", "figure-layers0", "figure-graph"} <= set(page.ids)
    assert len(page.rows) == len(study.results()) + 1
    assert "name: tiny" in page.text and "pruners:" in page.text
    assert "6 sparse networks" in page.prose


@pytest.mark.slow
def test_unfinished_study(study, tmp_path):
    config = StudyConfig.parse({**study.config.model_dump(mode="json", exclude_defaults=True), "seeds": [0, 1]})
    Study(config, study.folder).prepare()
    try:
        prose = Page(write_report(study.folder, tmp_path / "r.html", questions=[], files=False).read_text()).prose
    finally:
        study.prepare()
    assert "not complete: 7 of 14 networks have not run yet" in prose


@pytest.mark.parametrize(
    "source, words",
    [
        ("nowhere", "does not exist"),
        (3, "got int"),
        (pd.DataFrame(), "no rows"),
        (pd.DataFrame({"accuracy": [1.0]}), "no column 'pruner'"),
    ],
)
def test_bad_sources(source, words, tmp_path):
    with pytest.raises(InputError, match=words):
        write_report(tmp_path / source if isinstance(source, str) else source, tmp_path / "r.html")
    assert not (tmp_path / "r.html").exists()


def test_files_that_are_no_tables(tmp_path):
    (tmp_path / "a.txt").write_text("x")
    (tmp_path / "a.parquet").write_bytes(b"PAR1 cut short")
    (tmp_path / "a.csv").write_text("")
    with pytest.raises(InputError, match="neither"):
        write_report(tmp_path / "a.txt")
    for name in ("a.parquet", "a.csv"):
        with pytest.raises(InputError, match="cannot be read"):
            write_report(tmp_path / name)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no study"):
        write_report(tmp_path / "empty")


def test_a_table_in_memory_needs_a_path():
    with pytest.raises(InputError, match="needs a path"):
        write_report(example_results())


@pytest.mark.slow
def test_a_failed_write_leaves_the_old_report(tmp_path, monkeypatch):
    path = tmp_path / "report.html"
    path.write_text("old")

    def refuse(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(InputError, match="No space left"):
        write_report(few_metrics(example_results(sparsities=(0.9,))), path, questions=[])
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["report.html"]


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot write"):
        write_report(example_results(sparsities=(0.9,)), tmp_path / "file" / "r.html", questions=[])


def test_a_report_does_not_replace_its_table(tmp_path):
    table = tmp_path / "mine.csv"
    example_results().to_csv(table, index=False)
    before = table.read_bytes()
    for source in (table, [str(table)]):
        with pytest.raises(InputError, match="is what the report is read from"):
            write_report(source, tmp_path / "." / "mine.csv", questions=[])
    assert table.read_bytes() == before
