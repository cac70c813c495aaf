"""How far a long run has come: a bar with the time left on a terminal, else a line of the log now and then."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from .plain_text import plain

__all__ = ["plain_bar", "plain_console", "progress"]

SECONDS_BETWEEN_LINES = 30.0


class _PlainConsole(Console):
    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(plain(text, lines=True), **options)


class _PlainColumn(TextColumn):
    def render(self, task: Task) -> Text:
        return Text(plain(task.description))


def plain_console(*, stderr: bool = False) -> Console:
    """A console of rich that shows names as they are: brackets are no markup, colons no pictures, escapes nothing.

    Parameters
    ----------
    stderr
        Whether it writes to standard error.

    Returns
    -------
    Console
        Of rich.
    """
    return _PlainConsole(stderr=stderr, markup=False, emoji=False, highlight=False)


def plain_bar(console: Console) -> Progress:
    """A progress bar with a description that may be of others, what is done of how many, and the time left.

    Parameters
    ----------
    console
        Where it is drawn.

    Returns
    -------
    Progress
        Of rich.
    """
    columns = (_PlainColumn(""), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console)


@contextmanager
def progress(
    what: str, total: int | None, logger: logging.Logger, *, shown: bool | None = None
) -> Iterator[Callable[[], None]]:
    """Yield a function that is called after each of `total` pieces of work.

    Parameters
    ----------
    what
        What the pieces are, such as ``"graphs"``.
    total
        How many; None where nobody knows.
    logger
        Takes a line every half a minute where there is no terminal to draw on.
    shown
        False for neither; None for what standard error allows.

    Yields
    ------
    callable
        Takes nothing.

    Examples
    --------
    >>> with progress("graphs", 3, logging.getLogger("topo"), shown=False) as advance:
    ...     for _ in range(3):
    ...         advance()
    """
    if shown is False:
        yield lambda: None
        return
    console = plain_console(stderr=True)
    if not console.is_terminal:
        start = last = time.monotonic()
        done = 0

        def log() -> None:
            nonlocal done, last
            done += 1
            now = time.monotonic()
            if total is not None and (done == total or now - last >= SECONDS_BETWEEN_LINES):
                last = now
                left = (now - start) / done * (total - done)
                logger.info("%d/%d %s%s", done, total, what, f", about {left:.0f} s left" if done < total else "")

        yield log
        return
    with plain_bar(console) as bar:
        task = bar.add_task(what, total=total)
        yield lambda: bar.advance(task)
