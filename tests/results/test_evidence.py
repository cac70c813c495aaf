from __future__ import annotations

import shutil

import pandas as pd
import pytest

from tests.published_tables import write
from topo.cli.questions import main
from topo.errors import InputError
from topo.questions import QUESTIONS, Answer, Evidence, ordered_questions
from topo.results import example_results


def test_of_a_table_leaves_out_repeats_and_lists_them():
    table = example_results()
    evidence = Evidence.of(pd.concat([table, table.iloc[:3].assign(accuracy=0.0)]), name="twice")
    assert len(evidence.networks) == len(table)
    assert evidence.networks["accuracy"].tolist() == table["accuracy"].tolist()
    assert evidence.data_issues[["file", "rows", "what"]].values.tolist() == [["twice", 3, "rows repeat a network"]]


def test_numbers_that_are_no_known_metric_are_named():
    table = example_results()[["dataset", "model", "pruner", "sparsity", "seed", "accuracy"]]
    table = table.assign(warmth=range(len(table)), seconds_train=1.0, setting_rounds=2, label="a")
    evidence = Evidence.of(table)
    [note] = evidence.notes
    assert note.startswith("'warmth' holds numbers, but no metric of that name is known")
    for name in ("metrics_and_accuracy", "ranking_pruners", "pruner_from_mask", "multipartite_or_bipartite"):
        assert QUESTIONS[name](evidence).reason.endswith(f"; {note}")
    [note] = Evidence.of(table.assign(**{f"own{i}": 1.0 for i in range(5)})).notes
    assert note.startswith("'warmth', 'own0', 'own1', 'own2' and 2 others hold numbers")
    assert not Evidence.of(example_results()).notes


def test_what_a_table_says_is_a_metric_is_one():
    table = example_results()[["dataset", "model", "pruner", "sparsity", "seed", "accuracy"]]
    table = table.assign(chilliness=range(len(table)))
    table.attrs["metrics"] = {"chilliness": {"category": "own", "reads_weights": False}}
    evidence = Evidence.of(table)
    assert evidence.whole_network_metrics == ["chilliness"] and not evidence.notes
    assert repr(evidence) == "<Evidence 'results table': 50 networks>"


def test_cells_with_other_settings_are_other_networks():
    table = pd.concat([example_results().assign(setting_rounds=n) for n in (1, 2)])
    assert len(Evidence.of(table).networks) == len(table)


def test_sparse_networks_with_an_accuracy():
    table = example_results()
    table.loc[table.index[5], "accuracy"] = None
    evidence = Evidence.of(table)
    assert (evidence.sparse["pruner"] != "dense").all() and evidence.sparse["accuracy"].notna().all()
    assert len(evidence.sparse) == (table["pruner"] != "dense").sum() - 1
    assert evidence.data_issues["what"].tolist() == ["networks have no accuracy"]


def test_metrics_by_encoding():
    evidence = Evidence.of(example_results())
    assert evidence.layer_metrics("rolled") == ["rolled__density_mean", "rolled__k_core_mean"]
    assert evidence.layer_metrics("unrolled") == []
    assert "sink_nodes_norm" in evidence.whole_network_metrics and "sink_nodes" not in evidence.whole_network_metrics


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_opens_files_and_folders(tmp_path, kind):
    table = example_results()
    file = tmp_path / f"results.{kind}"
    getattr(table, f"to_{kind}")(file)
    assert len(Evidence.open(study=file).networks) == len(table)
    if kind == "parquet":
        assert Evidence.open(study=tmp_path).folder == tmp_path


def test_opens_published_tables(tmp_path):
    evidence = Evidence.open(published=write(tmp_path / "t"))
    assert len(evidence.networks) == 24 and len(evidence.layers) and len(evidence.data_issues)
    assert evidence.layer_metrics("ramanujan")


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda p: Evidence.open(), "either"),
        (lambda p: Evidence.open(study=p, published=p), "either"),
        (lambda p: Evidence.open(str(p / "none")), "does not exist"),
        (lambda p: Evidence.open(study=p), "neither a study file nor results.parquet"),
        (lambda p: Evidence.open(published=p), "holds no published tables"),
        (lambda p: Evidence.of(pd.DataFrame({"accuracy": [], "pruner": [], "sparsity": []})), "no rows"),
        (lambda p: Evidence.of(pd.DataFrame({"accuracy": [1.0]})), "no column 'pruner'"),
    ],
)
def test_bad_input(tmp_path, call, words):
    with pytest.raises(InputError, match=words):
        call(tmp_path)


def test_a_text_file_is_no_table(tmp_path):
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(InputError, match=r"neither a .parquet nor a .csv"):
        Evidence.open(study=tmp_path / "notes.txt")
    (tmp_path / "results.parquet").write_text("x")
    with pytest.raises(InputError, match="cannot be read"):
        Evidence.open(study=tmp_path)


def test_an_answer_has_three_sentences_or_a_reason():
    with pytest.raises(ValueError, match="3 sentences"):
        Answer("t", "q?", ("one.", "two."))
    with pytest.raises(ValueError, match="0 sentences"):
        Answer("t", "q?", ("one.", "two.", "three."), reason="none.")
    assert "No answer: none." in Answer.without("t", "q?", "none.").text()


def test_questions_are_numbered_in_order():
    numbers = [QUESTIONS.entry(name).info["number"] for name in ordered_questions()]
    assert numbers == sorted(set(numbers))
    assert all(QUESTIONS.entry(name).summary.endswith("?") for name in QUESTIONS)


@pytest.mark.slow
def test_the_command_prints_three_sentences_and_writes_files(tmp_path, capsys):
    example_results().to_csv(tmp_path / "t.csv")
    out = tmp_path / "out"
    assert main("metrics_and_accuracy", ["--study", str(tmp_path / "t.csv"), "--out", str(out)]) == 0
    text = capsys.readouterr().out
    assert all(f"\n{i}. " in text for i in (1, 2, 3)) and str(out) in text
    assert {f.suffix for f in out.iterdir()} == {".png", ".svg", ".pdf", ".csv"}


@pytest.mark.slow
def test_two_runs_write_the_same(tmp_path):
    answer = QUESTIONS["metrics_and_accuracy"](Evidence.of(example_results()), seed=3)
    again = QUESTIONS["metrics_and_accuracy"](Evidence.of(example_results()), seed=3)
    for one, two in zip(answer.save(tmp_path / "a"), again.save(tmp_path / "b"), strict=True):
        assert one.name == two.name and one.read_bytes() == two.read_bytes()


def test_the_command_refuses_in_one_line(tmp_path, capsys):
    assert main("beyond_density", ["--published", str(tmp_path)]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_the_command_says_when_there_is_no_answer(tmp_path, capsys):
    pd.DataFrame({"accuracy": [0.5], "pruner": ["snip"], "sparsity": [0.9], "edges": [3]}).to_csv(tmp_path / "t.csv")
    assert main("metrics_and_accuracy", ["--study", str(tmp_path / "t.csv"), "--out", str(tmp_path / "o")]) == 0
    assert "No answer:" in capsys.readouterr().out


def test_infinite_values_are_missing_and_listed():
    table = example_results().assign(spectral_gap=lambda t: t["spectral_gap"].where(t.index != 4, float("inf")))
    evidence = Evidence.of(table)
    assert evidence.networks["spectral_gap"].isna().sum() == 1
    row = evidence.data_issues.set_index("column").loc["spectral_gap"]
    assert row["rows"] == 1 and row["what"] == "values are infinite"


def test_several_of_one_name_are_told_apart_by_their_folders(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        example_results().to_parquet(tmp_path / name / "results.parquet")
    files = [tmp_path / name / "results.parquet" for name in ("a", "b")]
    assert Evidence.read(files).name == "a/results, b/results"
    assert set(Evidence.read(files).networks["model"]) == {"small-cnn (a/results)", "small-cnn (b/results)"}
    assert Evidence.read([example_results(), example_results()]).name == "results table 1, results table 2"
    with pytest.raises(InputError, match=r"a/results.parquet is given twice; leave one out"):
        Evidence.read([files[0], files[0]])
    example_results().to_csv(tmp_path / "a" / "results.csv")
    assert Evidence.read([files[0], tmp_path / "a" / "results.csv"]).name == "a/results 1, a/results 2"
    (tmp_path / "c").mkdir()
    shutil.copytree(tmp_path / "a", tmp_path / "c" / "a")
    folders = [tmp_path / "a", tmp_path / "c" / "a"]
    assert Evidence.read(folders).name == f"{tmp_path.name}/a, c/a"


@pytest.mark.parametrize("source", [3, None, {}, [None]])
def test_a_source_of_another_kind_is_refused(source):
    with pytest.raises(InputError, match=r"give a study, its folder, a DataFrame|give either"):
        Evidence.open(study=source)
