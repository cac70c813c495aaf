"""Sends the cells of a study to where they are computed and follows them to their end."""

from __future__ import annotations

import heapq
import logging
import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, CancelledError, Executor, Future, wait
from contextlib import closing, suppress
from typing import Any

import torch

from ..device import resolve_device
from ..errors import InputError, counted
from ..features import column_names
from ..features.preparation import prepare_kernels
from ..registry import Source
from .attempt import Outcome, failure, outcome
from .claims import Claims, RunningCell
from .cluster import at_scheduler, started_cluster
from .grid import Cell, Planned
from .limits import Limits
from .outstanding import outstanding
from .parcel import unpacked
from .places import Elsewhere, Place, Processes
from .reporting import Reporter, reporting
from .signals import stopping_at_signals
from .store import DAMAGED, FAILED, MISSING, LastRun, Store, StudyError
from .table import RESERVED
from .task import Answer, Need, Task, needs_of
from .workers import threads_each, usual_workers

__all__ = ["run_cells"]

logger = logging.getLogger("topo.study")

LOOK = 1.0  # seconds between two looks at what goes on elsewhere


def run_cells(
    cells: Sequence[Cell],
    store: Store,
    *,
    last_run: LastRun | None = None,
    executor: Executor | None = None,
    scheduler: str | None = None,
    cluster: str | None = None,
    cluster_options: Mapping[str, Any] | None = None,
    workers: int | None = None,
    device: str = "auto",
    limits: Limits | None = None,
    progress: bool | None = None,
) -> None:
    """Compute all cells that have no result yet.

    Parameters
    ----------
    cells
        Baselines before the cells that need them.
    store
        The folder of the study.
    last_run
        What ran before, to say of cells of the same names why they are computed again.
    executor
        Where the cells run; `workers` processes of this machine when this, `scheduler` and `cluster` are None.
    scheduler
        Address of a Dask scheduler.
    cluster, cluster_options
        A Dask cluster to start, as of `topo.study.cluster.started_cluster`.
    workers, device
        How many processes compute, and where.
    limits
        What a cell may take.
    progress
        Show a progress bar; by default on a terminal. Elsewhere each finished cell is one line of the log.

    Raises
    ------
    InputError
        When a dataset or model cannot be had at all, or own code cannot reach the worker processes.
    StudyError
        When results cannot be written or the executor or cluster breaks down.
    KeyboardInterrupt
        On Ctrl-C, after the workers have been stopped.
    ToldToStop
        On SIGTERM and SIGHUP, likewise.
    """
    if sum(place is not None for place in (executor, scheduler, cluster)) > 1:
        raise InputError("executor, scheduler and cluster each say where to compute; give one of them.")
    is_remote = scheduler is not None or cluster is not None
    target = None if is_remote else resolve_device(device)
    todo = outstanding(cells, store)
    _log_outlook(len({cell.key for cell in cells}), todo, store, last_run)
    if not todo:
        return
    _check_metric_names(todo)
    if executor is None:
        _check_own_code(todo, is_remote=is_remote)
    with stopping_at_signals():
        place = _place(todo, executor, scheduler, cluster, cluster_options or {}, workers, target)
        try:
            with (
                closing(Claims(store.folder)) as claims,
                reporting(progress, len(cells), len(cells) - len(todo)) as report,
            ):
                _Run(todo, store, place, claims, report, device, limits or Limits()).go()
        except BaseException:
            place.close(now=True)
            raise
        place.close(now=False)


def _place(
    todo: Sequence[Cell],
    executor: Executor | None,
    scheduler: str | None,
    cluster: str | None,
    cluster_options: Mapping[str, Any],
    workers: int | None,
    device: torch.device | None,
) -> Place:
    if executor is not None:
        return Elsewhere(executor)
    if scheduler is not None:
        return at_scheduler(scheduler)
    if cluster is not None:
        return started_cluster(cluster, workers, cluster_options)
    if any(cell.encodings for cell in todo):
        prepare_kernels()  # here and not in every process at once
    assert device is not None
    workers = workers or usual_workers(device)
    # Sums are rounded differently by other numbers of threads: how many each worker has must not depend on how many
    # cells are left, or a study that was stopped would end with other numbers than one that was not.
    return Processes(min(workers, len(todo)), threads_each(workers), with_script=_needs_script(todo))


class _Run:
    """The cells yet to compute, in their order, those that wait for a baseline, and those in flight."""

    def __init__(
        self,
        todo: Sequence[Cell],
        store: Store,
        place: Place,
        claims: Claims,
        report: Reporter,
        device: str,
        limits: Limits,
    ) -> None:
        self.todo, self.store, self.place, self.claims, self.report = todo, store, place, claims, report
        self.device, self.limits = device, limits
        self.unsettled = {cell.key for cell in todo}
        self.ready: list[tuple[int, Cell]] = []
        self.waiting: dict[str, list[tuple[int, Cell]]] = defaultdict(list)
        for order, cell in enumerate(todo):
            baseline = cell.baseline.key if cell.needs_dense and cell.baseline is not None else ""
            (self.waiting[baseline] if baseline in self.unsettled else self.ready).append((order, cell))
        self.others: dict[str, tuple[int, Cell, dict[str, Any] | None]] = {}  # that another run computes
        self.flying: dict[Future[Answer], tuple[int, Cell, float]] = {}
        self.looked = -LOOK
        self.said_others = False

    def go(self) -> None:
        try:
            self._check_inputs()
            while self.unsettled:
                self._launch()
                if self.flying:
                    done = wait(self.flying, timeout=LOOK, return_when=FIRST_COMPLETED).done
                    for future in done:
                        self._take_in(future)
                elif self.others:
                    time.sleep(LOOK)
                if time.monotonic() - self.looked >= LOOK:
                    self._look_around()
        except BaseException:
            for future in self.flying:
                future.cancel()
            raise

    def _check_inputs(self) -> None:
        """Load each dataset and build each model once, so that what does not fit stops the study before it starts."""
        firsts = {(cell.dataset.label, cell.model.label): cell for cell in reversed(self.todo)}
        for order, cell in enumerate(firsts.values()):
            self._submit(order, cell, check=True)
        while self.flying:
            for future in wait(self.flying, timeout=LOOK, return_when=FIRST_COMPLETED).done:
                order, cell, _ = self.flying.pop(future)
                answer = self._answer_of(future)
                if answer is None or answer.lacking:
                    self._submit(order, cell, () if answer is None else answer.lacking, check=True)
            self._look_around()

    def _launch(self) -> None:
        room = self.place.capacity()
        while self.ready and len(self.flying) < room:
            order, cell = heapq.heappop(self.ready)
            if reason := self._lack(cell):
                self._fail(cell, reason)
            elif not self.claims.claim(cell.key):
                self.others[cell.key] = order, cell, self.store.row(cell.key)
            elif self.store.is_done(cell.key):  # another run was faster
                self._settle(cell, outcome(self.store, cell.key))
            else:
                self._submit(order, cell)

    def _submit(self, order: int, cell: Cell, lacking: tuple[Need, ...] = (), *, check: bool = False) -> None:
        files = {need: need.place(self.store).read_bytes() for need in lacking}
        task = Task(
            cell,
            str(self.store.folder.absolute()),
            self.claims.name,
            self.device,
            Limits() if check else self.limits,
            needs_of(cell) if not check else tuple(need for need in needs_of(cell) if need.kind == "code"),
            files,
            check,
        )
        try:
            future = self.place.submit(task)
        except BrokenExecutor as error:
            raise StudyError(f"the executor broke down ({error}); run again to go on.") from error
        self.flying[future] = order, cell, time.monotonic()

    def _lack(self, cell: Cell) -> str:
        """Why a pruner of trained weights has none to work on; empty where it has."""
        if not cell.needs_dense or cell.baseline is None:
            return ""
        row = self.store.row(cell.baseline.key) or {"status": MISSING, "reason": ""}
        if row["status"] in ("finished", "collapsed"):
            return ""
        return f"its dense baseline, whose trained weights it prunes, is {row['status']}: {row['reason']}"

    def _take_in(self, future: Future[Answer]) -> None:
        order, cell, _ = self.flying.pop(future)
        answer = self._answer_of(future)
        if answer is None or answer.lacking:
            self._submit(order, cell, () if answer is None else answer.lacking)
            return
        found = answer.outcome
        if answer.result is not None:
            self.store.save(cell.key, unpacked(answer.result))
            found = outcome(self.store, cell.key)
        if answer.log.strip():
            with suppress(OSError):
                file = self.store.folder / "logs" / f"{cell.key}.txt"
                file.parent.mkdir(exist_ok=True)
                file.write_text(answer.log, encoding="utf-8")
        assert found is not None
        self._settle(cell, found)

    def _answer_of(self, future: Future[Answer]) -> Answer | None:
        """The answer; None where the task has to be handed in again."""
        try:
            return future.result()
        except BrokenExecutor as error:
            raise StudyError(f"the executor broke down ({error}); run again to go on.") from error
        except CancelledError:
            self.place.look_after()  # raises the reason, where it knows one
            return None

    def _settle(self, cell: Cell, found: Outcome) -> None:
        self.claims.release(cell.key)
        self.unsettled.discard(cell.key)
        for waiting in self.waiting.pop(cell.key, ()):
            heapq.heappush(self.ready, waiting)
        self.report.tell(cell, found)

    def _fail(self, cell: Cell, reason: str) -> None:
        self.store.save(cell.key, failure(reason))
        self._settle(cell, {"key": cell.key, "status": FAILED, "reason": reason})

    def _look_around(self) -> None:
        self.looked = time.monotonic()
        self.place.look_after()
        for key, (order, cell, before) in list(self.others.items()):
            if not self.claims.claim(key):
                continue
            del self.others[key]
            if self.store.is_done(key) or self.store.row(key) != before:  # finished, or failed, in the other run
                self._settle(cell, outcome(self.store, key))
            else:
                heapq.heappush(self.ready, (order, cell))
        if self.others and not self.flying and not self.ready and not self.said_others:
            self.said_others = True
            logger.info("Another run of this study computes the %d cells that are left; waiting.", len(self.others))
        where = self.place.where()
        running = [
            RunningCell(cell.key, str(cell), where.get(cell.key, ""), round(time.monotonic() - since, 1))
            for _, cell, since in self.flying.values()
        ]
        report = self.report
        self.claims.beat(running, report.done, report.total, report.failed, report.seconds_left)


def _log_outlook(total: int, todo: Sequence[Cell], store: Store, last_run: LastRun | None) -> None:
    """The first lines of a run: how many cells there are, how many are to be computed, and why some are anew."""
    done = total - len(todo)
    before = Counter(state.status for state in store.states(cell.key for cell in todo))
    parts = [
        f"{done} {'has its' if done == 1 else 'have their'} results" if done else "",
        f"{len(todo)} to compute" if todo else "",
    ]
    again = [f"{before[FAILED]} of which failed before"] if before[FAILED] else []
    again += [f"{before[DAMAGED]} of which lost or damaged files"] if before[DAMAGED] else []
    logger.info("%s: %s.", counted(total, "cell"), ", ".join([*filter(None, parts), *again]))
    if last_run is None:
        return
    keys = {_name(planned): planned.key for planned in last_run.cells}
    outdated = [key for cell in todo if (key := keys.get(_name(cell.planned), cell.key)) != cell.key]
    if count := sum(store.is_done(key) for key in outdated):
        logger.warning(
            "%d of the cells to compute have results that no longer count, because %s changed since; those stay in %s.",
            *(count, last_run.changed, store.records),
        )


def _name(planned: Planned) -> tuple[Any, ...]:
    return tuple(planned.identity[name] for name in ("dataset", "model", "pruner", "sparsity", "seed"))


def _check_metric_names(cells: Sequence[Cell]) -> None:
    """Refuse metrics whose columns every table of results has for something else."""
    for metrics in {cell.metrics for cell in cells if any(not encoding.prefix for encoding in cell.encodings)}:
        taken = sorted(RESERVED & set(column_names(metrics)))
        if taken:
            raise InputError(
                f"a metric fills the column {taken[0]!r}, which every table of results has already; rename the metric."
            )


def _check_own_code(cells: Sequence[Cell], *, is_remote: bool) -> None:
    """Refuse what only this process knows, which every cell in another process would fail for."""
    for source in _own_sources(cells):
        if source.is_interactive or (is_remote and source.module == "__main__"):
            place = "a notebook or at a prompt" if source.is_interactive else "the script that runs the study"
            raise InputError(
                f"{source.name} is defined in {place}, where worker processes cannot find it; "
                "write it into a file and name that under imports."
            )


def _needs_script(cells: Sequence[Cell]) -> bool:
    """Whether anything of the cells is defined in the script that was started."""
    return any(source.module == "__main__" for source in _own_sources(cells))


def _own_sources(cells: Sequence[Cell]) -> set[Source]:
    """Where what the cells use is defined; cells that differ in sparsity and seed alone use the same."""
    kinds = {
        (cell.dataset.label, cell.model.label, cell.pruner and cell.pruner.label, bool(cell.encodings)): cell
        for cell in cells
    }
    return {source for cell in kinds.values() for source in cell.own_sources()}
