"""Cells on other machines: a Dask cluster, whose workers each drive processes of their own."""

from __future__ import annotations

import inspect
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from typing import Any

from ..errors import InputError
from .places import SlotRack
from .slot import Slot
from .store import StudyError
from .task import Answer, Task, compute_task, failed_answer
from .workers import cores, threads_each

__all__ = ["DaskCluster", "at_scheduler", "started_cluster"]

logger = logging.getLogger("topo.study")

LOOK = 2.0  # seconds between two questions to the scheduler
REMIND = 60.0  # seconds between two reminders that there is no worker
PATIENCE = 10.0  # seconds to wait for an answer of a scheduler
IDLE = 30.0  # seconds after which a worker ends a process that has nothing to do
GPU = "GPU"
INSTALL = "pip install 'topo-sparse[cluster]'"


def at_scheduler(address: str) -> DaskCluster:
    """The Dask cluster whose scheduler has that address.

    Parameters
    ----------
    address
        Such as ``tcp://10.0.0.5:8786``.

    Returns
    -------
    DaskCluster
        Of the workers that have joined it, and of those that will.

    Raises
    ------
    InputError
        When the address is of another form, dask.distributed is not installed, or nothing answers.
    """
    if "://" not in address:
        raise InputError(f"scheduler {address!r} is no address such as tcp://10.0.0.5:8786.")
    return DaskCluster(_connected(address), address)


def started_cluster(kind: str, workers: int | None, options: Mapping[str, Any]) -> DaskCluster:
    """A Dask cluster of our own, that ends with the run.

    Parameters
    ----------
    kind
        ``"local"``, processes of this machine; or ``"slurm"``, jobs of Slurm.
    workers
        How many workers, or jobs, of one thread each unless `options` say otherwise; one a core, or one job, when None.
    options
        Keywords of ``distributed.LocalCluster``, or of ``dask_jobqueue.SLURMCluster``, which also reads them from
        Dask's configuration files.

    Returns
    -------
    DaskCluster
        Its workers join as they start.

    Raises
    ------
    InputError
        When the packages are not installed or the options are wrong.
    """
    cluster = _made(kind, workers, options)
    return DaskCluster(_connected(cluster), f"the {kind} cluster", cluster)


def slurm_cluster(options: Mapping[str, Any]) -> Any:
    """A cluster of Slurm jobs, none of which is submitted yet.

    Parameters
    ----------
    options
        Keywords of ``dask_jobqueue.SLURMCluster``.

    Returns
    -------
    SLURMCluster
        ``job_script()`` says what would be submitted.

    Raises
    ------
    InputError
        When dask-jobqueue is not installed or the options are wrong.
    """
    try:
        from dask_jobqueue import SLURMCluster
        from dask_jobqueue.core import JobQueueCluster
    except ImportError as error:
        raise InputError(
            f"a cluster of Slurm jobs needs the package dask-jobqueue; install it with {INSTALL}."
        ) from error
    usual = {"cores": 1, "memory": "4 GiB", "scheduler_options": {"dashboard_address": ":0"}}
    options = {**_unless_configured(usual), **options}
    of_cluster = inspect.signature(JobQueueCluster.__init__).parameters
    of_jobs = {name: value for name, value in options.items() if name not in of_cluster}
    try:
        SLURMCluster.job_cls("tcp://scheduler:8786", name="check", **of_jobs)  # a cluster that fails leaves threads
        return SLURMCluster(**options)
    except (ValueError, TypeError, OSError, RuntimeError) as error:
        what = str(error).splitlines()[0].rstrip(".")
        raise InputError(f"Slurm jobs cannot be described: {what}; see the options of SLURMCluster.") from error


def _unless_configured(usual: Mapping[str, Any]) -> dict[str, Any]:
    """What neither the options nor Dask's configuration files say."""
    import dask

    return {
        name: value
        for name, value in usual.items()
        if not dask.config.get(f"jobqueue.slurm.{name.replace('_', '-')}", None)
    }


def _made(kind: str, workers: int | None, options: Mapping[str, Any]) -> Any:
    if kind == "slurm":
        cluster = slurm_cluster(options)
        cluster.scale(jobs=workers or 1)
        return cluster
    if kind != "local":
        raise InputError(f"unknown cluster {kind!r}; Known: local, slurm.")
    distributed = _distributed()
    usual = {"n_workers": workers or cores(), "threads_per_worker": 1, "dashboard_address": None, "silence_logs": 50}
    try:
        return distributed.LocalCluster(**{**usual, **options})
    except (ValueError, TypeError, OSError, RuntimeError) as error:
        raise InputError(f"the local cluster cannot be started: {str(error).splitlines()[0]}") from error


def _distributed() -> Any:
    try:
        import distributed
    except ImportError as error:
        raise InputError(f"a Dask cluster needs the package distributed; install it with {INSTALL}.") from error
    return distributed


def _connected(where: Any) -> Any:
    distributed = _distributed()
    # What it says of lost connections, in many lines, is said in one sentence here.
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    try:
        return distributed.Client(where, timeout=PATIENCE, set_as_default=False)
    except (OSError, ValueError, TimeoutError) as error:
        raise InputError(f"no Dask scheduler answers at {where} ({error}).") from error


class DaskCluster:
    """Workers of a Dask cluster; each cell is computed in a process that its worker started for it.

    Parameters
    ----------
    client
        Connected to the scheduler.
    name
        What messages call the scheduler.
    cluster
        What was started with the client and ends with it; None for a cluster of somebody else's.
    """

    def __init__(self, client: Any, name: str, cluster: Any = None) -> None:
        self._client, self._name, self._cluster = client, name, cluster
        self._executor = client.get_executor(pure=False)
        self._keys: dict[str, str] = {}  # of Dask's tasks, to those of cells
        self._count = 0
        self._workers: dict[str, Any] = {}
        self._looked = self._reminded = -REMIND
        self._hindered = ""
        self._closed = False
        self._look()

    def capacity(self) -> int:
        """As many cells as can be computed at once, and half as many to come, so that no worker waits for the next."""
        return max(1, (3 * sum(self._places(worker) for worker in self._workers.values()) + 1) // 2)

    def _places(self, worker: Mapping[str, Any]) -> int:
        gpus = worker.get("resources", {}).get(GPU)
        return min(int(gpus), worker["nthreads"]) if gpus else worker["nthreads"]

    def submit(self, task: Task) -> Future[Answer]:
        """Compute a cell on a worker; on one that has a GPU to spare, where workers say that they have GPUs."""
        self._count += 1
        key = f"topo-{self._count}-{task.cell.key}"
        self._keys[key] = task.cell.key
        gpus = task.device != "cpu" and any(worker.get("resources", {}).get(GPU) for worker in self._workers.values())
        options = {"resources": {GPU: 1}} if gpus else {}
        computed = self._executor.submit(compute_on_worker, task, key=key, **options)
        return _with_deaths_recorded(computed, task, lambda: self._keys.pop(key, None))

    def where(self) -> dict[str, str]:
        """The worker of each cell that is being computed."""
        with suppress(Exception):
            found = self._client.processing()
            return {self._keys[k]: f"worker {w}" for w, keys in found.items() for k in keys if k in self._keys}
        return {}

    def look_after(self) -> None:
        """Say that there is no worker, and raise that there is no scheduler any more."""
        if time.monotonic() - self._looked >= LOOK:
            self._look()

    def _look(self) -> None:
        self._looked = time.monotonic()
        try:
            if self._client.status != "running":
                raise OSError("the connection is lost")
            self._workers = dict(self._client.scheduler_info(n_workers=-1)["workers"])
        except Exception as error:
            raise StudyError(
                f"the Dask scheduler at {self._name} is gone ({str(error) or type(error).__name__}); finished cells "
                "are kept, so start a scheduler and workers and run the same command again."
            ) from error
        if self._workers:
            self._reminded = -REMIND
        elif time.monotonic() - self._reminded >= REMIND:
            self._reminded = time.monotonic()
            how = "" if self._cluster is not None else f"; start some with: dask worker {self._name}"
            logger.warning("No worker is connected to %s%s. Waiting for one.", self._name, how)

    def close(self, *, now: bool) -> None:
        """Leave the cluster, and end one that was started for the run; cells in flight are given up."""
        for part in (self._client, self._cluster):
            if part is not None:
                with suppress(Exception):
                    part.close(timeout=3)


def _with_deaths_recorded(computed: Future[Answer], task: Task, done: Callable[[], Any]) -> Future[Answer]:
    """A future whose answer, where the cell's workers died again and again, is that the cell failed."""
    from distributed import KilledWorker

    answer: Future[Answer] = Future()

    def hand_on(ended: Future[Answer]) -> None:
        done()
        if answer.cancelled():
            return
        if ended.cancelled():
            answer.cancel()
            answer.set_running_or_notify_cancel()
        elif isinstance(error := ended.exception(), KilledWorker):
            answer.set_result(failed_answer("each Dask worker that computed it died, one after the other"))
        elif error is not None:
            answer.set_exception(error)
        else:
            answer.set_result(ended.result())

    computed.add_done_callback(hand_on)
    answer.add_done_callback(lambda ended: computed.cancel() if ended.cancelled() else None)
    return answer


_rack: SlotRack | None = None
_rack_lock = threading.Lock()


def compute_on_worker(task: Task) -> Answer:
    """Compute a cell in a process of the Dask worker that this runs on.

    Parameters
    ----------
    task
        The cell.

    Returns
    -------
    Answer
        What became of it.
    """
    from distributed import get_worker

    worker = get_worker()
    key = worker.get_current_task()

    def stopped() -> bool:
        state = worker.state.tasks.get(key)
        return state is None or state.state != "executing"

    with _slot_of(worker) as slot:
        return compute_task(task, slot, stopped, worker.local_directory)


@contextmanager
def _slot_of(worker: Any) -> Iterator[Slot]:
    global _rack
    with _rack_lock:
        if _rack is None:
            threads = threads_each(worker.state.nthreads)
            _rack = SlotRack(lambda: Slot(threads))
    slot = _rack.take()
    try:
        yield slot
    finally:
        _rack.put_back(slot)
        timer = threading.Timer(IDLE, _rack.close_unused, (IDLE,))
        timer.daemon = True
        timer.start()
