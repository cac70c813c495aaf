"""The command line, called in this process."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from topo.cli import app

STUDY = """
datasets: [{name: digits, subset: 3}]
models: [{name: digits-mlp, widths: [8]}]
pruners: [er, magnitude]
sparsities: [0.5]
recipe: {name: digits, epochs: 1}
metrics: [local]
"""


@pytest.fixture
def topo_command() -> Callable[..., Result]:
    """Calls a command."""

    def call(*arguments: object) -> Result:
        return CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False, terminal_width=200)

    return call


@pytest.fixture
def refused(topo_command: Callable[..., Result]) -> Callable[..., str]:
    """The one sentence with which a command refuses bad input."""

    def call(*arguments: object) -> str:
        result = topo_command(*arguments)
        assert result.exit_code == 2, result.output
        assert result.stdout == ""
        lines = result.stderr.strip().splitlines()
        assert len(lines) == 1 and lines[0].startswith("topo: ")
        return lines[0].removeprefix("topo: ")

    return call


@pytest.fixture
def study_text() -> str:
    """A study file of three short cells."""
    return STUDY


@pytest.fixture
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cells are computed in a thread of this process, where monkeypatching reaches."""
    from topo.study import places, run

    monkeypatch.setattr(run, "Processes", lambda *_, **__: places.Elsewhere(ThreadPoolExecutor(1)))
