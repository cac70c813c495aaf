"""Own code on the command line, in fresh processes."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.fresh import topo_fresh

CODE = """
from torch import nn

from topo.features import metric
from topo.models import MODELS
from topo.pruning import PRUNERS, by_score


@PRUNERS.register("largest-last", family="own", stage="trained", needs_data=False)
@by_score()
def largest_last(task, *, power: float = 1.0):
    \"\"\"Keeps the smallest weights.

    Parameters
    ----------
    power
        Makes no difference.
    \"\"\"
    return {name: -(weight.detach().abs() ** power) for name, weight in task.weights.items()}


@metric("three", category="general")
def three(view):
    \"\"\"Three, whatever the graph.\"\"\"
    return 3.0


@MODELS.register("own-net", family="own")
def own_net(input_shape, n_classes):
    \"\"\"A linear layer.\"\"\"
    return nn.Sequential(nn.Flatten(), nn.LazyLinear(n_classes))
"""


def run(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return topo_fresh(*arguments, folder=folder)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "my_code.py").write_text(CODE)
    return tmp_path


@pytest.mark.slow
def test_every_command_takes_own_code(folder: Path):
    done = run("list", "pruners", "largest-last", "--import", "my_code.py", folder=folder)
    assert "Keeps the smallest weights." in done.stdout and "Makes no difference." in done.stdout, done.stderr
    assert f"defined by largest_last in {folder / 'my_code.py'}" in done.stdout

    own = ["--import", "my_code", "--example", "1,4,4"]  # a module, found in the working folder
    done = run("prune", "own-net", "-p", "largest-last", "-s", "0.5", "--set", "power=2", *own, folder=folder)
    assert "sparsity 0.5 over 1 layer by largest-last" in done.stdout, done.stderr
    done = run("measure", "own-net", "--masks", "masks.safetensors", "-m", "three", *own, folder=folder)
    assert done.stdout.split() == ["three", "3"], done.stderr


@pytest.mark.slow
def test_code_that_fails_is_one_sentence(folder: Path):
    (folder / "broken.py").write_text("x = 1\nraise ValueError('no\\nluck')\n")
    done = run("list", "pruners", "--import", "broken.py", folder=folder)
    expected = f"topo: {folder / 'broken.py'}, line 2, cannot be imported: ValueError: no luck.\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", expected)
