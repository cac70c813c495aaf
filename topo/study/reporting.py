"""What a run tells people: a progress bar on a terminal, lines of the log elsewhere."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from math import isfinite

from rich.progress import Progress

from ..progress import plain_bar, plain_console
from .attempt import Outcome
from .grid import Cell
from .limits import duration
from .store import FAILED

__all__ = ["Reporter", "reporting"]

logger = logging.getLogger("topo.study")

SAY_EVERY = 30.0  # seconds between two estimates of the time left, in the log


class Reporter:
    """Counts cells, and says of each what became of it.

    Parameters
    ----------
    total, done
        How many cells there are, and how many have a result already.
    bar
        The progress bar; None for lines of the log.
    """

    def __init__(self, total: int, done: int, bar: Progress | None = None) -> None:
        self.total, self.done, self.failed = total, done, 0
        self._at_start, self._started, self._said = done, time.monotonic(), time.monotonic()
        self._bar = bar
        self._task = None if bar is None else bar.add_task("cells", total=total, completed=done)

    @property
    def seconds_left(self) -> float | None:
        """An estimate from how long the cells of this run took."""
        computed = self.done - self._at_start
        if not computed:
            return None
        return (time.monotonic() - self._started) / computed * (self.total - self.done)

    def tell(self, cell: Cell, outcome: Outcome) -> None:
        """Say what became of a cell.

        Parameters
        ----------
        cell
            The cell.
        outcome
            As of `topo.study.attempt.outcome`.
        """
        self.done += 1
        self.failed += outcome["status"] == FAILED
        line = _line(cell, outcome)
        if self._bar is not None and self._task is not None:
            if outcome["status"] != "finished":
                self._bar.console.print(line, style="yellow")
            self._bar.update(self._task, advance=1, description="cells" + self._failures())
            return
        level = logging.WARNING if outcome["status"] == FAILED else logging.INFO
        logger.log(level, "%*d/%d %s%s", len(str(self.total)), self.done, self.total, line, self._outlook())

    def _failures(self) -> str:
        return f", {self.failed} failed" if self.failed else ""

    def _outlook(self) -> str:
        """Now and then, how long the rest will take."""
        left = self.seconds_left
        if left is None or time.monotonic() - self._said < SAY_EVERY or self.done == self.total:
            return ""
        self._said = time.monotonic()
        return f" (about {duration(left)} left{self._failures()})"


@contextmanager
def reporting(progress: bool | None, total: int, done: int) -> Iterator[Reporter]:
    """A reporter, with a progress bar on a terminal.

    Parameters
    ----------
    progress
        Whether there is a bar; on a terminal when None.
    total, done
        As of `Reporter`.

    Yields
    ------
    Reporter
        To be told of each cell.
    """
    console = plain_console(stderr=True)
    if not (console.is_terminal if progress is None else progress):
        yield Reporter(total, done)
        return
    with plain_bar(console) as bar:
        yield Reporter(total, done, bar)


def _line(cell: Cell, outcome: Outcome) -> str:
    accuracy, seconds = outcome.get("accuracy"), outcome.get("seconds")
    facts = [
        f"accuracy {accuracy:.3f}" if accuracy is not None and isfinite(accuracy) else "",
        f"{seconds:.1f} s" if seconds is not None else "",
        f"{outcome['status']}: {outcome['reason']}" if outcome["status"] != "finished" else "",
    ]
    return f"{cell}: {', '.join(fact for fact in facts if fact)}"
