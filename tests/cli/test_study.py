from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import topo
from tests.fresh import topo_fresh
from topo.study.signals import ToldToStop


@pytest.mark.slow
def test_a_study_from_file_to_report(
    topo_command, refused, in_folder: Path, here: None, study_text: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(os, "cpu_count", lambda: 1)  # so that the report's questions start no processes
    Path("small.yaml").write_text(study_text)
    result = topo_command("study", "run", "small.yaml")
    assert result.exit_code == 0, result.output
    assert "3/3 digits digits-mlp magnitude 0.5 seed 0: accuracy 0." in result.stderr
    assert "3 cells: 3 finished" in result.stdout and "studies/small/results.parquet" in result.stdout

    status = topo_command("study", "status", "studies/small")
    assert status.exit_code == 0 and "3 cells: 3 finished" in status.stdout and "magnitude" in status.stdout
    every = topo_command("study", "status", "studies/small", "--cells")
    assert len(every.stdout.splitlines()) == 3 and "er 0.5 seed 0" in every.stdout

    again = topo_command("study", "run", "studies/small")
    assert again.exit_code == 0 and again.stderr == "3 cells: 3 have their results.\n"
    assert "leave out --output" in refused("study", "run", "studies/small", "--output", "other")

    measured = topo_command("study", "measure", "studies/small", "--metrics", "effective_nodes,active_nodes")
    assert measured.exit_code == 0, measured.output
    assert "new columns in the table studies/small/results.parquet" in measured.stdout
    assert "did you mean" in refused("study", "measure", "studies/small", "--metrics", "efective_nodes")

    result = topo_command("report", "studies/small")
    assert result.exit_code == 0 and Path("studies/small/report.html").stat().st_size > 10_000


@pytest.mark.slow
def test_failed_cells_are_told_with_their_reasons(
    topo_command, in_folder: Path, here: None, monkeypatch: pytest.MonkeyPatch, study_text: str
):
    from topo.study import computation

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("no luck")

    Path("small.yaml").write_text(study_text)
    monkeypatch.setattr(computation, "prune", fail)
    result = topo_command("study", "run", "small.yaml", "--into", "out")
    assert result.exit_code == 1
    assert "2 failed: RuntimeError: no luck (see out/tracebacks/" in result.stderr
    assert "3 cells: 1 finished, 2 failed" in result.stdout
    status = topo_command("study", "status", "out")
    assert "tracebacks/" in status.stderr

    report = topo_command("report", "out", "--no-questions")
    lost = "2 of 3 networks have no accuracy (2 failed)"
    assert report.stderr == (
        f"{lost}; the report lists the reasons under Failed and collapsed networks, and topo study status out says "
        "where errors arose.\n"
    )
    assert f"{lost}. <a href" in Path("out/report.html").read_text()


@pytest.mark.parametrize(
    ("stop", "cause", "code"),
    [(KeyboardInterrupt(), "", 130), (ToldToStop(signal.SIGHUP), " by SIGHUP", 128 + signal.SIGHUP)],
    ids=["Ctrl-C", "SIGHUP"],
)
def test_a_study_that_was_told_to_stop_says_so_by_its_exit_code(
    topo_command, in_folder: Path, monkeypatch: pytest.MonkeyPatch, study_text: str, stop, cause: str, code: int
):
    def interrupt(*_: object, **__: object) -> None:
        raise stop

    Path("small.yaml").write_text(study_text)
    monkeypatch.setattr(topo.Study, "run", interrupt)
    result = topo_command("study", "run", "small.yaml")
    assert result.exit_code == code
    assert result.stderr == (
        f"Stopped{cause}; 0 of 3 cells finished and kept. Go on with: topo study run studies/small\n"
    )


def test_clusters_that_cannot_be_had(topo_command, in_folder: Path, monkeypatch: pytest.MonkeyPatch, study_text: str):
    Path("small.yaml").write_text(study_text)
    run = ("study", "run", "small.yaml")

    def refused(*arguments: str) -> str:
        result = topo_command(*arguments)
        assert result.exit_code == 2 and result.stdout == ""
        return result.stderr.strip().splitlines()[-1]

    assert "is no address such as tcp://" in refused(*run, "--scheduler", "here")
    monkeypatch.setattr("topo.study.cluster.PATIENCE", 0.1)
    nobody = "tcp://127.0.0.1:9"
    assert f"no Dask scheduler answers at {nobody}" in refused(*run, "--scheduler", nobody)
    assert "give one of them" in refused(*run, "--scheduler", nobody, "--cluster", "local")
    assert "unknown cluster 'pbs'" in refused(*run, "--cluster", "pbs")
    assert "not of the form KEY=VALUE" in refused(*run, "--cluster", "local", "--cluster-option", "queue")
    assert "SLURMCluster" in refused(*run, "--cluster", "slurm", "--cluster-option", "colour=red")
    monkeypatch.setitem(sys.modules, "distributed", None)
    assert "pip install 'topo-sparse[cluster]'" in refused(*run, "--scheduler", nobody)


def test_limits_are_checked_where_they_are_given(refused, in_folder: Path, study_text: str):
    Path("small.yaml").write_text(study_text)
    assert "'soon' is no duration; write seconds" in refused("study", "run", "small.yaml", "--time-limit", "soon")
    Path("small.yaml").write_text(study_text + "memory_limit: 3 elephants\n")
    assert "line 8: memory_limit: '3 elephants' is no amount of memory" in refused("study", "run", "small.yaml")


def test_a_study_that_cannot_be_written(refused, in_folder: Path, study_text: str):
    Path("small.yaml").write_text(study_text)
    Path("file").write_text("")
    assert "cannot write the study in file/out (Not a directory)" in refused(
        "study", "run", "small.yaml", "--into", "file/out"
    )


@pytest.mark.slow
def test_the_installed_command(in_folder: Path, study_text: str):
    command = ["study", "run", "small.yaml"]
    Path("small.yaml").write_text(study_text.replace("[er,", "[err,"))
    done = topo_fresh(*command, folder=Path.cwd())
    assert done.returncode == 2 and done.stderr.startswith("topo: small.yaml, line 4: pruners[0]: unknown pruner 'err'")
    assert "Traceback" not in done.stderr and done.stdout == ""
    Path("small.yaml").write_text(study_text)
    done = subprocess.run([sys.executable, "-m", "topo", *command, "--workers", "1"], capture_output=True, text=True)
    assert done.returncode == 0 and "3 cells: 3 finished" in done.stdout, done.stderr
    # Code of the metrics is compiled by the first process on a machine that needs it.
    lines = [line for line in done.stderr.splitlines() if "compiled code" not in line]
    assert lines[0] == "3 cells: 3 to compute." and len(lines) == 4
