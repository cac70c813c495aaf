"""How long a cell may take and how much memory, as numbers or with units."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from ..errors import InputError
from ..memory import in_words

__all__ = ["Limits", "duration", "parsed_duration", "parsed_size"]

SECONDS = {
    "": 1,
    "s": 1,
    "sec": 1,
    "seconds": 1,
    "m": 60,
    "min": 60,
    "minutes": 60,
    "h": 3600,
    "hours": 3600,
    "d": 86400,
}
BYTES = {"": 1, "b": 1} | {
    f"{letter}{end}": (1024 if "i" in end else 1000) ** power
    for power, letter in enumerate("kmgt", 1)
    for end in ("ib", "b")
}
_WITH_UNIT = re.compile(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*([A-Za-z]*)\s*")


@dataclass(frozen=True)
class Limits:
    """What a cell may take before it is stopped and recorded as failed.

    Attributes
    ----------
    seconds
        Time from start to end; None for any.
    memory
        Bytes of memory that its process and the processes of that take together; None for any.
    """

    seconds: float | None = None
    memory: int | None = None


def parsed_duration(value: float | str) -> float:
    """Seconds of a duration.

    Parameters
    ----------
    value
        Seconds, or a number with the unit s, min, h or d.

    Returns
    -------
    float
        Seconds, more than 0.

    Raises
    ------
    InputError
        When it is of another form.

    Examples
    --------
    >>> parsed_duration("1.5 h"), parsed_duration(90)
    (5400.0, 90.0)
    >>> parsed_duration("soon")
    Traceback (most recent call last):
    topo.errors.InputError: 'soon' is no duration; write seconds, or a number with a unit, such as 90 s, 30 min or 2 h.
    """
    return _parsed(value, SECONDS, "duration", "seconds", "90 s, 30 min or 2 h")


def parsed_size(value: float | str) -> int:
    """Bytes of an amount of memory.

    Parameters
    ----------
    value
        Bytes, or a number with a unit such as MB (10^6 bytes) or GiB (2^30).

    Returns
    -------
    int
        Bytes, more than 0.

    Raises
    ------
    InputError
        When it is of another form.

    Examples
    --------
    >>> parsed_size("2 GiB"), parsed_size("500 MB")
    (2147483648, 500000000)
    """
    return int(_parsed(value, BYTES, "amount of memory", "bytes", "500 MB or 4 GiB"))


def _parsed(value: float | str, units: dict[str, int], what: str, plain: str, examples: str) -> float:
    number = math.nan
    if isinstance(value, str):
        match = _WITH_UNIT.fullmatch(value)
        if match is not None and match[2].lower() in units:
            number = float(match[1]) * units[match[2].lower()]
    elif isinstance(value, int | float) and not isinstance(value, bool):
        number = float(value)
    if not 0 < number < math.inf:
        raise InputError(f"{value!r} is no {what}; write {plain}, or a number with a unit, such as {examples}.")
    return number


def duration(seconds: float) -> str:
    """A number of seconds as people say it.

    Parameters
    ----------
    seconds
        How many.

    Returns
    -------
    str
        With its unit.

    Examples
    --------
    >>> duration(0.52), duration(75), duration(5400), duration(200_000)
    ('0.5 s', '75 s', '90 min', '56 h')
    """
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"


def too_long(seconds: float) -> str:
    """Why a cell was stopped that took too long."""
    return f"it was stopped at its time limit of {duration(seconds)}; raise time_limit if it needs longer"


def too_large(memory: int, used: int) -> str:
    """Why a cell was stopped that took too much memory."""
    return (
        f"it was stopped when it used {in_words(used)}, more than its memory limit of {in_words(memory)}; raise "
        "memory_limit if it needs more"
    )
