"""Real processes: kills, Ctrl-C, and two runs on one folder."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from topo.study import Study
from topo.study.store import Store

# A job in the background, as CI may be, is started with Ctrl-C ignored, and hands that on.
HEED = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
TOPO = [sys.executable, "-c", f"{HEED}; from topo.cli import main; main()"]


@pytest.fixture
def study_file(tiny, tmp_path: Path) -> Path:
    """A study of many short cells."""
    config = tiny(pruners=["er", "erk", "uniform"], sparsities=[0.3, 0.5, 0.7], seeds=[0, 1]).config
    file = tmp_path / "tiny.yaml"
    file.write_text(yaml.safe_dump(yaml.safe_load(config.to_yaml()) | {"name": "tiny"}))
    return file


def start(file: Path, folder: Path, workers: int = 1) -> subprocess.Popen:
    command = [*TOPO, "study", "run", str(file), "--into", str(folder), "--workers", str(workers)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)


def wait_until(condition: Callable[[], bool], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.02)


def finished(folder: Path) -> dict[str, float]:
    """When each cell's record was written, by the cell's key."""
    journal = Store(folder).journal
    journal.refresh()
    return {key: journal.records(key)[0].time for key in journal}


def group_is_gone(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return True
    return False


@pytest.mark.slow
def test_of_two_runs_on_one_folder_one_is_killed_and_the_other_does_what_is_left(
    study_file: Path, tmp_path: Path, here
):
    folder = tmp_path / "shared"
    killed, other = (start(study_file, folder) for _ in range(2))
    wait_until(lambda: len(finished(folder)) >= 3 or killed.poll() is not None)
    os.kill(killed.pid, signal.SIGKILL)
    killed.communicate()
    kept = finished(folder)
    assert 3 <= len(kept) < 20
    wait_until(lambda: group_is_gone(killed.pid), 30)  # workers do not outlive their parent
    _, err = other.communicate(timeout=300)
    assert other.returncode == 0, err
    table = Study.load(folder).run(executor=here, progress=False)
    assert len(table) == 20 and (table["status"] == "finished").all()
    assert kept.items() <= finished(folder).items()
    masks = {file.name for file in (folder / "masks").iterdir()}
    assert masks == {f"{cell}.safetensors" for cell in table.loc[table["pruner"] != "dense", "cell"]}


@pytest.mark.slow
def test_ctrl_c_stops_cleanly_and_says_how_to_go_on(study_file: Path, tmp_path: Path):
    folder = tmp_path / "stopped"
    # So many cells that a busy machine cannot finish them before it is told to stop.
    config = yaml.safe_load(study_file.read_text())
    study_file.write_text(yaml.safe_dump(config | {"seeds": list(range(60))}))
    process = start(study_file, folder, workers=2)
    wait_until(lambda: len(finished(folder)) >= 2 or process.poll() is not None)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to parent and workers alike
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    last = err.strip().splitlines()[-1]
    assert last.startswith("Stopped; ") and last.endswith(f"Go on with: topo study run {folder}")
    assert "Traceback" not in err and out == ""
    wait_until(lambda: group_is_gone(process.pid), 30)
    study = Study.load(folder)
    assert 2 <= len(study.results()) < 600
    assert (study.results()["status"] == "finished").all()
