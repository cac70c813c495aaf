"""Where cells are computed: in processes of this machine, or by an executor of the caller's."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Any, Protocol

from ..errors import InputError
from .attempt import check_cell, run_cell
from .child import is_preparing
from .limits import Limits
from .slot import Slot, Stopped
from .task import Answer, Task, compute_task

__all__ = ["Elsewhere", "Place", "Processes", "SlotRack"]

MOST_AHEAD = 1000


class Place(Protocol):
    """What a run needs to know of where its cells are computed."""

    def capacity(self) -> int:
        """How many cells it may be given at once."""

    def submit(self, task: Task) -> Future[Answer]:
        """Compute a cell there."""

    def where(self) -> Mapping[str, str]:
        """Which process or worker computes a cell now, by the cell's key."""

    def look_after(self) -> None:
        """Called every second: say, or raise, what people need to know."""

    def close(self, *, now: bool) -> None:
        """Let everything go; at once, whatever is being computed, where `now` says so."""


class SlotRack:
    """Slots that are taken for a cell and put back, started when needed and kept.

    Parameters
    ----------
    make
        Makes a slot.
    """

    def __init__(self, make: Callable[[], Slot]) -> None:
        self._make = make
        self._idle: list[Slot] = []
        self._since: dict[Slot, float] = {}
        self._lock = threading.Lock()

    def take(self) -> Slot:
        """A slot for one cell: the one put back last, whose process has most in memory."""
        with self._lock:
            return self._idle.pop() if self._idle else self._make()

    def put_back(self, slot: Slot) -> None:
        """Hand a slot back.

        Parameters
        ----------
        slot
            One that was taken.
        """
        with self._lock:
            self._idle.append(slot)
            self._since[slot] = time.monotonic()

    def close_unused(self, seconds: float) -> None:
        """End the processes of slots that nobody has taken for some time.

        Parameters
        ----------
        seconds
            For how long.
        """
        with self._lock:
            old = [slot for slot in self._idle if time.monotonic() - self._since[slot] >= seconds]
            self._idle = [slot for slot in self._idle if slot not in old]
        for slot in old:
            slot.close()

    def close(self) -> None:
        """End the processes of the idle slots."""
        with self._lock:
            idle, self._idle = self._idle, []
        for slot in idle:
            slot.close()


class Processes:
    """Processes of this machine, each with a thread that watches it.

    A cell can neither hold nor end another's process, and one whose process ends is recorded with the way it ended.

    Parameters
    ----------
    workers
        How many compute at once.
    threads
        Of each of them.
    with_script
        Whether they import the script that was started, for what it registers.
    """

    def __init__(self, workers: int, threads: int, *, with_script: bool = False) -> None:
        if is_preparing():
            raise InputError(
                "the script that runs the study is imported by the processes that compute it, for what it registers; "
                "put what runs the study under if __name__ == '__main__':."
            )
        self.workers = workers
        self._rack = SlotRack(lambda: Slot(threads, with_script=with_script))
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="topo-slot")
        self._stop = threading.Event()
        self._where: dict[str, str] = {}
        for _ in range(workers):  # all at once, while the first of them loads the data
            self._threads.submit(self._warm_up)

    def _warm_up(self) -> None:
        slot = self._rack.take()
        try:
            with suppress(Stopped):
                slot.start(self._stop.is_set)
        finally:
            self._rack.put_back(slot)

    def capacity(self) -> int:
        return self.workers

    def submit(self, task: Task) -> Future[Answer]:
        return self._threads.submit(self._compute, task)

    def _compute(self, task: Task) -> Answer:
        slot = self._rack.take()
        self._where[task.cell.key] = slot.name or "a new process"
        try:
            return compute_task(task, slot, self._stop.is_set)
        finally:
            del self._where[task.cell.key]
            self._rack.put_back(slot)

    def where(self) -> Mapping[str, str]:
        return dict(self._where)

    def look_after(self) -> None:
        pass

    def close(self, *, now: bool) -> None:
        if now:
            self._stop.set()
        self._threads.shutdown(cancel_futures=True)
        self._rack.close()


class Elsewhere:
    """An executor of the caller's, whose workers see the study's folder; it is used as it is, and limits nothing.

    Parameters
    ----------
    executor
        Any executor.
    """

    def __init__(self, executor: Executor) -> None:
        self._executor = executor

    def capacity(self) -> int:
        return MOST_AHEAD

    def submit(self, task: Task) -> Future[Answer]:
        if task.limits != Limits():
            raise InputError("time_limit and memory_limit need processes of their own; leave out executor=.")
        if task.check:
            checked: Future[Answer] = Future()
            check_cell(task.cell, task.folder, task.device)
            checked.set_result(Answer())
            return checked
        return _answered(self._executor.submit(run_cell, task.cell, task.folder, task.device))

    def where(self) -> Mapping[str, str]:
        return {}

    def look_after(self) -> None:
        pass

    def close(self, *, now: bool) -> None:
        pass


def _answered(computed: Future[Any]) -> Future[Answer]:
    """The future of an `Answer` from that of an outcome."""
    answer: Future[Answer] = Future()

    def hand_on(done: Future[Any]) -> None:
        if done.cancelled():
            answer.cancel()
            answer.set_running_or_notify_cancel()
        elif (error := done.exception()) is not None:
            answer.set_exception(error)
        else:
            answer.set_result(Answer(done.result()))

    computed.add_done_callback(hand_on)
    answer.add_done_callback(lambda ended: computed.cancel() if ended.cancelled() else None)
    return answer
