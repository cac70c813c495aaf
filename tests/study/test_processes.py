"""Real processes: kills, Ctrl-C, and two runs on one folder."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd
import psutil
import pytest
import yaml

from tests.fresh import TOPO, Fresh, script_fresh
from topo.study import Study, StudyConfig
from topo.study.claims import active_runs
from topo.study.store import Store

from .conftest import TINY, comparable

# A job in the background, as CI may be, is started with Ctrl-C and hangups ignored, and hands that on.
HEED = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)
"""


@pytest.fixture(scope="module")
def study_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of many short cells."""
    changes = {"pruners": ["er", "erk", "uniform"], "sparsities": [0.3, 0.5, 0.7], "seeds": [0, 1]}
    config = StudyConfig.parse(TINY | changes)
    file = tmp_path_factory.mktemp("study") / "tiny.yaml"
    file.write_text(yaml.safe_dump(yaml.safe_load(config.to_yaml()) | {"name": "tiny"}))
    return file


def command(file: Path, folder: Path) -> list[str]:
    return ["study", "run", str(file), "--into", str(folder), "--workers", "1"]


def start(file: Path, folder: Path) -> Fresh:
    return Fresh(HEED + TOPO, *command(file, folder), folder=folder.parent)


def wait_until(condition: Callable[[], bool], seconds: float = 300) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.02)


def finished(folder: Path) -> dict[str, float]:
    """When each cell's record was written, by the cell's key."""
    journal = Store(folder).journal
    journal.refresh()
    return {key: journal.records(key)[0].time for key in journal}


def family(process: Fresh) -> list[psutil.Process]:
    """The processes that a run has started."""
    return psutil.Process(process.pid).children(recursive=True)


def all_gone(processes: list[psutil.Process]) -> bool:
    return not any(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in processes)


def how_often(folder: Path) -> set[int]:
    """How many results cells have."""
    journal = Store(folder).journal
    journal.refresh()
    return {len(journal.records(key)) for key in journal}


CLOCK = "import time; real = time.time; time.time = lambda: real() - 30_000_000"
"""A clock that is a year slow, in every process that starts with it on its path."""


@pytest.fixture(scope="module")
def undisturbed(study_file: Path, tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """The table of the study of short cells, computed at one go in this process."""
    study = Study.read(study_file, tmp_path_factory.mktemp("undisturbed"))
    with ThreadPoolExecutor(1) as executor:
        return comparable(study.run(executor=executor, progress=False))


@pytest.mark.slow
def test_of_two_runs_on_one_folder_one_is_killed_and_the_other_does_what_is_left(
    study_file: Path, tmp_path: Path, undisturbed: pd.DataFrame
):
    folder = tmp_path / "shared"
    (tmp_path / "sitecustomize.py").write_text(CLOCK)
    killed = start(study_file, folder)
    # Its hashes are others too.
    variables = {"PYTHONHASHSEED": "3", "PYTHONPATH": f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    topo = [sys.executable, "-m", "topo", *command(study_file, folder)]
    other = subprocess.Popen(topo, **pipes, text=True, env=os.environ | variables)
    wait_until(lambda: len(finished(folder)) >= 3 or killed.poll() is not None)
    workers = family(killed)
    killed.kill()
    killed.communicate()
    kept = finished(folder)
    # On a machine so busy that it had finished by then, nobody was killed.
    assert len(kept) >= 3 and (workers or killed.returncode == 0)
    wait_until(lambda: all_gone(workers), 30)  # workers do not outlive their parent
    _, err = other.communicate(timeout=300)
    assert other.returncode == 0, err
    assert kept.items() <= finished(folder).items() and how_often(folder) == {1}
    pd.testing.assert_frame_equal(comparable(Study.load(folder).results()), undisturbed)
    assert not (folder / "running").exists()


@pytest.mark.slow
def test_a_run_that_is_told_to_stop_stops_within_seconds_and_goes_on_where_it_was(
    study_file: Path, tmp_path: Path, undisturbed: pd.DataFrame, here
):
    folder = tmp_path / "stopped"
    for count, (number, cause) in enumerate(
        [(signal.SIGTERM, " by SIGTERM"), (signal.SIGHUP, " by SIGHUP"), (signal.SIGINT, "")], 1
    ):
        process = start(study_file, folder)
        wait_until(lambda: len(finished(folder)) >= 2 * count or process.poll() is not None)  # noqa: B023
        (run,) = active_runs(folder)
        assert run.process == process.pid and run.total == 20
        workers = family(process)
        for told in (process, *workers):  # as a batch system does, and a terminal: parent and workers alike
            told.send_signal(number)
        out, err = process.communicate(timeout=60)
        assert process.returncode == (130 if number == signal.SIGINT else 128 + number), err
        last = err.strip().splitlines()[-1]
        assert last.startswith(f"Stopped{cause}; ") and last.endswith(f"Go on with: topo study run {folder}")
        assert "Traceback" not in err and "failed" not in err and out == "" and workers
        wait_until(lambda: all_gone(workers), 30)  # noqa: B023
        assert not active_runs(folder)
        assert (pd.read_parquet(folder / "results.parquet")["status"] == "finished").all()
    kept = finished(folder)
    assert 6 <= len(kept) < 20
    table = Study.load(folder).run(executor=here, progress=False)
    assert kept.items() <= finished(folder).items() and how_often(folder) == {1}
    pd.testing.assert_frame_equal(comparable(table), undisturbed)


SCRIPT = """
from topo.pruning import PRUNERS
from topo.pruning.weight_scoring import by_score
from topo.study import Study, StudyConfig


@PRUNERS.register("mine", family="own", stage="initial", paper="none", needs_data=False)
@by_score(allocation="global")
def mine(task):
    "The smallest weights."
    return {name: -weight.detach().abs() for name, weight in task.weights.items()}


if __name__ == "__main__":
    print(Study(StudyConfig.parse(CONFIG), "study").run(workers=1)["status"].tolist())
"""


@pytest.mark.slow
def test_a_script_that_registers_a_pruner_runs_a_study_of_it(tmp_path: Path):
    config = TINY | {"pruners": ["mine"], "sparsities": [0.5], "encodings": [], "metrics": None}
    file = tmp_path / "script.py"
    file.write_text(SCRIPT.replace("CONFIG", repr(config)))
    done = script_fresh(file, folder=tmp_path)
    assert done.stdout == "['finished', 'finished']\n", done.stderr
