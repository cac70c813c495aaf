"""Processes that compute cells, and other executors that can."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager, suppress
from multiprocessing.connection import wait

import torch

from ..errors import InputError

__all__ = ["cores", "executor_from", "process_pool", "stop", "threads_each", "usual_workers"]

THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


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


def process_pool(workers: int, threads: int) -> ProcessPoolExecutor:
    """Fresh processes of so many threads each, that leave Ctrl-C to their parent and end with it.

    Parameters
    ----------
    workers
        How many processes.
    threads
        Of each of them.

    Returns
    -------
    ProcessPoolExecutor
        With all its processes started.
    """
    context = multiprocessing.get_context("spawn")
    with _inherited(threads):
        pool = ProcessPoolExecutor(workers, context, initializer=_start_worker, initargs=(threads,))
        for _ in range(workers):  # each submission starts a process while none is idle
            pool.submit(os.getpid)
    return pool


def stop(pool: ProcessPoolExecutor) -> None:
    """End the processes of a pool at once, whatever they are doing.

    Parameters
    ----------
    pool
        What `process_pool` returns.
    """
    for process in list((pool._processes or {}).values()):
        process.terminate()
    pool.shutdown(cancel_futures=True)


def executor_from(address: str) -> Executor:
    """The executor that an address such as ``dask:tcp://10.0.0.5:8786`` names.

    Parameters
    ----------
    address
        ``dask:`` and the address of a Dask scheduler.

    Returns
    -------
    Executor
        Of the cluster.

    Raises
    ------
    InputError
        When the address is of another form, dask.distributed is not installed, or nothing answers.
    """
    kind, _, place = address.partition(":")
    if kind != "dask" or not place:
        raise InputError(f"executor {address!r} is not of the form dask:ADDRESS, such as dask:tcp://10.0.0.5:8786.")
    try:
        from distributed import Client
    except ImportError as error:
        raise InputError(
            "a Dask cluster needs the package distributed; install it with pip install 'topo-sparse[cluster]'."
        ) from error
    try:
        return Client(place).get_executor()
    except (OSError, ValueError) as error:
        raise InputError(f"no Dask scheduler answers at {place} ({error}).") from error


@contextmanager
def _inherited(threads: int) -> Iterator[None]:
    """What processes started here find: their share of the threads, and a Ctrl-C that means nothing to them.

    A terminal sends Ctrl-C to all processes alike; here the parent alone decides what becomes of its workers. Python's
    resource tracker removes what a worker ended by `stop` leaves behind, and need not warn the user of it.
    """
    wanted = dict.fromkeys(THREAD_VARIABLES, str(threads)) | {"PYTHONWARNINGS": "ignore:resource_tracker"}
    given = {name: os.environ.get(name) for name in wanted}
    in_main_thread = threading.current_thread() is threading.main_thread()
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN) if in_main_thread else None
    os.environ.update({name: value for name, value in wanted.items() if given[name] is None})
    try:
        yield
    finally:
        for name, value in given.items():
            if value is None:
                del os.environ[name]
        if in_main_thread:
            signal.signal(signal.SIGINT, handler)


def _start_worker(threads: int) -> None:
    """Set up a process, and watch its parent: an idle worker would wait forever for one that was killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(threads)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_wait_and_leave, args=(parent.sentinel,), daemon=True).start()


def _wait_and_leave(parent: int) -> None:
    with suppress(OSError):
        wait([parent])
    os._exit(1)
