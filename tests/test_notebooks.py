"""Every notebook runs from an installed package in an empty folder, and what it carries is small and free of errors."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from filelock import FileLock
from nbclient import NotebookClient

from tests.fresh import SLOW, Fresh

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
BY_NAME = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)

MOST_BYTES = 1_000_000

IMPORTED = (
    *(*SLOW, "numba", "seaborn", "matplotlib.pyplot"),
    *("IPython.core.interactiveshell", "matplotlib_inline.backend_inline"),
)
COMPILE = "from topo.features.preparation import prepare_kernels; prepare_kernels()"
SHELL = """
import json, sys
from IPython.core.interactiveshell import InteractiveShell

class Shell(InteractiveShell):
    def enable_gui(self, gui=None): ...

shell = Shell.instance()
for source in json.loads(sys.argv[1]):
    shell.run_cell(source, store_history=True).raise_error()
"""


def test_there_are_notebooks_and_each_is_listed():
    listed = re.findall(r"\]\((\w+\.ipynb)\)", (ROOT / "notebooks" / "README.md").read_text())
    assert listed == [path.name for path in NOTEBOOKS] != []


@BY_NAME
def test_a_notebook_is_valid_small_and_stored_with_its_outputs(path: Path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    outputs = [output for cell in code for output in cell.outputs]
    assert path.stat().st_size < MOST_BYTES
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert any("image/png" in output.get("data", {}) for output in outputs)
    assert not [output for output in outputs if output.output_type == "error" or output.get("name") == "stderr"]


@BY_NAME
def test_a_notebook_begins_with_how_to_run_it_without_a_clone(path: Path):
    first = nbformat.read(path, as_version=4).cells[0]
    assert first.cell_type == "markdown" and first.source.startswith("# ")
    assert "on Colab, run `%pip install topo-sparse` first" in " ".join(first.source.split())


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """A folder with the package as its wheel installs it, the same one for all workers: its code is compiled there."""
    session = tmp_path_factory.getbasetemp()
    session = session if worker_id == "master" else session.parent
    target, source = session / "installed", session / "source"
    with FileLock(session / "installed.lock"):
        if not target.exists():
            # From a copy, for a build leaves files in the folder of its source.
            shutil.copytree(ROOT / "topo", source / "topo", ignore=shutil.ignore_patterns("__pycache__"))
            for name in ("pyproject.toml", "README.md", "LICENSE"):
                shutil.copy(ROOT / name, source)
            install = ["install", "--quiet", "--no-deps", "--no-build-isolation", "--target", str(target), str(source)]
            subprocess.run([sys.executable, "-m", "pip", "--disable-pip-version-check", *install], check=True)
            compiled = Fresh(COMPILE, folder=session, root=target, imported=IMPORTED)
            _, err = compiled.communicate()
            assert compiled.returncode == 0, err
    return target


def run_in_kernel(notebook: nbformat.NotebookNode, folder: Path) -> str:
    """What the last cell prints when a kernel of Jupyter runs a notebook."""
    NotebookClient(
        notebook, timeout=900, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
    ).execute()
    assert all(cell.execution_count for cell in notebook.cells if cell.cell_type == "code")
    return notebook.cells[-1].outputs[0].text


def run_in_shell(notebook: nbformat.NotebookNode, folder: Path, installed: Path) -> str:
    """The same in a shell of IPython, whose process does not import torch anew."""
    sources = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    process = Fresh(SHELL, json.dumps(sources), folder=folder, root=installed, imported=IMPORTED)
    out, err = process.communicate(timeout=900)
    assert process.returncode == 0, out + err
    return out.splitlines()[-1]


@pytest.mark.slow
# The client and the kernel leave sockets to the garbage collector, and the kernel says how it is connected.
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore::DeprecationWarning:jupyter_client.*", "ignore::DeprecationWarning:zmq.*")
@BY_NAME
def test_a_notebook_runs_from_an_installed_package_in_an_empty_folder(
    path: Path, installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    for name in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))
    monkeypatch.setenv("OMP_NUM_THREADS", os.environ.get("OMP_NUM_THREADS", "1"))
    monkeypatch.setenv("PYTHONPATH", str(installed))  # of the kernel
    monkeypatch.delenv("TOPO_PUBLISHED", raising=False)
    empty = tmp_path / "empty"
    empty.mkdir()
    notebook = nbformat.read(path, as_version=4)
    notebook.cells.append(nbformat.v4.new_code_cell("import topo\nprint(topo.__file__)"))
    printed = run_in_kernel(notebook, empty) if path == NOTEBOOKS[0] else run_in_shell(notebook, empty, installed)
    assert Path(printed.strip()) == installed / "topo" / "__init__.py"
    assert list(empty.iterdir()) == []
