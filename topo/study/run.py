"""Sends the cells of a study to an executor and follows them to their end."""

from __future__ import annotations

import logging
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, wait
from contextlib import contextmanager
from math import inf, isfinite
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from ..device import resolve_device
from ..errors import InputError
from ..features import column_names
from ..features.preparation import prepare_kernels
from .computation import Outcome, build_model, failure, load_data, outcome, run_cell
from .grid import Cell, Planned
from .outstanding import outstanding
from .store import DAMAGED, FAILED, MISSING, LastRun, Store, StudyError
from .table import RESERVED
from .workers import process_pool, stop, threads_each, usual_workers

__all__ = ["run_cells"]

logger = logging.getLogger("topo.study")

Report = Callable[[Cell, Outcome], None]


def run_cells(
    cells: Sequence[Cell],
    store: Store,
    *,
    last_run: LastRun | None = None,
    executor: Executor | None = None,
    workers: int | None = None,
    device: str = "auto",
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
        Where the cells run; a pool of `workers` processes when None.
    workers, device
        How many processes compute, and where.
    progress
        Show a progress bar; by default on a terminal. Elsewhere each finished cell is one line of the log.

    Raises
    ------
    InputError
        When a dataset or model cannot be had at all, or own code cannot reach the worker processes.
    StudyError
        When results cannot be written or the executor breaks down.
    KeyboardInterrupt
        On Ctrl-C, after the workers have been stopped.
    """
    target = resolve_device(device)
    todo = outstanding(cells, store)
    _log_outlook(len({cell.key for cell in cells}), todo, store, last_run)
    if not todo:
        return
    _check_metric_names(todo)
    _check_inputs(todo)
    if executor is None:
        _check_own_code(todo)
        if any(cell.encodings for cell in todo):
            prepare_kernels()  # here and not in every process at once
    workers = workers or usual_workers(target)
    # Sums are rounded differently by other numbers of threads: how many each worker has must not depend on how many
    # cells are left, or a study that was stopped would end with other numbers than one that was not.
    threads = threads_each(workers)
    with _reporting(progress, len(cells), len(cells) - len(todo)) as report:
        _Run(todo, store, device, report, executor, min(workers, len(todo)), threads).go()


class _Run:
    """The cells yet to compute, those in flight, and those that were in flight when a process died."""

    def __init__(
        self,
        todo: Sequence[Cell],
        store: Store,
        device: str,
        report: Report,
        executor: Executor | None,
        workers: int,
        threads: int,
    ) -> None:
        self.queue = deque(todo)
        self.suspects: deque[Cell] = deque()
        self.flying: dict[Future[Outcome], Cell] = {}
        self.unsettled = {cell.key for cell in todo}
        self.store, self.device, self.report = store, device, report
        self.executor, self.workers, self.threads = executor, workers, threads
        # Of a pool's processes only as many cells are in flight as can run, so that a death leaves few suspects.
        self.window = workers if executor is None else inf

    def go(self) -> None:
        pool = None
        try:
            while self.queue or self.suspects or self.flying:
                if self.executor is None and pool is None:
                    pool = process_pool(self.workers, self.threads)
                try:
                    self._launch(self.executor or pool)
                    for future in wait(self.flying, return_when=FIRST_COMPLETED).done:
                        self._settle(self.flying[future], future.result())
                        del self.flying[future]
                except BrokenExecutor as error:
                    if pool is None:
                        raise StudyError(f"the executor broke down ({error}); run again to go on.") from error
                    stop(pool)
                    pool = None
                    self._sort_out()
        except BaseException:
            for future in self.flying:
                future.cancel()
            if pool is not None:
                stop(pool)
            raise
        if pool is not None:
            pool.shutdown()

    def _launch(self, executor: Executor | None) -> None:
        assert executor is not None
        while len(self.flying) < self.window and (cell := self._next()) is not None:
            if reason := self._lack(cell):
                self._fail(cell, reason)
                continue
            future = executor.submit(run_cell, cell, str(self.store.folder.resolve()), self.device)
            self.flying[future] = cell

    def _next(self) -> Cell | None:
        """The next cell whose baseline is settled; a suspect only when it can run alone."""
        for cell in self.queue:
            if not (cell.needs_dense and cell.baseline is not None and cell.baseline.key in self.unsettled):
                self.queue.remove(cell)
                return cell
        if self.suspects and not self.flying:
            return self.suspects.popleft()
        return None

    def _lack(self, cell: Cell) -> str:
        """Why a pruner of trained weights has none to work on; empty where it has."""
        if not cell.needs_dense or cell.baseline is None:
            return ""
        row = self.store.row(cell.baseline.key) or {"status": MISSING, "reason": ""}
        if row["status"] in ("finished", "collapsed"):
            return ""
        return f"its dense baseline, whose trained weights it prunes, is {row['status']}: {row['reason']}"

    def _settle(self, cell: Cell, outcome: Outcome) -> None:
        self.unsettled.discard(cell.key)
        self.report(cell, outcome)

    def _fail(self, cell: Cell, reason: str) -> None:
        self.store.save(cell.key, failure(reason))
        self._settle(cell, {"key": cell.key, "status": FAILED, "reason": reason})

    def _sort_out(self) -> None:
        """A process died: the cell that ran alone is to blame; any other is tried again, alone."""
        cells = [cell for cell in self.flying.values() if not self.store.is_done(cell.key)]
        for cell in self.flying.values():
            if cell not in cells:
                self._settle(cell, outcome(self.store, cell.key))
        alone = len(self.flying) == 1
        self.flying.clear()
        if alone and cells:
            self._fail(cells[0], "its process died, as when killed for using too much memory")
        else:
            self.suspects.extend(cells)


def _log_outlook(total: int, todo: Sequence[Cell], store: Store, last_run: LastRun | None) -> None:
    """The first lines of a run: how many cells there are, how many are to be computed, and why some are anew."""
    done = total - len(todo)
    before = Counter(state.status for state in store.states(cell.key for cell in todo))
    parts = [f"{done} have their results" if done else "", f"{len(todo)} to compute" if todo else ""]
    again = [f"{before[FAILED]} of which failed before"] if before[FAILED] else []
    again += [f"{before[DAMAGED]} of which lost or damaged files"] if before[DAMAGED] else []
    logger.info("%d cells: %s.", total, ", ".join([*filter(None, parts), *again]))
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


def _check_inputs(cells: Sequence[Cell]) -> None:
    """Load each dataset and build each model once, so that what does not fit stops the study before it starts."""
    seen = set()
    for cell in cells:
        key = (cell.dataset.label, cell.model.label)
        if key not in seen:
            seen.add(key)
            build_model(cell, load_data(cell))


def _check_metric_names(cells: Sequence[Cell]) -> None:
    """Refuse metrics whose columns every table of results has for something else."""
    for metrics in {cell.metrics for cell in cells if any(not encoding.prefix for encoding in cell.encodings)}:
        taken = sorted(RESERVED & set(column_names(metrics)))
        if taken:
            raise InputError(
                f"a metric fills the column {taken[0]!r}, which every table of results has already; rename the metric."
            )


def _check_own_code(cells: Sequence[Cell]) -> None:
    """Refuse what only this process knows, which every cell in another process would fail for."""
    for cell in cells:
        for source in cell.own_sources():
            if source.is_interactive:
                raise InputError(
                    f"{source.name} is defined in a notebook or at a prompt, where worker processes cannot find it; "
                    "write it into a file and name that under imports."
                )


@contextmanager
def _reporting(progress: bool | None, total: int, done: int) -> Iterator[Report]:
    """A progress bar on a terminal, else a line of the log for each cell."""
    console = Console(stderr=True)
    width = len(str(total))
    if not (console.is_terminal if progress is None else progress):
        count = done

        def log(cell: Cell, outcome: Outcome) -> None:
            nonlocal count
            count += 1
            level = logging.WARNING if outcome["status"] == FAILED else logging.INFO
            logger.log(level, "%*d/%d %s", width, count, total, _line(cell, outcome))

        yield log
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=console) as bar:
        task = bar.add_task("cells", total=total, completed=done)

        def advance(cell: Cell, outcome: Outcome) -> None:
            if outcome["status"] != "finished":
                bar.console.print(_line(cell, outcome), style="yellow", markup=False, highlight=False)
            bar.update(task, advance=1, description=str(cell))

        yield advance


def _line(cell: Cell, outcome: Outcome) -> str:
    accuracy, seconds = outcome.get("accuracy"), outcome.get("seconds")
    facts = [
        f"accuracy {accuracy:.3f}" if accuracy is not None and isfinite(accuracy) else "",
        f"{seconds:.1f} s" if seconds is not None else "",
        f"{outcome['status']}: {outcome['reason']}" if outcome["status"] != "finished" else "",
    ]
    return f"{cell}: {', '.join(fact for fact in facts if fact)}"
