"""A study on a real Dask cluster, whose worker and scheduler are killed; clusters as they are described."""

from __future__ import annotations

import os
import re
import shlex
import signal
import socket
import subprocess
import sys
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
import yaml

from tests.fresh import TOPO, Fresh
from topo.errors import InputError
from topo.study import Study, StudyConfig
from topo.study.claims import active_runs
from topo.study.limits import Limits
from topo.study.task import Task

from .conftest import TINY, comparable
from .test_processes import finished, how_often, wait_until

distributed = pytest.importorskip("distributed")

GATED = """
import time
from pathlib import Path

from topo.pruning import PRUNERS
from topo.pruning.weight_scoring import by_score


@PRUNERS.register("gated", family="own", stage="trained", paper="none", needs_data=False)
@by_score(allocation="global")
def gated(task, *, folder=""):
    \"\"\"Magnitude, once there is a file.\"\"\"
    if folder:
        (Path(folder) / "entered").touch()
        while not (Path(folder) / "open").exists():
            time.sleep(0.05)
    return {name: weight.detach().abs() for name, weight in task.weights.items()}
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Terminals:
    """Processes in sessions of their own, ended with the test."""

    def __init__(self) -> None:
        self.running: list[subprocess.Popen | Fresh] = []

    def topo(self, line: str, folder: Path) -> Fresh:
        process = Fresh(TOPO, *shlex.split(line)[1:], folder=folder)
        self.running.append(process)
        return process

    def run(self, script: str, folder: Path, **variables: str) -> subprocess.Popen:
        folder.mkdir(exist_ok=True)
        with open(folder / "stderr.txt", "w") as errors:
            process = subprocess.Popen(
                ["bash", "-c", f'dask() {{ "{sys.executable}" -m dask "$@"; }}\n{script}'],
                cwd=folder,
                env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])} | variables,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                start_new_session=True,
            )
        self.running.append(process)
        return process

    def kill(self, process: subprocess.Popen | Fresh) -> None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        self.running.remove(process)

    def end(self) -> None:
        for process in list(self.running):
            self.kill(process)


@pytest.fixture
def terminals():
    opened = Terminals()
    yield opened
    opened.end()


@pytest.mark.slow
def test_a_study_outlives_its_worker_and_its_scheduler(
    terminals: Terminals, tmp_path: Path, repository: Path, here, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "gated_pruner.py").write_text(GATED)
    changes = {"imports": ["../gated_pruner.py"], "encodings": [], "metrics": None, "sparsities": [0.5, 0.8]}
    gate = {"name": "gated", "folder": str(tmp_path)}
    driver = tmp_path / "driver"
    driver.mkdir()
    (driver / "study.yaml").write_text(yaml.safe_dump(TINY | changes | {"pruners": ["er", gate], "name": "study"}))
    folder = driver / "studies" / "study"

    port = free_port()
    scheduler = terminals.run(
        f"dask scheduler --host 127.0.0.1 --port {port} --no-dashboard",
        tmp_path / "scheduler",
    )
    worker = terminals.run(
        f"dask worker tcp://127.0.0.1:{port} --nthreads 1 --no-nanny --no-dashboard", tmp_path / "worker",
        PYTHONHASHSEED="3",  # hashes are others than where the study runs
    )  # fmt: skip
    # In the worker this name of the study's folder leads to another place, as on a machine without a disk in common.
    run = terminals.topo(
        f"topo study run study.yaml --scheduler tcp://127.0.0.1:{port} --into /proc/self/cwd/studies/study", driver
    )
    wait_until(lambda: (tmp_path / "entered").exists() or run.poll() is not None)
    assert run.poll() is None, run.errors
    wait_until(lambda: any(cell.where for active in active_runs(folder) for cell in active.cells), 30)
    (active,) = active_runs(folder)
    (where,) = {cell.where for cell in active.cells} - {""}
    assert where.startswith("worker tcp://127.0.0.1:") and active.total == 5 and active.failed == 0
    kept = finished(folder)
    assert 1 <= len(kept) <= 3 and not (tmp_path / "worker" / "studies").exists()
    terminals.kill(worker)
    wait_until(lambda: f"No worker is connected to tcp://127.0.0.1:{port}; start some with" in run.errors, 60)
    terminals.kill(scheduler)
    _, said = run.communicate(60)
    assert run.returncode == 2
    last = said.splitlines()[-1]
    assert last.startswith(f"topo: the Dask scheduler at tcp://127.0.0.1:{port} is gone") and "Traceback" not in last
    assert "Traceback" not in said and last.endswith("run the same command again.")
    assert finished(folder) == kept and not active_runs(folder)

    # The two terminals of the documentation, the second where the study is.
    (tmp_path / "open").touch()
    first, second, *_ = re.findall(r"```bash\n(.*?)```", (repository / "docs" / "clusters.md").read_text(), re.DOTALL)
    again = str(free_port())
    terminals.run(first.replace("8786", again), tmp_path / "second worker")
    for line in second.replace("8786", again).splitlines():
        command = terminals.topo(line, driver)
        out, said = command.communicate(timeout=240)
        assert command.returncode == 0, said
        assert "5 cells: 5 finished." in out
    assert kept.items() <= finished(folder).items() and how_often(folder) == {1}
    monkeypatch.chdir(driver)
    expected = Study.read("study.yaml", tmp_path / "undisturbed").run(executor=here, progress=False)
    pd.testing.assert_frame_equal(comparable(Study.load(folder).results()), comparable(expected))


def test_slurm_jobs_are_described_by_the_options():
    pytest.importorskip("dask_jobqueue")
    from topo.study.cluster import slurm_cluster

    options = {"cores": 4, "memory": "16GB", "walltime": "04:00:00", "queue": "short"}
    cluster = slurm_cluster({**options, "scheduler_options": {"host": "127.0.0.1", "dashboard_address": ":0"}})
    try:
        script = cluster.job_script()
    finally:
        cluster.close()
    assert "#SBATCH -p short" in script and "#SBATCH --cpus-per-task=4" in script and "#SBATCH -t 04:00:00" in script
    assert "dask_worker tcp://" in script
    with pytest.raises(InputError, match=r"Slurm jobs cannot be described: .*'colour'"):
        slurm_cluster({"colour": "red"})


class Client:
    """Stands for a client of a scheduler: its workers, and what was submitted with which options."""

    status = "running"

    def __init__(self, **workers: dict) -> None:
        self.workers, self.submitted = workers, []

    def get_executor(self, **_: object) -> SimpleNamespace:
        return SimpleNamespace(submit=self.submit)

    def scheduler_info(self, n_workers: int) -> dict:
        return {"workers": self.workers}

    def submit(self, function, task, **options) -> Future:
        self.submitted.append(options.get("resources"))
        return Future()


def test_cells_share_gpus_as_workers_say():
    from topo.study.cluster import DaskCluster

    cell = Study(StudyConfig.parse(TINY), Path("nowhere")).cells[0]

    def task(device: str) -> Task:
        return Task(cell, "nowhere", "token", device, Limits())

    gpu = {"nthreads": 8, "resources": {"GPU": 3}}
    client = Client(a=gpu, b=gpu)
    cluster = DaskCluster(client, "here")
    assert cluster.capacity() == 9  # six at once, and half as many to come
    for device in ("auto", "cuda", "cpu"):
        cluster.submit(task(device))
    assert client.submitted == [{"GPU": 1}, {"GPU": 1}, None]
    plain = Client(a={"nthreads": 2, "resources": {}})
    DaskCluster(plain, "here").submit(task("cuda"))
    assert plain.submitted == [None]


def test_a_cell_whose_workers_die_one_after_the_other_has_failed():
    from topo.study.cluster import _with_deaths_recorded
    from topo.study.parcel import unpacked

    computed: Future = Future()
    cell = Study(StudyConfig.parse(TINY), Path("nowhere")).cells[0]
    answer = _with_deaths_recorded(computed, Task(cell, "nowhere", "token", "cpu", Limits()), lambda: None)
    computed.set_exception(distributed.KilledWorker("task", "worker", 3))
    result = unpacked(answer.result().result)
    assert result.row["status"] == "failed" and "each Dask worker that computed it died" in result.row["reason"]
