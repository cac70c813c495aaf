from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import topo
from topo.cli import show_warning
from topo.features import spectra
from topo.features.mask_files import passed_over
from topo.models import build
from topo.safe_files import write_arrays


def test_prune_encode_and_measure_pass_files_on(topo_command, in_folder: Path):
    model = build("digits-mlp", input_shape=(1, 8, 8), seed=3)
    topo.save_checkpoint(model, "weights.safetensors")
    options = ["digits-mlp", "--dataset", "digits", "--checkpoint", "weights.safetensors"]

    result = topo_command("prune", *options, "-p", "snip", "-s", 0.9, "--seed", 5, "--set", "batch_size=40")
    assert result.exit_code == 0 and "sparsity 0.9" in result.stdout
    masks = topo.Masks.load("masks.safetensors")
    assert (masks.algorithm, masks.seed, masks.settings["batch_size"]) == ("snip", 5, 40)

    result = topo_command("encode", *options, "--masks", "masks.safetensors")
    assert result.exit_code == 0
    graph = topo.MultipartiteGraph.load("graph.safetensors")
    expected = topo.encode(model, masks, example=(1, 8, 8))
    assert (graph.n_nodes, graph.n_edges) == (expected.n_nodes, expected.n_edges)
    assert (graph.adjacency() != expected.adjacency()).nnz == 0

    row = topo.measure(expected)
    for suffix in ("csv", "json", "parquet"):
        assert topo_command("measure", "graph.safetensors", "-o", f"row.{suffix}").exit_code == 0
    assert pd.read_csv("row.csv").iloc[0].to_dict() == pytest.approx(row.to_dict(), nan_ok=True)
    assert pd.read_parquet("row.parquet").iloc[0].to_dict() == pytest.approx(row.to_dict(), nan_ok=True)
    written = json.loads(Path("row.json").read_text(), parse_constant=pytest.fail)
    assert set(written["metrics"]) == set(row.index) and set(written["undefined"]) == set(row.attrs["undefined"])

    direct = topo_command("measure", *options, "--masks", "masks.safetensors", "-m", "local", "-m", "k_core")
    printed = dict(line.split(None, 1) for line in direct.stdout.splitlines())
    assert float(printed["sink_nodes"]) == row["sink_nodes"] and "k_core_norm" in printed and "edges" not in printed


def test_the_option_that_makes_a_file_fit_is_named(refused, in_folder: Path):
    model = build("digits-mlp", input_shape=(1, 8, 8), n_classes=7)
    topo.Masks.dense(model).save("masks.safetensors")
    topo.save_checkpoint(model, "weights.safetensors")
    for option in (("--masks", "masks.safetensors"), ("--checkpoint", "weights.safetensors")):
        sentence = refused("encode", "digits-mlp", "--example", "1,8,8", *option)
        assert "(7, " in sentence and "(10, " in sentence and sentence.endswith("; give --classes 7.")
        sentence = refused("measure", "digits-mlp", "--dataset", "digits", *option)
        assert sentence.endswith("; give --classes 7 and --example in place of --dataset, which has 10 classes.")
    topo.Masks.dense(build("digits-mlp", input_shape=(1, 8, 8), widths=[7])).save("narrow.safetensors")
    sentence = refused("encode", "digits-mlp", "--example", "1,8,8", "--masks", "narrow.safetensors")
    assert sentence.endswith("; MODEL, --model-set, --example and --classes decide its layers.")


def test_layer_graphs_are_a_folder(topo_command, in_folder: Path):
    command = [
        "encode",
        "digits-cnn",
        "--example",
        "1,8,8",
        "-e",
        "rolled",
        "-o",
        "layers",
        "--model-set",
        "width=4",
    ]
    assert topo_command(*command).exit_code == 0
    assert len(topo.LayerGraphs.load("layers")) == 7
    result = topo_command("measure", "layers", "-m", "strength")
    assert result.exit_code == 0 and "strength_weighted" in result.stdout


def test_what_is_undefined_is_printed_with_its_reason(topo_command, in_folder: Path):
    topo_command("encode", "digits-mlp", "--example", "1,8,8", "-o", "g.safetensors")
    row = topo.measure(topo.MultipartiteGraph.load("g.safetensors"), metrics=["assortativity", "ramanujan"])
    result = topo_command("measure", "g.safetensors", "-m", "assortativity", "-m", "ramanujan")
    assert result.stdout.count("undefined: ") == row.isna().sum() > 0


def test_synflow_needs_no_data(topo_command, in_folder: Path):
    command = ["prune", "digits-cnn", "-p", "synflow", "-s", 0.9, "--example", "1,8,8", "--set", "rounds=2"]
    assert topo_command(*command).exit_code == 0


def test_the_weights_that_go_with_masks_are_kept_on_request(topo_command, refused, in_folder: Path):
    command = ["prune", "digits-mlp", "-p", "sparsegpt", "-s", 0.5, "--dataset", "digits"]
    result = topo_command(*command)
    assert result.exit_code == 0 and "masks alone" in result.stdout and "--weights FILE" in result.stdout
    result = topo_command(*command, "--weights", "new/w.safetensors")
    assert result.exit_code == 0 and "masks alone" not in result.stdout
    model = topo.load_checkpoint(build("digits-mlp", input_shape=(1, 8, 8)), "new/w.safetensors")
    masks = topo.Masks.load("masks.safetensors")
    assert topo.Masks.from_nonzero(model).sparsity == pytest.approx(masks.sparsity)
    assert not (
        model.get_parameter("1.weight") == build("digits-mlp", input_shape=(1, 8, 8)).get_parameter("1.weight")
    )[masks["1.weight"]].all()
    assert (
        topo_command("encode", "digits-mlp", "--dataset", "digits", "--checkpoint", "new/w.safetensors").exit_code == 0
    )
    assert "must end in .safetensors" in refused(*map(str, command), "--weights", "w.pt")


def test_what_is_lacking_is_said_in_the_words_of_the_command_line(refused, in_folder: Path):
    network = ("prune", "digits-mlp", "--dataset", "digits")
    assert "give --dataset and --recipe, such as" in refused(*network, "-p", "rigl", "-s", "0.9")
    assert refused(*network, "-p", "er", "-s", "95").endswith("; 95% is 0.95.")
    batch = ("prune", "resnet20", "-p", "er", "-s", "0.9", "--example", "1,3,32,32")
    assert "leave the batch axis out" in refused(*batch)


def test_an_emptied_layer_is_said(topo_command, in_folder: Path):
    result = topo_command("prune", "digits-mlp", "-p", "magnitude", "-s", 0.9999, "--example", "1,8,8")
    assert result.exit_code == 0 and "No weight is left in" in result.stderr


def test_masks_that_do_not_fit_and_damaged_files(topo_command, refused, in_folder: Path):
    topo_command("prune", "digits-cnn", "-p", "er", "-s", 0.5, "--example", "1,8,8")
    assert "parameter" in refused("encode", "digits-mlp", "--example", "1,8,8", "--masks", "masks.safetensors")
    content = Path("masks.safetensors").read_bytes()
    Path("cut.safetensors").write_bytes(content[: len(content) // 2])
    assert "not a whole safetensors file" in refused("measure", "cut.safetensors")
    assert "holds no graph" in refused("measure", "masks.safetensors")


def test_folders_of_output_files_are_made(topo_command, in_folder: Path):
    command = ["prune", "digits-mlp", "-p", "er", "-s", 0.5, "--example", "1,8,8", "-o", "new/folder/m.safetensors"]
    assert topo_command(*command).exit_code == 0
    command = ["measure", "digits-mlp", "--example", "1,8,8", "--masks", "new/folder/m.safetensors", "-m", "general"]
    assert topo_command(*command, "-o", "rows/row.csv").exit_code == 0
    assert len(pd.read_csv("rows/row.csv")) == 1


def test_an_example_may_be_a_file_of_tensors(topo_command, in_folder: Path):
    write_arrays("example.safetensors", {"0": np.zeros((2, 1, 8, 8), dtype=np.float32)}, {})
    options = ["digits-mlp", "-m", "edges"]
    from_file = topo_command("measure", *options, "--example", "example.safetensors")
    assert from_file.stdout == topo_command("measure", *options, "--example", "1,8,8").stdout != ""


def test_z_scores_against_random_masks(topo_command, in_folder: Path):
    topo_command("prune", "digits-mlp", "--dataset", "digits", "-p", "er", "-s", 0.9, "--seed", 1)
    options = ["digits-mlp", "--dataset", "digits", "--masks", "masks.safetensors", "-m", "motifs", "-m", "edges"]
    result = topo_command("measure", *options, "--controls", 5, "--seed", 2)
    assert result.exit_code == 0
    printed = dict(line.split(maxsplit=1) for line in result.stdout.splitlines())
    model = build("digits-mlp", input_shape=(1, 8, 8), seed=2)
    masks = topo.Masks.load("masks.safetensors")
    expected = topo.z_scores(model, masks, example=(1, 8, 8), metrics=["motifs"], n=5, seed=2)["z"]
    assert float(printed["motifs_z"]) == pytest.approx(expected["motifs"], rel=1e-6)
    assert printed["edges_z"] == "undefined: the numbers of weights in the layers fix it"

    topo_command("measure", *options, "--controls", 5, "-o", "row.json")
    row = json.loads(Path("row.json").read_text())
    assert (
        row["metrics"]["edges_z"] is None and "edges_z" in row["undefined"] and row["metrics"]["motifs_z"] is not None
    )

    assert (
        "--controls must be a whole number of at least 2, not 1"
        in topo_command("measure", *options, "--controls", 1).stderr
    )
    topo_command("encode", *options[:5])
    assert "--controls needs a network" in topo_command("measure", "graph.safetensors", "--controls", 5).stderr


@pytest.fixture
def mask_files(topo_command, in_folder: Path) -> Path:
    """Two files of masks in a folder ``masks``, and one that is none."""
    for seed in (0, 1):
        command = ["prune", "digits-mlp", "-p", "er", "-s", 0.9, "--example", "1,8,8", "--seed", seed]
        assert topo_command(*command, "-o", f"masks/{seed}.safetensors").exit_code == 0
    Path("masks/damaged.safetensors").write_bytes(b"no masks")
    return in_folder


MEASURE = ["measure", "digits-mlp", "--example", "1,8,8", "-m", "local,k_core"]


def test_a_folder_of_masks_becomes_a_table(topo_command, mask_files: Path, monkeypatch: pytest.MonkeyPatch):
    for name in ("notes.txt", "old.pt", ".hidden"):
        Path("masks", name).touch()
    result = topo_command(*MEASURE, "--masks", "masks", "-o", "table.parquet", "--workers", 2)
    assert result.exit_code == 1 and result.stdout == "table.parquet: 2 of 3 files measured, 1 failed.\n"
    passed = "2 files were passed over, not ending in .safetensors: 'masks/notes.txt', 'masks/old.pt'.\n"
    assert passed in result.stderr
    assert "masks/damaged.safetensors: masks/damaged.safetensors is not" in result.stderr
    table = pd.read_parquet("table.parquet")
    assert table["file"].tolist() == [f"masks/{name}.safetensors" for name in ("0", "1", "damaged")]
    assert table["status"].tolist() == ["finished", "finished", "failed"] and table["reason"].astype(bool).sum() == 1
    assert not Path("table.parquet.unfinished.jsonl").exists()
    model = build("digits-mlp", input_shape=(1, 8, 8))
    for row in table.iloc[:2].to_dict("records"):
        masks = topo.Masks.load(row["file"])
        assert (row["model"], row["pruner"], row["sparsity"], row["seed"]) == ("digits-mlp", "er", 0.9, masks.seed)
        assert row["reached_sparsity"] == masks.sparsity and row["kept_weights"] == masks.counts()["kept"].sum()
        own = topo.measure(topo.encode(model, masks, example=(1, 8, 8)), metrics=["local", "k_core"])
        assert {name: row[name] for name in own.index} == own.to_dict()

    monkeypatch.setattr("topo.features.mask_files.measure", pytest.fail)
    Path("masks/0.safetensors").rename("masks/new.safetensors")
    Path("masks/damaged.safetensors").unlink()
    assert topo_command(*MEASURE, "--masks", "masks", "-o", "table.parquet").exit_code == 0
    again = pd.read_parquet("table.parquet")
    assert again["file"].tolist() == ["masks/1.safetensors", "masks/new.safetensors"]
    assert again["sink_nodes"].tolist() == table["sink_nodes"].tolist()[1::-1]


def test_files_that_are_passed_over_do_not_include_the_table(tmp_path: Path):
    for name in ("table.csv", "table.csv.unfinished.jsonl", "a.safetensors", "other.csv"):
        (tmp_path / name).touch()
    assert passed_over([tmp_path], tmp_path / "table.csv") == [tmp_path / "other.csv"]
    assert passed_over([tmp_path / "other.csv"]) == []


def test_what_is_no_file_is_a_failed_row_beside_the_others(topo_command, mask_files: Path):
    Path("masks/damaged.safetensors").unlink()
    os.mkfifo("masks/pipe.safetensors")
    Path("masks/folder.safetensors").mkdir()
    Path("masks/loop.safetensors").symlink_to("loop.safetensors")
    result = topo_command(*MEASURE, "--masks", "masks", "-o", "table.csv")
    assert result.exit_code == 1 and "2 of 5 files measured" in result.stdout
    table = pd.read_csv("table.csv").set_index("file")
    assert table["status"].value_counts().to_dict() == {"failed": 3, "finished": 2}
    for name, why in (("pipe", "is no file"), ("folder", "is a folder"), ("loop", "cannot be read")):
        assert why in table.loc[f"masks/{name}.safetensors", "reason"]


def test_a_stopped_run_goes_on(topo_command, mask_files: Path, monkeypatch: pytest.MonkeyPatch):
    measured: list[object] = []
    measure = topo.measure

    def stopping(*network: object, **options: object) -> pd.Series:
        measured.append(network)
        if len(measured) == 2:
            raise KeyboardInterrupt
        return measure(*network, **options)

    monkeypatch.setattr("topo.features.mask_files.measure", stopping)
    command = [*MEASURE, "--masks", "masks/[01].safetensors", "-o", "table.csv", "--workers", 1]
    result = topo_command(*command)
    assert result.exit_code == 130 and "finished rows are kept" in result.stderr
    assert not Path("table.csv").exists()
    with Path("table.csv.unfinished.jsonl").open("a") as file:
        file.write('{"key": "half')
    assert topo_command(*command).exit_code == 0 and len(measured) == 3
    assert pd.read_csv("table.csv")["status"].tolist() == ["finished"] * 2
    assert topo_command(*command).exit_code == 0 and len(measured) == 3
    # Other masks join the table; a file whose masks have changed is measured again.
    topo_command("prune", "digits-mlp", "-p", "er", "-s", 0.8, "--example", "1,8,8", "-o", "masks/1.safetensors")
    options = [*MEASURE, "--masks", "masks/1.safetensors", "--masks", "masks/1.safetensors"]
    assert topo_command(*options, "-o", "table.csv").exit_code == 0 and len(measured) == 4
    assert topo_command(*MEASURE, "--masks", "masks/1*", "-o", "table.csv").exit_code == 0 and len(measured) == 4
    table = pd.read_csv("table.csv").sort_values("file")
    assert table["sparsity"].tolist() == [0.9, 0.8]


def test_tables_of_something_else_are_not_replaced(topo_command, refused, mask_files: Path):
    command = [*MEASURE, "--masks", "masks/[01].safetensors"]
    assert "give --output FILE that ends in .csv or .parquet" in refused(*command)
    assert "give --output FILE" in refused(*command, "-o", "t.json")
    assert topo_command(*command, "-o", "table.csv").exit_code == 0
    content = Path("table.csv").read_bytes()
    for other in (["--seed", "1"], ["-m", "general"], ["--set", "skips=projection"], ["--controls", "2"]):
        assert "another model, other metrics or other options" in refused(*command, *other, "-o", "table.csv")
    assert Path("table.csv").read_bytes() == content
    Path("table.csv").write_text("a,b\n1,2\n")
    assert "holds no table of measured files" in refused(*command, "-o", "table.csv")
    assert "no file, no folder, and finds no file" in refused(*MEASURE, "--masks", "nothing/*", "-o", "n.csv")
    Path("empty").mkdir()
    assert "a folder without .safetensors files" in refused(*MEASURE, "--masks", "empty", "-o", "n.csv")
    topo_command("encode", "digits-mlp", "--example", "1,8,8", "-o", "g.safetensors")
    assert "not for a graph" in refused("measure", "g.safetensors", "--masks", "masks")
    Path("mine.py").write_text("")
    for name in ("mine.py", "mine:Mine", "package.mine"):
        assert "--import FILE" in refused("prune", name, "--pruner", "er", "--sparsity", 0.5, "--example", "1,8,8")
    assert "--import FILE" in refused("measure", "mine.py", "--masks", "masks", "--example", "1,8,8", "-o", "n.csv")


def test_masks_given_twice_are_both_measured(topo_command, refused, mask_files: Path):
    files = ["masks/1.safetensors", "masks/0.safetensors"]
    options = [part for file in files for part in ("--masks", file)]
    assert topo_command(*MEASURE, *options, "-o", "t.csv", "--controls", 2).exit_code == 0
    table = pd.read_csv("t.csv")
    assert table["file"].tolist() == files and "sink_nodes_z" in table
    assert refused("encode", "digits-mlp", *options) == "--masks is given 2 times and takes one value."
    sentence = refused("study", "run", "s.yaml", "--device", "cpu", "--device", "cuda")
    assert sentence == "--device is given 2 times and takes one value."


def test_a_profile_has_a_line_a_metric(topo_command, refused, in_folder: Path):
    options = ["digits-mlp", "--example", "1,8,8", "-m", "k_core,edges,two_hop"]
    result = topo_command("measure", *options, "--profile")
    assert result.exit_code == 0
    rows = [line.split() for line in result.stdout.splitlines()[2:]]
    assert {row[0] for row in rows} == {"(encode)", "(view)", "edges", "two_hop", "k_core", "all"}
    seconds = [float(row[1]) for row in rows[:-1]]
    assert seconds == sorted(seconds, reverse=True) and float(rows[-1][1]) == pytest.approx(sum(seconds), abs=5e-4)
    assert "6,464 edges, engine edges" in topo_command("measure", *options, "-e", "rolled", "--profile").stdout
    result = topo_command("measure", *options, "--profile", "--engine", "structure")
    assert "6,464 edges, engine structure" in result.stdout and result.exit_code == 0
    assert "measures nothing" in refused("measure", *options, "--profile", "-o", "row.csv")
    topo_command("encode", *options[:3], "-o", "g.safetensors")
    assert "MultipartiteGraph(4 parts" in topo_command("measure", "g.safetensors", "--profile", "-m", "edges").stdout


@pytest.mark.parametrize("engine", ["auto", "structure"])
def test_a_profile_of_many_networks_is_the_mean(topo_command, mask_files: Path, engine: str):
    """A file that is none is named, and the exit status says that there was one."""
    command = [*MEASURE, "--profile", "--engine", engine]
    result = topo_command(*command, "--masks", "masks")
    assert result.exit_code == 1 and "masks/damaged.safetensors: " in result.stderr
    used = "edges" if engine == "auto" else engine
    assert f"digits-mlp, the mean over 2 files of masks: 646 edges, engine {used}; a product" in result.stdout
    rows = [line.split()[0] for line in result.stdout.splitlines()[2:]]
    assert len(rows) == len(set(rows)) and {"(encode)", "(view)", "k_core", "sink_nodes", "all"} <= {*rows}
    assert topo_command(*command, "--masks", "masks/[01].safetensors").exit_code == 0
    result = topo_command(*command, "--masks", "masks/dam*")
    assert result.exit_code == 2 and "no file was measured; masks/damaged.safetensors: " in result.stderr


def test_many_networks_by_either_engine(topo_command, refused, mask_files: Path, monkeypatch: pytest.MonkeyPatch):
    command = [*MEASURE, "--masks", "masks/[01].safetensors", "--controls", 2]
    tables = {}
    for engine in ("edges", "structure"):
        assert topo_command(*command, "--engine", engine, "-o", f"{engine}.csv").exit_code == 0
        tables[engine] = pd.read_csv(f"{engine}.csv")
        assert tables[engine].pop("engine").tolist() == [engine] * 2
    core = ["k_core", "k_core_norm", "k_core_z", "undefined", "key"]
    pd.testing.assert_frame_equal(*(table.drop(columns=core) for table in tables.values()))
    assert tables["structure"]["undefined"].str.contains("k_core, k_core_norm, k_core_z: it needs the edges").all()
    assert "another model, other metrics or other options" in refused(*command, "-o", "structure.csv")
    assert "did you mean 'structure'" in refused(*command, "--engine", "structur", "-o", "s.csv")
    # Memory decides where nobody does, and says so once.
    monkeypatch.setattr("topo.memory.available_memory", lambda: 24_000)
    result = topo_command(*MEASURE, "--masks", "masks/[01].safetensors", "-o", "auto.csv")
    assert result.exit_code == 0 and result.stderr.count("measured without building them") == 1
    assert pd.read_csv("auto.csv")["engine"].tolist() == ["structure"] * 2
    # And where it is too little for edges that were asked for, each file is named with its reason.
    monkeypatch.setattr("topo.encoding.encoder.available_memory", lambda: 7_000)
    result = topo_command(*MEASURE, "--masks", "masks/[01].safetensors", "-o", "e.csv", "--engine", "edges")
    assert result.exit_code == 1 and result.stderr.count("about 646 edges, which take 0.0 MiB, and 0.0 MiB") == 2
    assert "--engine structure" in result.stderr and pd.read_csv("e.csv")["status"].eq("failed").all()


def test_layers_of_many_networks(topo_command, mask_files: Path):
    command = ["measure", "digits-mlp", "--example", "1,8,8", "--masks", "masks/[01].safetensors", "-e", "rolled"]
    result = topo_command(*command, "-o", "layers.csv")
    assert result.exit_code == 0 and "2 of 2 files measured" in result.stdout
    table = pd.read_csv("layers.csv")
    assert table["edges_max"].gt(0).all() and table["delta_r_mean"].notna().all()


def test_an_iteration_that_does_not_converge_has_a_reason(
    topo_command, mask_files: Path, monkeypatch: pytest.MonkeyPatch
):
    started = []
    monkeypatch.setattr("topo.features.lanczos.MOST_STEPS", 0)
    monkeypatch.setattr("topo.features.spectra.DENSE_SIZE", 10)
    iterate = spectra.extreme_eigenvalues
    monkeypatch.setattr(spectra, "extreme_eigenvalues", lambda *a, **o: started.append(o["seed"]) or iterate(*a, **o))
    command = ["measure", "digits-mlp", "--example", "1,8,8", "-m", "spectral_radius,edges"]
    result = topo_command(*command, "--masks", "masks/*[01].safetensors", "-o", "t.csv", "--workers", 1)
    assert result.exit_code == 0 and started and started == [0, 1] * (len(started) // 2)  # every one a second time
    table = pd.read_csv("t.csv")
    reason = "the eigenvalue iteration did not converge, from two different starts"
    assert table["spectral_radius"].isna().all() and table["edges"].eq(646).all()
    assert table["undefined"].tolist() == [f"spectral_radius: {reason}"] * 2
    result = topo_command(*command, "--masks", "masks/0.safetensors")
    assert f"spectral_radius  undefined: {reason}" in result.stdout and "edges            646" in result.stdout


def test_without_edges(topo_command, refused, in_folder: Path):
    options = ["digits-mlp", "--example", "1,8,8", "-m", "local,k_core"]
    printed = {}
    for engine in ("edges", "structure"):
        result = topo_command("measure", *options, "--engine", engine)
        printed[engine] = [line for line in result.stdout.splitlines() if "k_core" not in line]
    assert printed["edges"] == printed["structure"] and "k_core" in result.stdout and "needs the edges" in result.stdout
    assert "did you mean" in refused("measure", *options, "--engine", "structur")


def test_weights_are_listed(topo_command, in_folder: Path):
    result = topo_command("weights", "digits-mlp", "--dataset", "digits")
    assert result.exit_code == 0
    assert result.stdout.splitlines()[1].split() == ["1.weight", "64x64", "4096", "weight", "True"]
    assert "Pruning may remove 6,464 of 6,570 parameters." in result.stdout
    for suffix, read in (("csv", pd.read_csv), ("parquet", pd.read_parquet)):
        assert topo_command("weights", "digits-mlp", "--dataset", "digits", "-o", f"table.{suffix}").exit_code == 0
        assert read(f"table.{suffix}")["pruned"].sum() == 3
    result = topo_command("weights", "digits-mlp", "-o", "table.txt")
    assert result.exit_code == 2 and "must end in .csv or .parquet" in result.stderr


def test_checkpoints_and_masks_of_wrapped_networks(topo_command, in_folder: Path):
    model = build("rnn", input_shape=(3, 2))
    state = {f"module.{name}": tensor for name, tensor in model.state_dict().items()}
    torch.save({"epoch": 3, "state_dict": state}, "net.pth.tar")
    options = ["rnn", "--example", "3,2", "--checkpoint", "net.pth.tar"]
    with pytest.warns(UserWarning, match="under 'state_dict' was read; 'module.recurrent.weight_ih_l0' is"):
        assert topo_command("prune", *options, "-p", "magnitude", "-s", 0.5).exit_code == 0
    assert topo.Masks.load("masks.safetensors") == topo.prune(model, "magnitude", sparsity=0.5)
    result = topo_command("prune", *options, "--classes", 7, "-p", "magnitude", "-s", 0.5)
    assert result.exit_code == 2 and "give --classes 10" in result.stderr


def test_what_is_said_beside_a_result_is_one_line(capsys):
    show_warning(UserWarning("a part was left out."), UserWarning, "file.py", 3)
    show_warning("old.", DeprecationWarning, "file.py", 3)
    assert capsys.readouterr().err == "topo: a part was left out.\ntopo: old. (DeprecationWarning in file.py:3)\n"
