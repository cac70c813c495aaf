from __future__ import annotations

import json
import re
import subprocess
import sys
import types
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner, Result

import topo
from topo.cli import app
from topo.models import build

STUDY = """
datasets: [{name: digits, subset: 3}]
models: [{name: digits-mlp, widths: [8]}]
pruners: [er, magnitude]
sparsities: [0.5]
recipe: {name: digits, epochs: 1}
metrics: [local]
"""


def topo_command(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False, terminal_width=200)


def refused(*arguments: object) -> str:
    """The one sentence with which a command refuses bad input."""
    result = topo_command(*arguments)
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith("topo: ")
    return lines[0].removeprefix("topo: ")


@pytest.fixture
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Stands for the package distributed: a client whose executor is a thread here; the addresses it was given."""
    addresses = []

    class Client:
        def __init__(self, address: str) -> None:
            addresses.append(address)
            if "nobody" in address:
                raise OSError("timed out")

        def get_executor(self) -> ThreadPoolExecutor:
            return ThreadPoolExecutor(1)

    monkeypatch.setitem(sys.modules, "distributed", types.SimpleNamespace(Client=Client))
    return addresses


@pytest.mark.parametrize(
    "command", ["", "study", "study run", "study status", "report", "list", "prune", "encode", "measure"]
)
def test_every_command_teaches_by_example(command: str):
    result = topo_command(*command.split(), "--help")
    assert result.exit_code == 0
    if command != "study":
        assert re.search(rf"^\s+topo {command}", result.stdout, re.MULTILINE)


def test_help_does_not_load_torch():
    code = "import sys, topo.cli; assert 'torch' not in sys.modules and 'pandas' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("models", ["resnet20", "digits-cnn", "torchvision", "densenet121"]),
        ("datasets", ["digits", "cifar10", "folder"]),
        ("pruners", ["initial", "trained", "snip", "synflow", "magnitude-layerwise", "2019"]),
        ("metrics", ["local", "sink_nodes", "ramanujan", "imdb"]),
        ("encodings", ["multipartite", "rolled-channel"]),
        ("recipes", ["reference", "digits"]),
    ],
)
def test_lists_name_everything_with_one_line_each(kind: str, expected: list[str]):
    result = topo_command("list", kind)
    assert result.exit_code == 0 and all(text in result.stdout for text in expected)


def test_an_unknown_list_is_refused():
    assert topo_command("list", "pruner").exit_code == 2


def test_prune_encode_and_measure_pass_files_on(in_folder: Path):
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
    expected = topo.encode(model, masks, input_shape=(1, 8, 8))
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


def test_layer_graphs_are_a_folder(in_folder: Path):
    command = [
        "encode",
        "digits-cnn",
        "--input-shape",
        "1x8x8",
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


def test_what_is_undefined_is_printed_with_its_reason(in_folder: Path):
    topo_command("encode", "digits-mlp", "--input-shape", "1x8x8", "-o", "g.safetensors")
    row = topo.measure(topo.MultipartiteGraph.load("g.safetensors"), metrics=["assortativity", "ramanujan"])
    result = topo_command("measure", "g.safetensors", "-m", "assortativity", "-m", "ramanujan")
    assert result.stdout.count("undefined: ") == row.isna().sum() > 0


def test_synflow_needs_no_data(in_folder: Path):
    command = ["prune", "digits-cnn", "-p", "synflow", "-s", 0.9, "--input-shape", "1,8,8", "--set", "rounds=2"]
    assert topo_command(*command).exit_code == 0


def test_an_emptied_layer_is_said(in_folder: Path):
    result = topo_command("prune", "digits-mlp", "-p", "magnitude", "-s", 0.9999, "--input-shape", "1x8x8")
    assert result.exit_code == 0 and "No weight is left in" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("prune resnet2 -p er -s 0.5", "unknown model 'resnet2'; did you mean 'resnet"),
        ("prune resnet20 -p snipp -s 0.5", "unknown pruner 'snipp'; did you mean 'snip'"),
        ("prune resnet20 -p snip -s 0.5", "pruner 'snip' needs data; give --dataset"),
        ("prune resnet20 -p er -s 1.5", "sparsity must be a number of at least 0 and below 1, not 1.5"),
        ("prune resnet20 -p er -s 0.5 --set densty=3", "'densty'"),
        ("prune resnet20 -p er -s 0.5 --set densty", "setting 'densty' is not of the form KEY=VALUE"),
        ("prune resnet20 -p er -s 0.5 --set a=[1", "'[1' is not a value"),
        ("prune resnet20 -p er -s 0.5 --input-shape 3by3", "--input-shape '3by3' is not of the form 3x32x32"),
        ("prune digits-mlp -p er -s 0.5 --dataset digits --classes 3", "leave out --input-shape and --classes"),
        ("prune digits-mlp -p er -s 0.5 -o none/masks.safetensors", "cannot write none/masks.safetensors"),
        ("prune digits-mlp -p er -s 0.5 --checkpoint none.pt", "none.pt does not exist"),
        ("prune digits-mlp -p er -s 0.5 --dataset digit", "unknown dataset 'digit'; did you mean 'digits'"),
        ("encode digits-mlp --masks none.safetensors", "none.safetensors does not exist"),
        ("encode digits-mlp -e roled", "unknown encoding 'roled'; did you mean 'rolled'"),
        ("encode digits-mlp --set skips=som", "unknown value of skips 'som'"),
        ("measure none.safetensors", "none.safetensors does not exist"),
        ("measure digits-ml", "unknown model 'digits-ml'; did you mean 'digits-mlp'"),
        ("measure digits-mlp -m sink", "unknown metric or category 'sink'; did you mean"),
        ("measure digits-mlp -o row.txt", "row.txt must end in .csv, .json or .parquet"),
        ("study run none.yaml", "none.yaml does not exist; give the path of a study file"),
        ("study status .", ". is not the folder of a study"),
        ("report none", "none"),
    ],
)
def test_bad_input_is_one_sentence(in_folder: Path, arguments: str, message: str):
    assert message in refused(*arguments.split())


def test_masks_that_do_not_fit_and_damaged_files(in_folder: Path):
    topo_command("prune", "digits-cnn", "-p", "er", "-s", 0.5, "--input-shape", "1x8x8")
    assert "parameter" in refused("encode", "digits-mlp", "--input-shape", "1x8x8", "--masks", "masks.safetensors")
    whole = Path("masks.safetensors").read_bytes()
    Path("cut.safetensors").write_bytes(whole[: len(whole) // 2])
    assert "not a whole safetensors file" in refused("measure", "cut.safetensors")
    assert "holds no graph" in refused("measure", "masks.safetensors")


def test_debug_shows_where_an_error_arose():
    with pytest.raises(topo.InputError, match="unknown pruner"):
        topo_command("--debug", "prune", "resnet20", "-p", "snipp", "-s", 0.5)


def test_a_study_from_file_to_report(in_folder: Path, cluster: list[str]):
    Path("small.yaml").write_text(STUDY)
    result = topo_command("study", "run", "small.yaml", "--executor", "dask:tcp://here:8786")
    assert result.exit_code == 0, result.output
    assert cluster == ["tcp://here:8786"]
    assert "3/3 digits digits-mlp magnitude 0.5 seed 0: accuracy 0." in result.stderr
    assert "3 cells: 3 finished" in result.stdout and "studies/small/results.parquet" in result.stdout

    status = topo_command("study", "status", "studies/small")
    assert status.exit_code == 0 and "3 cells: 3 finished" in status.stdout and "magnitude" in status.stdout
    every = topo_command("study", "status", "studies/small", "--cells")
    assert len(every.stdout.splitlines()) == 3 and "er 0.5 seed 0" in every.stdout

    again = topo_command("study", "run", "studies/small")
    assert again.exit_code == 0 and again.stderr == ""
    assert "leave out --output" in refused("study", "run", "studies/small", "--output", "other")

    result = topo_command("report", "studies/small")
    assert result.exit_code == 0 and Path("studies/small/report.html").stat().st_size > 10_000


def test_failed_cells_are_told_with_their_reasons(in_folder: Path, cluster: list[str], monkeypatch: pytest.MonkeyPatch):
    from topo.study import computation

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("no luck")

    Path("small.yaml").write_text(STUDY)
    monkeypatch.setattr(computation, "prune", fail)
    result = topo_command("study", "run", "small.yaml", "--into", "out", "--executor", "dask:here")
    assert result.exit_code == 1
    assert "2 failed: RuntimeError: no luck" in result.stderr and "3 cells: 1 finished, 2 failed" in result.stdout
    status = topo_command("study", "status", "out")
    assert "traceback.txt" in status.stderr


def test_an_interrupted_study_exits_with_130(in_folder: Path, monkeypatch: pytest.MonkeyPatch):
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    Path("small.yaml").write_text(STUDY)
    monkeypatch.setattr(topo.Study, "run", interrupt)
    result = topo_command("study", "run", "small.yaml")
    assert result.exit_code == 130
    assert result.stderr == "Stopped; 0 of 3 cells are finished and kept. Go on with: topo study run studies/small\n"


def test_executors_that_cannot_be_had(in_folder: Path, cluster: list[str], monkeypatch: pytest.MonkeyPatch):
    Path("small.yaml").write_text(STUDY)
    assert "not of the form dask:ADDRESS" in refused("study", "run", "small.yaml", "--executor", "tcp://here")
    assert "no Dask scheduler answers at nobody" in refused("study", "run", "small.yaml", "--executor", "dask:nobody")
    monkeypatch.setitem(sys.modules, "distributed", None)
    assert "pip install 'topo-sparse[cluster]'" in refused("study", "run", "small.yaml", "--executor", "dask:here")


def test_a_study_that_cannot_be_written(in_folder: Path):
    Path("small.yaml").write_text(STUDY)
    Path("file").write_text("")
    assert "cannot write the study in file/out (Not a directory)" in refused(
        "study", "run", "small.yaml", "--into", "file/out"
    )


def test_the_installed_command(in_folder: Path):
    command = [sys.executable, "-c", "from topo.cli import main; main()", "study", "run", "small.yaml"]
    Path("small.yaml").write_text(STUDY.replace("[er,", "[err,"))
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.startswith("topo: small.yaml, line 4: pruners[0]: unknown pruner 'err'")
    assert "Traceback" not in done.stderr and done.stdout == ""
    Path("small.yaml").write_text(STUDY)
    done = subprocess.run([*command, "--workers", "2"], capture_output=True, text=True)
    assert done.returncode == 0 and "3 cells: 3 finished" in done.stdout, done.stderr
    assert len(done.stderr.splitlines()) == 3
