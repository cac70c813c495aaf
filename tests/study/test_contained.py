"""Cells that raise, exit, crash, hang and eat memory: each is a failure with its reason, and costs no other cell."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from topo import own_code
from topo.study import Study, StudyConfig
from topo.study.slot import how_it_ended

from .conftest import TINY, comparable

BAD = '''
import os
import signal
import subprocess
import sys
import time

from topo.pruning import PRUNERS


def register(name):
    return PRUNERS.register(name, family="own", stage="initial", paper="none", needs_data=False)


@register("raises")
def raises(task):
    """Raises."""
    print("about to raise")
    raise KeyboardInterrupt("not by a user")


@register("exits")
def exits(task):
    """Asks Python to exit."""
    sys.exit(3)


@register("crashes")
def crashes(task):
    """Crashes the process, and leaves another that holds its pipes."""
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], close_fds=False)
    os.kill(os.getpid(), signal.SIGSEGV)


@register("hangs")
def hangs(task):
    """Never returns."""
    while True:
        time.sleep(0.01)


@register("eats")
def eats(task):
    """Takes ever more memory."""
    eaten = []
    while True:
        eaten.append(bytearray(b"x") * (1 << 26))
        time.sleep(0.02)
'''

REASONS = {
    "raises": "KeyboardInterrupt: not by a user",
    "exits": "SystemExit: 3",
    "crashes": "its process was killed by signal 11 (SIGSEGV)",
    "eats": "it was stopped when it used ",
}


@pytest.fixture
def bad_code(tmp_path: Path) -> Iterator[Path]:
    file = tmp_path / "bad_pruners.py"
    file.write_text(BAD)
    yield file
    from topo.pruning import PRUNERS

    sys.modules.pop("bad_pruners", None)
    own_code._imported.pop("bad_pruners", None)
    for name in (*REASONS, "hangs"):
        PRUNERS._entries.pop(name, None)


@pytest.mark.slow
def test_what_a_cell_does_to_its_process_is_its_own_failure(bad_code: Path, tmp_path: Path, here):
    changes = {"imports": [str(bad_code)], "encodings": [], "sparsities": [0.5], "metrics": None}
    limit = {"memory_limit": "1.5 GiB"}
    config = StudyConfig.parse(TINY | changes | limit | {"pruners": [*REASONS, "er", "magnitude"]})
    study = Study(config, tmp_path / "study")
    table = study.run(workers=1, progress=False).set_index("pruner", drop=False)
    for name, reason in REASONS.items():
        assert table.loc[name, "status"] == "failed" and table.loc[name, "reason"].startswith(reason), name
    assert table.loc["eats", "reason"].endswith(
        "more than its memory limit of 1.5 GiB; raise memory_limit if it needs more"
    )

    def details(name: str) -> str:
        return study.store.traceback_file(table.loc[name, "cell"]).read_text()

    # Where it crashed, hung or ate is told by the line.
    for name in ("raises", "crashes", "eats"):
        assert f"in {name}" in details(name), name
    assert (study.folder / "logs" / f"{table.loc['raises', 'cell']}.txt").read_text() == "about to raise\n"
    assert not (study.folder / "running").exists()

    good = ["dense", "er", "magnitude"]
    undisturbed = Study(StudyConfig.parse(TINY | changes | {"pruners": ["er", "magnitude"]}), tmp_path / "good")
    expected = undisturbed.run(executor=here, progress=False)
    pd.testing.assert_frame_equal(
        comparable(table.loc[good].reset_index(drop=True)), comparable(expected), check_dtype=False
    )


def test_how_a_process_ended_is_told_by_its_code():
    assert how_it_ended(5) == "its process ended with exit code 5 before the cell was finished"
    assert how_it_ended(-9) == "its process was killed by signal 9 (SIGKILL), perhaps for want of memory"
    assert how_it_ended(-11) == "its process was killed by signal 11 (SIGSEGV)"


@pytest.mark.slow
def test_a_pruner_that_never_returns_is_stopped(bad_code: Path, tmp_path: Path):
    changes = {"imports": [str(bad_code)], "encodings": [], "metrics": None, "pruners": ["hangs"], "sparsities": [0.5]}
    study = Study(StudyConfig.parse(TINY | changes | {"time_limit": "8 s"}), tmp_path / "study")
    row = study.run(workers=1, progress=False).set_index("pruner").loc["hangs"]
    assert row["status"] == "failed"
    assert row["reason"] == "it was stopped at its time limit of 8.0 s; raise time_limit if it needs longer"
    assert "most recent call first" in study.store.traceback_file(row["cell"]).read_text()
    assert study.status()["status"].tolist().count("missing") == 0
