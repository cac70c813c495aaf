"""The analyses run from end to end on something small, and end in a figure, a table and sentences."""

from __future__ import annotations

import sys
from argparse import Namespace
from pathlib import Path

import pandas as pd
import pytest
import torch
import yaml

from tests.fresh import script_fresh
from topo.datasets import load
from topo.pruning import PRUNERS
from topo.results import example_results

ROOT = Path(__file__).resolve().parent.parent


def run(name: str, *arguments: str | Path) -> str:
    done = script_fresh(ROOT / "analyses" / f"{name}.py", *arguments, folder=ROOT)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_comparison_names_every_pruner():
    listed = yaml.safe_load((ROOT / "examples" / "pruners.yaml").read_text())["pruners"]
    names = [entry if isinstance(entry, str) else entry["name"] for entry in listed]
    # Random layer densities are a control for topology, not an algorithm that anybody would compare.
    algorithms = {name for name in PRUNERS if PRUNERS.entry(name).info.get("paper") != "none"} - {"random-allocation"}
    assert sorted(names) == sorted(algorithms)


@pytest.mark.slow
def test_every_pruner_runs_in_one_study(tmp_path):
    config = yaml.safe_load((ROOT / "examples" / "pruners.yaml").read_text())
    config |= {"sparsities": [0.8], "seeds": [0], "workers": 1, "recipe": {"name": "digits", "epochs": 1}}
    config["datasets"] = [{"name": "digits", "subset": 8}]
    # Three rounds of each that takes tens of them: how many rounds do what is tested pruner by pruner.
    in_rounds = ("iterative-snip", "force", "synflow", "ntk-sap", "px", "taylor")
    names = config["pruners"]
    config["pruners"] = [{"name": name, "rounds": 3} if name in in_rounds else name for name in names]
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(config))
    text = run(
        "pruner_comparison",
        *("--config", tmp_path / "small.yaml", "--into", tmp_path / "study", "--results", tmp_path / "results"),
    )
    assert "Best by mean rank" in text
    table = pd.read_parquet(tmp_path / "study" / "results.parquet")
    assert set(table["status"]) <= {"finished", "collapsed"}, table.loc[table["status"] == "failed", "reason"].tolist()
    assert set(table["pruner"]) == {"dense", *names}
    structured = table[table["family"] == "structured"]
    assert (structured["compact_parameters"] < 5122).all()
    exact = table[~table["family"].isin(["structured", "dense"])]
    assert (exact["kept_weights"] == round(0.2 * exact["total_weights"].iloc[0])).all()
    for kind in ("png", "svg", "csv", "md"):
        assert (tmp_path / "results" / f"pruner_comparison_digits_digits-cnn.{kind}").stat().st_size > 500


@pytest.mark.slow
def test_structured_pruning_is_compared_at_equal_epochs(tmp_path):
    options = ("--subset", 12, "--epochs", 2, "--nu", 1, "--sparsities", 0.5, "--seeds", 0, "--results", tmp_path)
    text = run("structured_comparison", *options)
    assert "the dense network reaches" in text
    table = pd.read_csv(tmp_path / "structured_comparison_digits_digits-cnn.csv")
    assert (tmp_path / "structured_comparison_digits_digits-cnn_gaps.csv").exists()
    assert table.groupby("seed")["method"].nunique().tolist() == [10]
    assert (table.loc[table["method"] != "dense", "macs"] <= 135840).all()
    for kind in ("png", "svg"):
        assert (tmp_path / f"structured_comparison_digits_digits-cnn.{kind}").stat().st_size > 500


@pytest.fixture
def comparison(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "analyses"))
    import structured_comparison

    return structured_comparison


def test_a_structured_comparison_goes_on_where_it_stopped(comparison, tmp_path, monkeypatch):
    a = Namespace(recipe="digits", alpha=1.0, dataset="digits", choose=False, epochs=[2], seeds=[0, 1], device="cpu")
    data, trained = load("digits", subset=3), []

    def networks(one):
        for setting in (0.3, 0.5):
            yield "DAG", setting, lambda setting=setting: trained.append((one.seed, setting)) or one.fresh()

    monkeypatch.setattr(comparison.Comparison, "networks", networks)
    path = tmp_path / "table.csv"
    whole = comparison.completed(path, a, data, "digits-mlp")
    assert trained == [(0, 0.3), (0, 0.5), (1, 0.3), (1, 0.5)] and whole["accuracy"].notna().all()
    whole.iloc[[0, 1, 3]].to_csv(path, index=False)
    again = comparison.completed(path, a, data, "digits-mlp")
    assert trained[4:] == [(1, 0.3)] and len(again) == 4
    with pytest.raises(SystemExit, match="give another --results"):
        comparison.completed(path, Namespace(**vars(a) | {"alpha": 0.5}), data, "digits-mlp")


def test_the_best_settings_on_held_out_images_are_taken(comparison, tmp_path):
    accuracies = {"dag {}": 0.5, 'dag {"per": "score"}': 0.6, "variational {}": 0.7, 'variational {"kappa": 0.1}': 0.6}
    rows = [
        {"epochs": 2, "method": method, "setting": sparsity, "seed": seed, "accuracy": value + seed / 100}
        for method, value in accuracies.items()
        for seed in (0, 1, 2)
        for sparsity in (0.3, 0.5)
    ]
    rows += [row | {"method": 'variational {"alpha": 1.0}'} for row in rows if row["method"] == "variational {}"]
    # Of a setting that is best where it has a network at all, the networks of the others count there alone.
    rows += [{"epochs": 2, "method": "dag {}", "setting": 0.9, "seed": 0, "accuracy": 1.0}]
    pd.DataFrame(rows).to_csv(tmp_path / "table_choice.csv", index=False)
    assert comparison.best_settings(tmp_path / "table.csv") == {"dag": {"per": "score"}, "variational": {}}
    assert comparison.best_settings(tmp_path / "other.csv") == {}
    chosen = comparison.choices(pd.DataFrame(rows)).set_index(["pruner", "settings"])
    assert chosen.loc[("dag", '{"per": "score"}'), "gap"] == pytest.approx(0.1)
    assert chosen.loc[("dag", '{"per": "score"}'), "networks"] == 6
    held_out = comparison.loaded(Namespace(dataset="digits", data_root=None, subset=10, choose=True))
    whole = comparison.loaded(Namespace(dataset="digits", data_root=None, subset=10, choose=False))
    assert len(held_out.test) == 20 and len(held_out.train) == 80 and len(whole.train) == 100
    images = [whole.train.inputs.flatten(1), torch.cat([held_out.train.inputs, held_out.test.inputs]).flatten(1)]
    assert torch.equal(*(torch.unique(part, dim=0) for part in images))


def test_gaps_to_small_dense_networks_are_paired_by_seed(comparison):
    rows = [
        {"epochs": 2, "method": method, "setting": setting, "seed": seed, "accuracy": accuracy, "macs": 100 * share}
        for seed in (0, 1)
        for method, setting, share, accuracy in [
            ("dense", 0, 1.0, 0.9),
            ("DAG", 1, 0.25, 0.6 + seed / 10),
            ("DAG", 2, 1.0, 0.8 + seed / 10),
            ("small dense", 1, 0.25, 0.5),
            ("small dense", 2, 1.0, 0.9),
        ]
    ]
    found = comparison.gaps(pd.DataFrame(rows), [0.5, 0.1]).set_index("share")
    # Half way between a quarter and one in the logarithm: .7 and .8 against .7; nothing has a tenth.
    assert found.index.tolist() == [0.5] and found.loc[0.5, "gap"] == pytest.approx(0.05)
    assert found.loc[0.5, "low"] == pytest.approx(0.05 - 12.706205 * 0.05)
    text = comparison.sentences(pd.DataFrame(rows), [0.5])
    assert "DAG 0.7500, +0.0500 (-0.5853 to +0.6853, 2 seeds), not told apart" in text


@pytest.mark.slow
def test_figures_of_tickets_go_where_their_record_goes(tmp_path, monkeypatch, capsys):
    monkeypatch.syspath_prepend(str(ROOT / "analyses"))
    import tickets

    columns = {"density": 0.5, "iterations": 3.0, "final_loss": 0.1, "accuracy": 0.9}
    table = pd.DataFrame([{"seed": seed, "arm": arm, **columns} for seed in (0, 1) for arm in tickets.ARMS])
    curves = table[["seed", "arm"]].assign(step=0, loss=1.0)
    tickets.write(table, pd.concat([curves, curves.assign(step=3, loss=0.1)]), 0.2, {}, "t", tmp_path)
    assert {file.name for file in tmp_path.iterdir()} == {"t.json", "t.png", "t.svg"}
    assert "dense" in capsys.readouterr().out


@pytest.mark.slow
def test_sentences_on_the_stored_study_are_true():
    text = run("recompute", "--study", ROOT / "topo" / "results" / "digits_study.parquet", "--questions", "0", "1")
    said = [line for line in text.splitlines() if " compared)" in line]
    assert len(said) > 12
    assert all(": agrees (" in line for line in said), text


@pytest.mark.slow
def test_claims_are_simulated_on_the_design_of_a_study():
    study = ("--study", ROOT / "topo" / "results" / "digits_study.parquet")
    text = run("simulate_claims", *study, "--questions", 7, "--times", 1, "--trees", 2)
    assert text.startswith("question 7, no effect, 1 tables: {'yes': ")


def test_a_number_that_is_not_so_is_found(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "analyses"))
    from recomputing.claims import Claim, Range

    claim = Claim(
        "a sentence",
        "Of 19 metrics 3 move, most of all strength (mean ρ +0.68, p ≤ .001) for 83% of 1,298 networks.",
    )
    claim.says("Of {all} metrics {clear} move", all=19, clear=Range(2, 4))
    claim.says("most of all {metric} (mean ρ {r}, p {p})", metric="strength", r=0.6751, p=0.0004)
    claim.says("for {share} of {n} networks", share=0.8349, n=1298)
    assert claim.agrees == 7
    assert not claim.differs
    claim.says("Of {all} metrics", all=18)
    claim.says("(mean ρ {r}, p {p})", r=0.6749, p=0.002)
    claim.says("most of all {metric} (", metric="edges")
    claim.says("these words")
    assert len(claim.differs) == 5
    assert "numbers" not in "".join(claim.lines())
    assert "? numbers 12" in "".join(Claim("another", "In 12 groups.").lines())


def test_what_holds_in_two_collections_is_told_from_what_holds_in_one(tmp_path, monkeypatch, capsys):
    monkeypatch.syspath_prepend(str(ROOT / "analyses"))
    import transfer

    first = example_results(seeds=3)
    turned = first.assign(dataset="shapes", spectral_gap=-first["spectral_gap"])
    for name, table in {"one": first, "other": turned}.items():
        table.to_parquet(tmp_path / f"{name}.parquet")
    monkeypatch.setattr(
        sys, "argv", ["transfer", *(str(tmp_path / f"{n}.parquet") for n in ("one", "other")), "--out", str(tmp_path)]
    )
    assert transfer.main() == 0
    assert "learned on other, tested on one" in capsys.readouterr().out
    both = pd.read_csv(tmp_path / "one_and_other_correlations.csv").set_index("metric").dropna()
    assert (both["one: r"] == both["other: r"].where(both.index != "spectral_gap", -both["other: r"])).all()
    assert both["same_sign"].sum() == (both["one: r"] != 0).sum() - 1
    assert not both.loc["spectral_gap", "same_sign"]
    ranking = pd.read_csv(tmp_path / "one_and_other_ranking.csv")
    # The same networks again: past results of every algorithm at every sparsity are its results.
    assert ranking.loc[ranking["features"].str.contains("algorithm × model × sparsity"), "tau"].min() > 0.99
    errors = pd.read_csv(tmp_path / "one_and_other_prediction.csv").set_index(["tested_on", "features"])
    assert errors.loc[("one", "algorithm × sparsity"), "mae"] < errors.loc[("one", "mean of the others"), "mae"]
