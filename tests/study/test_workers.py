from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
import torch

from topo.study import workers as workers_module
from topo.study.workers import process_pool, stop, threads_each


@pytest.mark.parametrize(
    ("cores", "workers", "given", "threads"),
    [(8, 2, None, 4), (8, 3, None, 2), (2, 8, None, 1), (8, 2, "3", 3), (8, 2, "many", 4)],
)
def test_processes_share_the_cores(
    cores: int, workers: int, given: str | None, threads: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(workers_module, "cores", lambda: cores)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if given is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", given)
    assert threads_each(workers) == threads


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="looks into /proc")
def test_every_process_starts_with_its_threads_and_deaf_to_ctrl_c(monkeypatch: pytest.MonkeyPatch):
    for name in workers_module.THREAD_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    handler = signal.getsignal(signal.SIGINT)
    pool = process_pool(2, 3)
    try:
        assert signal.getsignal(signal.SIGINT) is handler
        assert not {*workers_module.THREAD_VARIABLES} & set(os.environ)
        assert pool.submit(torch.get_num_threads).result() == 3
        assert pool.submit(signal.getsignal, signal.SIGINT).result() == signal.SIG_IGN
        assert len(pool._processes) == 2
        for process in pool._processes.values():
            found = Path(f"/proc/{process.pid}/environ").read_bytes().split(b"\0")
            assert {f"{name}=3".encode() for name in workers_module.THREAD_VARIABLES} <= set(found)
            status = Path(f"/proc/{process.pid}/status").read_text()
            ignored = int(next(line for line in status.splitlines() if line.startswith("SigIgn")).split()[1], 16)
            assert ignored >> (signal.SIGINT - 1) & 1
    finally:
        processes = list(pool._processes.values())
        stop(pool)
    assert not any(process.is_alive() for process in processes)
