"""The report's questions: sentences, figures, tables, files, reasons, and sources of several kinds."""

from __future__ import annotations

import io
import re

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from typer.testing import CliRunner

from tests.published_tables import write
from topo.cli import app
from topo.errors import InputError
from topo.questions import QUESTIONS, Evidence
from topo.report import write_report
from topo.report.cells import cell, table_of
from topo.report.pictures import picture
from topo.report.place import Place
from topo.results import example_results

QUICK = ["metrics_and_accuracy", "beyond_density", "similar_networks"]


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    return write_report(
        example_results(seeds=3), tmp_path_factory.mktemp("report") / "mine.html", questions=QUICK, workers=1
    )


@pytest.fixture(scope="module")
def text(written):
    return written.read_text(encoding="utf-8")


def prose(text):
    text = re.sub(r'<span class="whole">(.*?)</span>', r"\1", text).replace("−", "-")
    return " ".join(re.sub(r"<[^>]+>", " ", text.replace("&#39;", "'").replace("&gt;", ">")).split())


@pytest.mark.slow
def test_every_sentence_of_every_answer_is_there(text):
    evidence = Evidence.of(example_results(seeds=3))
    for number, name in enumerate(QUICK, 1):
        answer = QUESTIONS[name](evidence)
        assert f'<section id="{name}"' in text
        assert len(answer.verdict.sentence) <= 300
        for sentence in (*answer.sentences, answer.caption, answer.method, *answer.caveats):
            assert " ".join(sentence.replace("−", "-").split()) in prose(text), (number, sentence)
        for figure in answer.figures:
            assert f'id="figure-{name}-{figure}"'.replace("_", "-") in text.replace("_", "-")


def test_accuracy_and_verdicts_come_first_then_questions_then_what_was_measured(text):
    sections = re.findall(r'<section id="(\w+)"', text)
    assert sections == ["accuracy", "verdicts", *QUICK, "measured"]
    verdicts = text[text.index('<section id="verdicts"') : text.index('<section id="metrics_and_accuracy"')]
    assert re.findall(r'<a href="#(\w+)">', verdicts) == [*QUICK, "words"]


def test_metrics_encodings_and_terms_are_explained(text):
    words = prose(text[text.index('<details id="words"') :])
    for said in ("Nodes that edges enter and none leaves", "multipartite. The whole network as one graph"):
        assert said in words
    assert "τ. Kendall's τ-b" in words
    assert "unrolled." not in words  # which the table does not have


def test_figures_and_tables_are_files_too(written):
    folder = written.with_name("mine-files")
    for name in QUICK:
        kinds = {f.suffix for f in (folder / name).iterdir()}
        assert kinds == {".svg", ".pdf", ".csv"}
    assert (folder / "similar_networks" / "similar-networks-similarity-map.svg").read_text().startswith("<?xml")
    assert (folder / "measured" / "accuracy.pdf").read_bytes().startswith(b"%PDF")
    pooled = pd.read_csv(folder / "metrics_and_accuracy" / "pooled.csv")
    assert {"metric", "r", "low", "high"} <= set(pooled.columns)
    assert len(pd.read_csv(folder / "measured" / "results.csv")) == 75


@pytest.mark.slow
def test_no_files_are_written_without_files(tmp_path):
    write_report(example_results(), tmp_path / "a.html", questions=[], files=False)
    assert [f.name for f in tmp_path.iterdir()] == ["a.html"]


def test_questions_that_cannot_be_answered_are_a_line_each(tmp_path):
    table = example_results(pruners=("snip",), sparsities=(0.9,), seeds=2)
    text = write_report(table, tmp_path / "a.html", questions=QUICK, files=False, workers=1).read_text()
    verdicts = re.search(r'<section id="verdicts"(.*?)</section>', text, re.DOTALL).group(1)
    for name in QUICK:
        reason = QUESTIONS[name](Evidence.of(table)).reason
        assert reason and reason[1:] in prose(verdicts)
        assert f'<section id="{name}"' not in text
    assert verdicts.count("No answer") == len(QUICK)


@pytest.mark.slow
def test_processes_write_the_same_report(tmp_path):
    options = {"path": tmp_path / "a.html", "questions": ["beyond_density"], "files": False}
    one, two = (write_report(example_results(), workers=n, **options).read_text() for n in (1, 2))
    assert one == two


@pytest.mark.slow
def test_odd_tables_end_in_a_report_and_never_in_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr("topo.stats.predictors.TREES", 3)
    table = example_results(sparsities=(0.9,))
    odd = {
        "one network": table.iloc[[2]],
        "no metrics": table[["accuracy", "pruner", "sparsity", "seed"]],
        "constant accuracy": table.assign(accuracy=0.5),
    }
    for name, one in odd.items():
        text = write_report(one, tmp_path / "a.html", files=False, workers=1).read_text()
        asked = re.findall(r'<li id="(\w+)">', text) + re.findall(r'<section id="(\w+)" class="question"', text)
        assert len(asked) == 7, name


@pytest.mark.slow
def test_several_sources_are_one_report(tmp_path):
    first, second = example_results(), example_results(models=("small-cnn", "other"))
    first.to_parquet(tmp_path / "first.parquet")
    second.to_csv(tmp_path / "second.csv", index=False)
    sources = [tmp_path / "first.parquet", tmp_path / "second.csv"]
    joined = Evidence.read(sources)
    assert set(joined.networks["model"]) == {"small-cnn (first)", "small-cnn (second)", "other"}
    text = write_report(
        sources, tmp_path / "both.html", questions=["similar_networks"], files=False, workers=1
    ).read_text()
    assert "3 models" in text and "<h1>first, second</h1>" in text
    assert "networks of a dataset and model that another study has too" in text


@pytest.mark.slow
def test_published_tables(tmp_path):
    folder = write(tmp_path / "tables")
    text = write_report(
        published=folder, path=tmp_path / "p.html", questions=["similar_networks", "metrics_and_accuracy"], workers=1
    ).read_text()
    assert "<h1>Published tables</h1>" in text and "no masks" in text
    assert 'id="figure-layers0"' in text
    assert "columns have names other than ours" in text[text.index('<details id="data-issues"') :]
    assert "Cunegatti, Bucur &amp; Iacca" in text and "licence Apache-2.0" in text


@pytest.mark.slow
def test_the_command(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    example_results().to_parquet("mine.parquet")
    folder = write(tmp_path / "tables")
    run = CliRunner().invoke
    assert run(app, ["report", "mine.parquet", "--no-questions"]).stdout.endswith("mine-report.html.\n")
    result = run(app, ["report", "--published", str(folder), "--no-questions"])
    assert result.exit_code == 0 and (tmp_path / "topology-report.html").exists()
    refusals = {
        "give what to report on": [],
        "holds no published tables; name the folder": ["--published", "."],
        "a report is written as html or md, not as 'pdf'": ["mine.parquet", "--format", "pdf"],
        "ends in .html or .md, not in '.pdf'": ["mine.parquet", "-o", "a.pdf"],
        "does not go with a file named a.html": ["mine.parquet", "--format", "md", "-o", "a.html"],
    }
    for words, arguments in refusals.items():
        refused = run(app, ["report", *arguments])
        assert refused.exit_code == 2 and words in " ".join(refused.stderr.split()), words
    assert "unknown question" in str(_refusal(example_results(), tmp_path / "a.html"))


def _refusal(table, path):
    with pytest.raises(InputError) as error:
        write_report(table, path, questions=["what"])
    return error.value


def test_cells():
    assert [cell(v) for v in (np.int64(3), 1e-7, -1e-18, float("nan"), pd.NA, np.True_, "a", 123456.0)] == [
        "3", "1e-07", "0", "", "", "yes", "a", "123456"]  # fmt: skip
    table = pd.DataFrame({"features": ["rolled_norm"], "reason": [""], "p": [0.000123456], "tau_low": [np.nan]})
    shown = table_of("scores", pd.concat([table] * 200))
    assert [(c.name, c.number) for c in shown.columns] == [("features", False), ("p", True)]
    assert shown.rows[0] == ("rolled / size", "0.000123") and len(shown.rows) == 60 and shown.total == 200


def test_large_figures_become_pictures():
    from matplotlib.figure import Figure

    drawn = Figure((4, 3))
    points = np.random.default_rng(0).normal(size=(6000, 2))
    drawn.add_subplot().scatter(*points.T, c=points[:, 0], s=3)
    made = picture(drawn, "cloud", Place(), "A cloud", "a cloud")
    assert not made.svg and made.width == 384 and made.size < 200_000
    assert Image.open(io.BytesIO(made.png)).size == (600, 450)
