"""What commands say: text of others cannot colour, move or hide anything on a terminal."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence

import typer

from ..plain_text import plain
from ..progress import plain_console

__all__ = ["LogFormatter", "say", "say_table"]


def say(text: object, *, err: bool = False, color: str | None = None, lines: bool = False) -> None:
    """Write a line to standard output, or to standard error.

    Parameters
    ----------
    text
        What to say; anything in it that a terminal would obey is left out.
    err
        Whether to write to standard error.
    color
        Of the letters, where there is a terminal.
    lines
        Whether the text has several lines.
    """
    typer.secho(plain(text, lines=lines), err=err, fg=color)


def say_table(columns: Sequence[object], rows: Iterable[Sequence[object]]) -> None:
    """Write a table to standard output.

    Parameters
    ----------
    columns
        Their names.
    rows
        As many cells each.
    """
    from rich.table import Table

    table = Table(*map(plain, columns))
    for row in rows:
        table.add_row(*map(plain, row))
    plain_console().print(table)


class LogFormatter(logging.Formatter):
    """Lines of the log as `say` would write them."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        """The message in one line.

        Parameters
        ----------
        record
            What is logged.
        """
        return plain(super().formatMessage(record))

    def format(self, record: logging.LogRecord) -> str:
        """The message, and the lines of a traceback where there is one.

        Parameters
        ----------
        record
            What is logged.
        """
        return plain(super().format(record), lines=True)
