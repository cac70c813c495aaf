from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import topo


@pytest.mark.parametrize(
    "command", ["", "study", "study run", "study status", "report", "list", "prune", "encode", "measure"]
)
def test_every_command_teaches_by_example(topo_command, command: str):
    result = topo_command(*command.split(), "--help")
    assert result.exit_code == 0
    if command != "study":
        assert re.search(rf"^\s+topo {command}", result.stdout, re.MULTILINE)


@pytest.mark.parametrize("command", ["", "study", "study run", "list"])
def test_help_has_a_short_form(topo_command, command: str):
    assert topo_command(*command.split(), "-h").stdout == topo_command(*command.split(), "--help").stdout


def test_the_version_and_the_package_as_a_program():
    done = subprocess.run([sys.executable, "-m", "topo", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"topo {topo.__version__}\n"


def test_completion_for_the_shell(topo_command, monkeypatch: pytest.MonkeyPatch):
    assert {"--install-completion", "--show-completion"} <= set(topo_command("--help").stdout.split())
    monkeypatch.setenv("_TOPO_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", "topo list pru")
    monkeypatch.setenv("COMP_CWORD", "2")
    done = subprocess.run([sys.executable, "-m", "topo"], capture_output=True, text=True)
    assert done.stdout.split() == ["pruners"]


def test_a_list_of_metrics_loads_no_torch():
    code = (
        "import sys\nfrom topo.cli import app\napp(['list', 'metrics'], standalone_mode=False)\n"
        "assert not {'torch', 'pandas', 'numba', 'sklearn', 'igraph'} & {*sys.modules}"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert "two_hop" in done.stdout


def test_debug_shows_where_an_error_arose(topo_command):
    with pytest.raises(topo.InputError, match="unknown pruner"):
        topo_command("--debug", "prune", "resnet20", "-p", "snipp", "-s", 0.5)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("list pruner", "unknown list 'pruner'; did you mean 'pruners'"),
        ("list pruners synflo", "unknown pruner 'synflo'; did you mean 'synflow'"),
        ("list pruners --import none.py", "none.py cannot be read (No such file or directory)"),
        ("prune resnet20 -p er -s 0.5 --example x=3 --example 4", "either shapes or NAME=SHAPE, not both"),
        ("prune resnet20 -p er -s 0.5 --example a.safetensors --example 4", "either one file of tensors or shapes"),
        ("prune resnet20 -p er -s 0.5 --example a.safetensors", "a.safetensors does not exist"),
        ("prune resnet2 -p er -s 0.5", "unknown model 'resnet2'; did you mean 'resnet"),
        ("prune resnet20 -p snipp -s 0.5", "unknown pruner 'snipp'; did you mean 'snip'"),
        ("prune resnet20 -p snip -s 0.5", "pruner 'snip' needs data; give --dataset"),
        ("prune resnet20 -p er -s 1.5", "sparsity must be a number of at least 0 and below 1, not 1.5"),
        ("prune resnet20 -p er -s 0.5 --set densty=3", "'densty'"),
        ("prune resnet20 -p er -s 0.5 --set densty", "setting 'densty' is not of the form KEY=VALUE"),
        ("prune resnet20 -p er -s 0.5 --set a=[1", "the value '[1' is not valid YAML"),
        ("prune resnet20 -p er -s 0.5 --example 3by3", "--example '3by3' is not a shape such as 3,32,32"),
        ("prune digits-mlp -p er -s 0.5 --dataset digits --classes 3", "leave out --example and --classes"),
        ("prune digits-mlp -p er -s 0.5 -o file/masks.safetensors", "cannot write file/masks.safetensors"),
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
def test_bad_input_is_one_sentence(refused, in_folder: Path, arguments: str, message: str):
    Path("file").touch()
    assert message in refused(*arguments.split())
