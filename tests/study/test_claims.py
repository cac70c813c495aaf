"""Which of several runs computes a cell, and what they say of themselves."""

from __future__ import annotations

import json
import os
import signal
import time
from dataclasses import asdict
from pathlib import Path

import pytest

from topo.study.claims import ActiveRun, Claims, RunningCell, active_runs
from topo.study.signals import ToldToStop, stopping_at_signals
from topo.study.store import StudyError

CELL = RunningCell("abc", "digits digits-mlp er 0.5 seed 0", "process 7", 3.5)


def foreign(folder: Path, beat: int, host: str = "another") -> str:
    """A claim of a run on another machine, or of one that has ended on this."""
    name = f"{host}.1.abc.run"
    run = ActiveRun(host, 2**22 + 1, 1, 5, 0, 60.0, [CELL], started=0.0, beat=beat)
    (folder / "running" / name).write_text(json.dumps(asdict(run)))
    (folder / "running" / "abc.cell").write_text(name)
    return name


def test_a_cell_is_claimed_by_one_run(tmp_path: Path):
    first, second = Claims(tmp_path), Claims(tmp_path)
    assert first.claim("abc") and first.claim("abc") and not second.claim("abc") and second.claim("def")
    first.release("abc")
    assert second.claim("abc") and not first.claim("abc")
    second.close()
    assert first.claim("abc") and first.claim("def")
    first.close()
    assert list(tmp_path.iterdir()) == []


def test_a_claim_holds_as_long_as_its_run_shows_signs_of_life(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    claims = Claims(tmp_path)
    foreign(tmp_path, beat=1)
    now = time.monotonic()
    for later, beat, free in ((0, 1, False), (59, 1, False), (61, 2, False), (120, 2, False), (122, 2, True)):
        foreign(tmp_path, beat)
        monkeypatch.setattr(time, "monotonic", lambda later=later: now + later)
        assert claims.claim("abc") is free, later
    claims.close()


def test_claims_of_processes_that_have_ended_do_not_hold(tmp_path: Path):
    (tmp_path / "running").mkdir()
    foreign(tmp_path, 1, host=os.uname().nodename)
    (tmp_path / "running" / f"{os.uname().nodename}.{2**22 + 1}.abc.tmp").touch()
    assert active_runs(tmp_path) == []
    claims = Claims(tmp_path)
    assert claims.claim("abc")
    claims.close()
    assert list(tmp_path.iterdir()) == []


def test_runs_say_what_they_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    claims = Claims(tmp_path)
    monkeypatch.setattr("topo.study.claims.BEAT", 0)
    claims.beat([CELL], 3, 10, 1, 42.0)
    (tmp_path / "running" / "broken.run").write_text("{")
    (run,) = active_runs(tmp_path)
    assert (run.process, run.done, run.total, run.failed, run.seconds_left) == (os.getpid(), 3, 10, 1, 42.0)
    assert run.cells == [CELL] and run.silent < 60


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path: Path):
    (tmp_path / "running").write_text("")
    with pytest.raises(StudyError, match="cannot write the study in"):
        Claims(tmp_path)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_signals_of_batch_systems_stop_a_run(number: int):
    with pytest.raises(ToldToStop) as told, stopping_at_signals():
        os.kill(os.getpid(), number)
        time.sleep(10)
    assert told.value.code == 128 + number and told.value.name == signal.Signals(number).name
    assert signal.getsignal(number) is signal.SIG_DFL


def test_signals_that_are_ignored_stay_so():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stopping_at_signals():
            os.kill(os.getpid(), signal.SIGHUP)
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_status_tells_which_cells_run_where(tmp_path: Path, tiny, capsys, monkeypatch: pytest.MonkeyPatch):
    from topo.cli.study import _say_runs

    study = tiny()
    claims = Claims(study.folder)
    monkeypatch.setattr("topo.study.claims.BEAT", 0)
    claims.beat([CELL, RunningCell("def", "another", "", 0.0)], 3, 10, 1, 4200.0)
    _say_runs(study)
    first, second, third = capsys.readouterr().out.splitlines()
    assert first.endswith(f"process {os.getpid()}: 3 of 10 cells, about 70 min left.")
    assert second == "  abc  digits digits-mlp er 0.5 seed 0: for 3.5 s in process 7"
    assert third == "  def  another: waits for a worker"
    claims.close()
