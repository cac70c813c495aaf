"""How many processes compute, and with how many threads."""

from __future__ import annotations

import os

import torch

__all__ = ["cores", "threads_each", "usual_workers"]


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def usual_workers(device: torch.device) -> int:
    """Processes unless the user says otherwise: one a core on the CPU, one on CUDA.

    Parameters
    ----------
    device
        Where the study runs.

    Returns
    -------
    int
        At least one.
    """
    return 1 if device.type == "cuda" else cores()


def threads_each(workers: int) -> int:
    """Threads of each of so many processes that share the cores, unless OMP_NUM_THREADS says otherwise.

    Parameters
    ----------
    workers
        How many processes share the cores.

    Returns
    -------
    int
        At least one, unless OMP_NUM_THREADS is 0.
    """
    given = os.environ.get("OMP_NUM_THREADS", "")
    return int(given) if given.isdecimal() else max(1, cores() // workers)
