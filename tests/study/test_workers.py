from __future__ import annotations

import os
import signal
import time

import pytest
import torch

from topo.study.workers import process_pool, stop


def facts(_: int) -> tuple[int, int, bool]:
    time.sleep(0.5)  # so that no process takes the work of all
    return os.getpid(), torch.get_num_threads(), signal.getsignal(signal.SIGINT) is signal.SIG_IGN


@pytest.mark.slow
def test_every_process_has_its_threads_and_leaves_ctrl_c_to_its_parent(monkeypatch: pytest.MonkeyPatch):
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    pool = process_pool(2, threads=1)
    try:
        facts_seen = list(pool.map(facts, range(6)))
    finally:
        stop(pool)
    assert len({pid for pid, _, _ in facts_seen}) == 2
    assert {(threads, ignored) for _, threads, ignored in facts_seen} == {(1, True)}
    assert "OMP_NUM_THREADS" not in os.environ
